"""Manifests over several requests, and the operator's rules for them (reference, 1.8, 2.3, 2.5-2.7)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tests.wire.asgi import Answer, Client
from tests.wire.compositions import FILESYSTEM, MEMORY, Composition, World, dump
from tests.wire.conftest import OpenWorld
from tests.wire.content import (
    DOCKER,
    DOCKER_CONFIG,
    DOCKER_LIST,
    ELSEWHERE_LAYER,
    FOREIGN_LAYER,
    INDEX,
    OCI,
    OCI_CONFIG,
    OCI_LAYER,
    PLUGIN_CONFIG,
    Document,
    as_json,
    blob_key,
    descriptor,
    digest,
    history_key,
    image,
    index,
    layer_key,
    revision_key,
    tag_key,
)
from tests.wire.world import ABSENT, APP, CONFIG, LAYER, LAYER_ITEM, OCI_CONFIG_ITEM, OCI_IMAGE, WORLD

from lading.api.service import Limits
from lading.registry.validation import Rules

PATH = "/v2/app/manifests"
BOTH = pytest.mark.parametrize("composition", [MEMORY, FILESYSTEM], ids=["memory", "filesystem"])


async def push(client: Client, reference: str, data: bytes, media_type: str = OCI, name: str = "app") -> Answer:
    return await client.put(f"/v2/{name}/manifests/{reference}", {"Content-Type": media_type}, data)


async def push_blobs(client: Client, *contents: bytes, algorithm: str = "sha256") -> None:
    for data in contents:
        (await client.post(f"/v2/app/blobs/uploads/?digest={digest(data, algorithm)}", {}, data)).expect(201)


async def tags(client: Client, name: str = "app") -> list[str]:
    found: list[str] = (await client.get(f"/v2/{name}/tags/list")).expect(200).json()["tags"]
    return found


@BOTH
async def test_a_push_writes_the_keys_of_the_original(open_world: OpenWorld, composition: Composition) -> None:
    place = await open_world(composition)
    await push_blobs(place.client, CONFIG, LAYER)
    name = digest(OCI_IMAGE)
    (await push(place.client, "v1", OCI_IMAGE)).expect(201)
    assert await dump(place.storage) == {
        blob_key(digest(CONFIG)): CONFIG,
        blob_key(digest(LAYER)): LAYER,
        blob_key(name): OCI_IMAGE,
        layer_key("app", digest(CONFIG)): digest(CONFIG).encode(),
        layer_key("app", digest(LAYER)): digest(LAYER).encode(),
        revision_key("app", name): name.encode(),
        tag_key("app", "v1"): name.encode(),
        history_key("app", "v1", name): name.encode(),
    }


async def test_a_tag_moves_and_its_history_stays(open_world: OpenWorld) -> None:
    place = await open_world(MEMORY, WORLD.files)
    other = image(OCI, OCI_CONFIG_ITEM)
    for data in (OCI_IMAGE, other, OCI_IMAGE, other):
        (await push(place.client, "moving", data, name=APP)).expect(201)
        assert (await place.client.get(f"/v2/{APP}/manifests/moving")).body == data
    files = await dump(place.storage)
    assert {history_key(APP, "moving", digest(data)) for data in (OCI_IMAGE, other)} <= files.keys()
    (await place.client.get(f"/v2/{APP}/manifests/{digest(other)}")).expect(200)


async def test_a_deleted_tag_leaves_the_manifest(open_world: OpenWorld) -> None:
    place = await open_world(MEMORY, WORLD.files)
    path = f"/v2/{APP}/manifests"
    (await place.client.delete(f"{path}/docker")).expect(202)
    (await place.client.get(f"{path}/docker")).expect(404)
    assert "docker" not in await tags(place.client, APP)
    (await place.client.get(f"{path}/docker-too")).expect(200)
    (await place.client.delete(f"{path}/docker")).expect(404)
    assert not [key for key in await dump(place.storage) if "/tags/docker/" in key]


@BOTH
async def test_a_deleted_manifest_takes_its_tags_with_it(open_world: OpenWorld, composition: Composition) -> None:
    place = await open_world(composition, WORLD.files)
    path = f"/v2/{APP}/manifests"
    before = await tags(place.client, APP)
    name = (await place.client.get(f"{path}/docker")).header("docker-content-digest")
    (await place.client.delete(f"{path}/{name}")).expect(202)
    assert await tags(place.client, APP) == [tag for tag in before if not tag.startswith("docker")]
    for reference in ("docker", "docker-too", name):
        (await place.client.get(f"{path}/{reference}")).expect(404)
    (await place.client.delete(f"{path}/{name}")).expect(404)
    # A list that refers to it is not looked at, and stays; so does the data, for garbage collection.
    (await place.client.get(f"{path}/list", {"Accept": DOCKER_LIST})).expect(200)
    assert blob_key(str(name)) in await dump(place.storage)


async def test_with_all_tags_gone_the_repository_remains(open_world: OpenWorld) -> None:
    place = await open_world(MEMORY, WORLD.files)
    for tag in await tags(place.client, "test"):
        (await place.client.delete(f"/v2/test/manifests/{tag}")).expect(202)
    assert await tags(place.client, "test") == []
    (await place.client.delete(f"/v2/test/manifests/{digest(OCI_IMAGE)}")).expect(202)
    assert await tags(place.client, "test") == []
    assert "test" in (await place.client.get("/v2/_catalog")).json()["repositories"]


async def test_a_blob_deleted_here_stays_elsewhere(open_world: OpenWorld) -> None:
    place = await open_world(MEMORY, WORLD.files)
    (await place.client.delete(f"/v2/{APP}/blobs/{digest(LAYER)}")).expect(202)
    (await place.client.get(f"/v2/{APP}/blobs/{digest(LAYER)}")).expect(404)
    (await place.client.delete(f"/v2/{APP}/blobs/{digest(LAYER)}")).expect(404)
    (await place.client.get(f"/v2/layers/only/blobs/{digest(LAYER)}")).expect(200)
    (await place.client.get(f"/v2/{APP}/manifests/oci")).expect(200)
    refused = await push(place.client, "again", OCI_IMAGE, name=APP)
    assert refused.expect(400).codes() == ["MANIFEST_BLOB_UNKNOWN"]


@BOTH
@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
async def test_another_algorithm_all_the_way(
    open_world: OpenWorld, composition: Composition, algorithm: str
) -> None:
    place = await open_world(composition)
    client = place.client
    await push_blobs(client, CONFIG, LAYER, algorithm=algorithm)
    data = image(OCI, descriptor(OCI_CONFIG, CONFIG, algorithm), descriptor(OCI_LAYER, LAYER, algorithm))
    name = digest(data, algorithm)
    pushed = (await client.put(f"{PATH}/{name}?tag=v1&tag=v2", {"Content-Type": OCI}, data)).expect(201)
    assert pushed.header("docker-content-digest") == name
    assert sorted(pushed.header_lines("oci-tag")) == ["v1", "v2"]
    for reference in (name, "v1", "v2"):
        answer = (await client.get(f"{PATH}/{reference}")).expect(200)
        assert (answer.body, answer.header("docker-content-digest")) == (data, name)
    (await client.get(f"{PATH}/{digest(data)}")).expect(404)
    listing = index(INDEX, descriptor(OCI, data, algorithm))
    (await push(client, digest(listing, algorithm), listing, INDEX)).expect(201)
    signature = image(OCI, descriptor("a/b", CONFIG, algorithm), subject=descriptor(OCI, data, algorithm))
    pushed = (await push(client, digest(signature, algorithm), signature)).expect(201)
    assert pushed.header("oci-subject") == name
    (found,) = (await client.get(f"/v2/app/referrers/{name}")).json()["manifests"]
    assert found["digest"] == digest(signature, algorithm)
    assert found["size"] == len(signature)
    (await client.delete(f"{PATH}/{name}")).expect(202)
    assert await tags(client) == []
    assert not [key for key in await dump(place.storage) if "/sha256/" in key]


async def test_the_digest_of_the_reference_decides(empty: World) -> None:
    """The same bytes under two digests are two revisions."""
    await push_blobs(empty.client, CONFIG, LAYER)
    names = [digest(OCI_IMAGE, algorithm) for algorithm in ("sha256", "sha512")]
    for name in names:
        (await push(empty.client, name, OCI_IMAGE)).expect(201)
    (await empty.client.delete(f"{PATH}/{names[0]}")).expect(202)
    (await empty.client.get(f"{PATH}/{names[0]}")).expect(404)
    (await empty.client.get(f"{PATH}/{names[1]}")).expect(200)


async def test_a_vanished_push_stores_nothing(open_world: OpenWorld) -> None:
    place = await open_world(MEMORY, WORLD.files)
    before = await dump(place.storage)
    target, send = f"/v2/{APP}/manifests/new", {"Content-Type": OCI}
    answer = await place.client.send("PUT", target, send, [OCI_IMAGE[:50]], vanish=True)
    assert answer.status == 499
    assert await dump(place.storage) == before


@pytest.mark.parametrize("data", [b"x" * 101, [b"x" * 60, b"y" * 60]], ids=["length", "chunked"])
async def test_the_limit_can_be_set(open_world: OpenWorld, data: bytes | list[bytes]) -> None:
    place = await open_world(replace(MEMORY, limits=Limits(manifest_bytes=100)))
    answer = await place.client.put(f"{PATH}/v1", {"Content-Type": OCI}, data)
    assert answer.expect(413).codes() == ["MANIFEST_INVALID"]


async def test_ten_thousand_layers(open_world: OpenWorld) -> None:
    place = await open_world(MEMORY, WORLD.files)
    (await push(place.client, "new", image(OCI, OCI_CONFIG_ITEM, *[LAYER_ITEM] * 10_000), name=APP)).expect(201)


def _rules(*, allow: list[str] | None = None, deny: list[str] | None = None) -> Rules:
    return Rules(
        url_allow=None if allow is None else tuple(map(re.compile, allow)),
        url_deny=tuple(map(re.compile, deny or [])),
    )


OPEN, NOTHING = _rules(), _rules(allow=[])
ALLOWED = _rules(allow=["^https://good\\.example/", "mirror"])
DENIED = _rules(deny=["bad"])
MIXED = _rules(allow=["example"], deny=["bad"])

URLS = [
    (OPEN, "https://any.example/x", True),
    (OPEN, "http://any.example/x", True),
    (OPEN, "ftp://any.example/x", False),
    (OPEN, "any.example/x", False),
    (OPEN, "", False),
    (OPEN, "https://any.example/x#fragment", False),
    (OPEN, "http://[::1", False),
    (NOTHING, "https://any.example/x", False),
    (ALLOWED, "https://good.example/x", True),
    (ALLOWED, "https://other.example/a-mirror", True),
    (ALLOWED, "https://other.example/x", False),
    (ALLOWED, "https://other.example/?https://good.example/", False),
    (DENIED, "https://good.example/x", True),
    (DENIED, "https://good.example/a/bad/one", False),
    (MIXED, "https://good.example/x", True),
    (MIXED, "https://bad.example/x", False),
    (MIXED, "https://elsewhere.test/x", False),
]


@pytest.mark.parametrize("media_type", [FOREIGN_LAYER, ELSEWHERE_LAYER])
@pytest.mark.parametrize(("rules", "url", "allowed"), URLS, ids=[f"{u}-{a}" for _, u, a in URLS])
async def test_urls(open_world: OpenWorld, media_type: str, rules: Rules, url: str, allowed: bool) -> None:
    place = await open_world(replace(MEMORY, rules=rules), WORLD.files)
    kind, config = (DOCKER, DOCKER_CONFIG) if media_type == FOREIGN_LAYER else (OCI, OCI_CONFIG)
    layer = descriptor(media_type, ABSENT, urls=["https://good.example/mirror", url])
    answer = await push(place.client, "new", image(kind, descriptor(config, CONFIG), layer), kind, APP)
    if allowed:
        answer.expect(201)
    else:
        assert answer.expect(400).codes() == ["MANIFEST_INVALID"]


async def test_an_allowed_url_does_not_replace_an_ordinary_layer(open_world: OpenWorld) -> None:
    place = await open_world(replace(MEMORY, rules=OPEN), WORLD.files)
    layer = descriptor(OCI_LAYER, ABSENT, urls=["https://good.example/x"])
    answer = await push(place.client, "new", image(OCI, OCI_CONFIG_ITEM, layer), name=APP)
    assert answer.expect(400).codes() == ["MANIFEST_BLOB_UNKNOWN"]


ARM, AMD = {"os": "linux", "architecture": "arm64"}, {"os": "linux", "architecture": "amd64"}
LISTED = Rules(platforms=frozenset({("linux", "amd64")}))


@pytest.mark.parametrize(
    ("rules", "more", "accepted"),
    [
        (Rules(), {"platform": AMD}, False),
        (Rules(), {}, False),
        (Rules(platforms=None), {"platform": AMD}, True),
        (Rules(platforms=None), {}, True),
        (LISTED, {"platform": AMD}, False),
        (LISTED, {"platform": {**AMD, "variant": "v3"}}, False),
        (LISTED, {"platform": ARM}, True),
        (LISTED, {"platform": {"os": "windows", "architecture": "amd64"}}, True),
        (LISTED, {"platform": {"os": "linux"}}, True),
        (LISTED, {"platform": None}, True),
        (LISTED, {}, True),
    ],
)
@pytest.mark.parametrize("media_type", [INDEX, DOCKER_LIST])
async def test_platforms(
    open_world: OpenWorld, rules: Rules, more: Document, accepted: bool, media_type: str
) -> None:
    place = await open_world(replace(MEMORY, rules=rules), WORLD.files)
    data = index(media_type, descriptor(OCI, ABSENT, **more), descriptor(OCI, OCI_IMAGE, platform=AMD))
    answer = await push(place.client, "new", data, media_type, APP)
    if accepted:
        answer.expect(201)
    else:
        assert answer.expect(400).codes() == ["MANIFEST_BLOB_UNKNOWN"]


@pytest.mark.parametrize("rules", [Rules(platforms=None), LISTED])
async def test_a_child_that_is_not_required_still_has_a_digest(open_world: OpenWorld, rules: Rules) -> None:
    place = await open_world(replace(MEMORY, rules=rules), WORLD.files)
    data = index(INDEX, {"mediaType": OCI, "digest": "nonsense", "size": 1})
    answer = await push(place.client, "new", data, INDEX, APP)
    assert "DIGEST_INVALID" in answer.expect(400).codes()


IMAGES = Rules(classes=frozenset({"image"}))
PLUGINS = Rules(classes=frozenset({"plugin"}))
EITHER = Rules(classes=frozenset({"image", "plugin"}))


@pytest.mark.parametrize(
    ("rules", "kind", "config", "message"),
    [
        (IMAGES, DOCKER, DOCKER_CONFIG, None),
        (IMAGES, OCI, OCI_CONFIG, None),
        (EITHER, DOCKER, PLUGIN_CONFIG, None),
        (PLUGINS, DOCKER, PLUGIN_CONFIG, None),
        (IMAGES, DOCKER, PLUGIN_CONFIG, "registry does not allow plugin manifest"),
        (PLUGINS, DOCKER, DOCKER_CONFIG, "registry does not allow image manifest"),
        (PLUGINS, OCI, OCI_CONFIG, "registry does not allow image manifest"),
        (EITHER, OCI, "a/b", "unknown manifest class for a/b"),
        (Rules(), OCI, "a/b", None),
    ],
)
async def test_classes(open_world: OpenWorld, rules: Rules, kind: str, config: str, message: str | None) -> None:
    place = await open_world(replace(MEMORY, rules=rules), WORLD.files)
    answer = await push(place.client, "new", image(kind, descriptor(config, CONFIG)), kind, APP)
    if message is None:
        answer.expect(201)
    else:
        assert answer.expect(403).json()["errors"] == [{"code": "DENIED", "message": message}]


async def test_an_index_has_no_class(open_world: OpenWorld) -> None:
    place = await open_world(replace(MEMORY, rules=PLUGINS), WORLD.files)
    (await push(place.client, "new", index(INDEX, descriptor(OCI, OCI_IMAGE)), INDEX, APP)).expect(201)


async def test_sizes_need_not_be_checked(open_world: OpenWorld) -> None:
    place = await open_world(replace(MEMORY, rules=Rules(check_sizes=False)), WORLD.files)
    data = image(OCI, {**OCI_CONFIG_ITEM, "size": 7}, {**LAYER_ITEM, "size": 0})
    (await push(place.client, "new", data, name=APP)).expect(201)


async def test_what_a_list_of_the_original_holds_may_be_anything(open_world: OpenWorld) -> None:
    """It is not an error of the client who asks for the list in a downgraded form."""
    from_original = as_json(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_LIST,
            "manifests": [{"mediaType": DOCKER, "digest": "nonsense", "size": 1, "platform": AMD}],
        }
    )
    files = {
        blob_key(digest(from_original)): from_original,
        revision_key("app", digest(from_original)): digest(from_original).encode(),
        tag_key("app", "v1"): digest(from_original).encode(),
    }
    place = await open_world(MEMORY, files)
    answer = await place.client.get(f"{PATH}/v1", {"Accept": DOCKER})
    assert answer.expect(404).codes() == ["MANIFEST_UNKNOWN"]
