"""Referrers that are pushed, listed and deleted (reference, 9)."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlsplit

import pytest
from tests.wire.asgi import Client
from tests.wire.compositions import FILESYSTEM, MEMORY, Composition, dump
from tests.wire.conftest import OpenWorld
from tests.wire.content import INDEX, OCI, Document, descriptor, digest, image, index
from tests.wire.world import ABSENT, APP, CONFIG, DOCKER_IMAGE, OCI_CONFIG_ITEM, OCI_IMAGE, SBOM, SIGNATURE, WORLD

SUBJECT = digest(OCI_IMAGE)
BOTH = pytest.mark.parametrize("composition", [MEMORY, FILESYSTEM], ids=["memory", "filesystem"])


async def push(client: Client, data: bytes, media_type: str = OCI, name: str = APP) -> str:
    reference = digest(data)
    answer = await client.put(f"/v2/{name}/manifests/{reference}", {"Content-Type": media_type}, data)
    answer.expect(201)
    return reference


async def listed(client: Client, subject: str = SUBJECT, query: str = "", name: str = APP) -> list[Document]:
    answer = (await client.get(f"/v2/{name}/referrers/{subject}{query}")).expect(200)
    assert answer.header("content-type") == INDEX
    document = answer.json()
    assert (document["schemaVersion"], document["mediaType"]) == (2, INDEX)
    items: list[Document] = document["manifests"]
    return items


@BOTH
async def test_what_is_shown(open_world: OpenWorld, composition: Composition) -> None:
    place = await open_world(composition, WORLD.files)
    item = descriptor(OCI, OCI_IMAGE)
    by_config = image(
        OCI, descriptor("application/vnd.config", CONFIG), subject=item, annotations={"a": "1", "b": ""}
    )
    by_type = image(OCI, OCI_CONFIG_ITEM, subject=item, artifactType="application/vnd.artifact")
    plain_index = index(INDEX, subject=item)
    typed_index = index(INDEX, subject=item, artifactType="application/vnd.set", annotations={"c": "<>"})
    for data, kind in [(by_config, OCI), (by_type, OCI), (plain_index, INDEX), (typed_index, INDEX)]:
        await push(place.client, data, kind)
    expected = [
        descriptor(OCI, by_config, artifactType="application/vnd.config", annotations={"a": "1", "b": ""}),
        descriptor(OCI, by_type, artifactType="application/vnd.artifact"),
        descriptor(INDEX, plain_index),
        descriptor(INDEX, typed_index, artifactType="application/vnd.set", annotations={"c": "<>"}),
    ]
    assert sorted(await listed(place.client), key=str) == sorted(expected, key=str)
    for wanted in expected:
        if kind := wanted.get("artifactType"):
            query = f"?artifactType={quote(kind, safe='')}"
            assert await listed(place.client, query=query) == [wanted]
    assert await listed(place.client, digest(DOCKER_IMAGE)) == []
    assert await listed(place.client, name="test") == []


@BOTH
async def test_the_subject_may_come_later(open_world: OpenWorld, composition: Composition) -> None:
    place = await open_world(composition, WORLD.files)
    subject = image(OCI, OCI_CONFIG_ITEM, annotations={"pushed": "later"})
    referrer = image(OCI, OCI_CONFIG_ITEM, subject=descriptor(OCI, subject))
    await push(place.client, referrer)
    assert [item["digest"] for item in await listed(place.client, digest(subject))] == [digest(referrer)]
    await push(place.client, subject)
    assert [item["digest"] for item in await listed(place.client, digest(subject))] == [digest(referrer)]
    # And goes first, without taking them along.
    (await place.client.delete(f"/v2/{APP}/manifests/{digest(subject)}")).expect(202)
    assert [item["digest"] for item in await listed(place.client, digest(subject))] == [digest(referrer)]


async def test_children_of_an_index_are_listed_too(open_world: OpenWorld) -> None:
    place = await open_world(MEMORY, WORLD.files)
    item = descriptor(OCI, OCI_IMAGE)
    children = [image(OCI, OCI_CONFIG_ITEM, subject=item, annotations={"n": str(n)}) for n in range(2)]
    for child in children:
        await push(place.client, child)
    parent = index(INDEX, *(descriptor(OCI, child) for child in children), subject=item)
    await push(place.client, parent, INDEX)
    found = {found["digest"] for found in await listed(place.client)}
    assert found == {digest(data) for data in (*children, parent)}


@BOTH
async def test_a_deleted_referrer_is_not_listed(open_world: OpenWorld, composition: Composition) -> None:
    place = await open_world(composition, WORLD.files)
    before = await dump(place.storage)
    names = [await push(place.client, data) for data in (SIGNATURE, SBOM)]
    (await place.client.delete(f"/v2/{APP}/manifests/{names[0]}")).expect(202)
    assert [item["digest"] for item in await listed(place.client)] == [names[1]]
    (await place.client.delete(f"/v2/{APP}/manifests/{names[1]}")).expect(202)
    assert await listed(place.client) == []
    assert (await dump(place.storage)).keys() <= before.keys(), "links of what is gone"


async def test_a_tagged_referrer_stays_when_its_tag_goes(open_world: OpenWorld) -> None:
    place = await open_world(MEMORY, WORLD.files)
    target = f"/v2/{APP}/manifests/signature"
    (await place.client.put(target, {"Content-Type": OCI}, SIGNATURE)).expect(201)
    (await place.client.delete(target)).expect(202)
    assert [item["digest"] for item in await listed(place.client)] == [digest(SIGNATURE)]


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
async def test_algorithms_of_subject_and_referrer(open_world: OpenWorld, algorithm: str) -> None:
    place = await open_world(MEMORY, WORLD.files)
    subject = digest(ABSENT, algorithm)
    data = image(OCI, OCI_CONFIG_ITEM, subject=descriptor(OCI, ABSENT, algorithm))
    for other in ("sha256", "sha384", "sha512"):
        target = f"/v2/{APP}/manifests/{digest(data, other)}"
        (await place.client.put(target, {"Content-Type": OCI}, data)).expect(201)
    found = [item["digest"] for item in await listed(place.client, subject)]
    assert found == [digest(data, other) for other in ("sha256", "sha384", "sha512")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("filtered", [False, True])
async def test_paging(open_world: OpenWorld, size: int, filtered: bool) -> None:
    place = await open_world(MEMORY, WORLD.files)
    names = set()
    for number in range(7):
        kind = "application/vnd.odd" if number % 2 else "application/vnd.even"
        data = image(
            OCI, descriptor(kind, CONFIG), subject=descriptor(OCI, OCI_IMAGE), annotations={"n": str(number)}
        )
        await push(place.client, data)
        if number % 2 == 0 or not filtered:
            names.add(digest(data))
    chosen = "&artifactType=application%2Fvnd.even" if filtered else ""
    target: str | None = f"/v2/{APP}/referrers/{SUBJECT}?n={size}{chosen}"
    seen: list[str] = []
    pages = 0
    while target is not None:
        answer = (await place.client.get(target)).expect(200)
        assert answer.header("oci-filters-applied") == ("artifactType" if filtered else None)
        page = [item["digest"] for item in answer.json()["manifests"]]
        assert len(page) <= size
        seen += page
        pages += 1
        target = next_page(answer.header("link"))
    assert seen == sorted(names)
    assert pages == max(1, -(-len(names) // size))


def next_page(link: str | None) -> str | None:
    if link is None:
        return None
    assert link.startswith("<")
    assert link.endswith('>; rel="next"')
    url = urlsplit(link[1:].partition(">")[0])
    assert list(parse_qs(url.query)) == sorted(parse_qs(url.query))
    return link[1:].partition(">")[0]


@BOTH
async def test_the_tag_of_clients_and_our_own_links_are_merged(
    open_world: OpenWorld, composition: Composition
) -> None:
    """`signed` holds three referrers that a tag lists; a fourth is pushed to us, one of the three again."""
    place = await open_world(composition, WORLD.files)
    (await place.client.post("/v2/signed/blobs/uploads/", {})).expect(202)
    mount = f"/v2/signed/blobs/uploads/?mount={digest(CONFIG)}&from={APP}"
    (await place.client.post(mount)).expect(201)
    fourth = image(OCI, OCI_CONFIG_ITEM, subject=descriptor(OCI, OCI_IMAGE), annotations={"fourth": "one"})
    for data in (fourth, SIGNATURE):
        await push(place.client, data, name="signed")
    found = [item["digest"] for item in await listed(place.client, name="signed")]
    assert len(found) == len(set(found)) == 4
    assert found == sorted(found)
    assert {digest(fourth), digest(SIGNATURE), digest(SBOM)} < set(found)
    (await place.client.delete(f"/v2/signed/manifests/{digest(SBOM)}")).expect(202)
    assert digest(SBOM) not in [item["digest"] for item in await listed(place.client, name="signed")]


async def test_a_fallback_tag_may_be_damaged(open_world: OpenWorld) -> None:
    tag = SUBJECT.replace(":", "-")
    place = await open_world(MEMORY, WORLD.files)
    await push(place.client, SIGNATURE)
    target = f"/v2/{APP}/manifests/{tag}"
    # An image where an index is expected.
    (await place.client.put(target, {"Content-Type": OCI}, OCI_IMAGE)).expect(201)
    assert [item["digest"] for item in await listed(place.client)] == [digest(SIGNATURE)]
