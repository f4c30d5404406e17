"""Links, tags and referrers whose files are damaged, stale, foreign or written at once."""

from __future__ import annotations

import asyncio

import pytest
from tests.wire.compositions import dump
from tests.wire.content import (
    OCI,
    ROOT,
    Directory,
    blob_key,
    descriptor,
    digest,
    history_key,
    image,
    layer_key,
    path,
    revision_key,
    tag_key,
)
from tests.wire.storages import Watched
from tests.wire.world import CONFIG, OCI_CONFIG_ITEM

from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName, Tag
from lading.registry.ports import Storage
from lading.registry.registry import Registry

NAME = RepositoryName("app")
IMAGE = image(OCI, OCI_CONFIG_ITEM)
SIGNATURE = image(OCI, OCI_CONFIG_ITEM, subject=descriptor(OCI, IMAGE))
NAME_OF_IMAGE, NAME_OF_SIGNATURE = Digest(digest(IMAGE)), Digest(digest(SIGNATURE))

DAMAGED = [
    b"",
    b"\n",
    b"sha256",
    b"sha256:",
    b"sha256:" + b"a" * 63,
    b"sha256:" + b"A" * 64,
    digest(IMAGE).encode() + b"\n",
    b"\xff" * 71,
    b"md5:" + b"a" * 32,
    b"sha256:../../../../../../etc/passwd",
    b"\0" * 71,
]


@pytest.fixture
async def filled(storage: Storage) -> None:
    directory = Directory()
    directory.blob("app", CONFIG)
    directory.manifest("app", IMAGE, "v1", "v2")
    for key, data in directory.files.items():
        await storage.put(key, data)


def referrer_key(subject: str, of: str) -> str:
    return f"{ROOT}/repositories/app/_referrers/{path(subject)}/{path(of)}/link"


async def push(registry: Registry, data: bytes, *tags: str) -> Digest:
    reference = Digest(digest(data))
    await registry.manifests.put(NAME, reference, data, OCI, [Tag(tag) for tag in tags])
    return reference


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("content", DAMAGED, ids=repr)
async def test_a_damaged_link_is_none_until_it_is_pushed_again(
    registry: Registry, storage: Storage, content: bytes
) -> None:
    config = Digest(digest(CONFIG))
    for key in (layer_key("app", config), revision_key("app", NAME_OF_IMAGE), tag_key("app", "v1")):
        await storage.put(key, content)
    for broken in (
        registry.blobs.size(NAME, config),
        registry.blobs.open(NAME, config),
        registry.tags.get(NAME, Tag("v1")),
        registry.manifests.get(NAME, NAME_OF_IMAGE),
    ):
        with pytest.raises(RegistryError) as refused:
            await broken
        assert refused.value.status == 404
    assert not await registry.blobs.mount(RepositoryName("other"), config, NAME)
    await registry.blobs.link(NAME, config)
    await push(registry, IMAGE, "v1")
    assert await registry.tags.get(NAME, Tag("v1")) == NAME_OF_IMAGE
    assert (await registry.manifests.get(NAME, NAME_OF_IMAGE)).data == IMAGE


@pytest.mark.usefixtures("filled")
async def test_a_damaged_tag_does_not_keep_a_manifest(registry: Registry, storage: Storage) -> None:
    await storage.put(tag_key("app", "v1"), b"")
    assert await registry.manifests.delete(NAME, NAME_OF_IMAGE) == [Tag("v2")]


@pytest.mark.usefixtures("filled")
async def test_a_tag_directory_without_a_current_link_is_no_tag(registry: Registry, storage: Storage) -> None:
    await storage.put(history_key("app", "half", digest(IMAGE)), digest(IMAGE).encode())
    assert await registry.tags.page(NAME) == ["v1", "v2"]
    assert await registry.tags.page(NAME, limit=1, after="a") == ["v1"]
    assert await registry.tags.of(NAME, NAME_OF_IMAGE) == ["v1", "v2"]
    with pytest.raises(RegistryError):
        await registry.tags.get(NAME, Tag("half"))
    with pytest.raises(RegistryError):
        await registry.tags.delete(NAME, Tag("half"))


@pytest.mark.usefixtures("filled")
async def test_a_stale_referrer_is_not_listed(registry: Registry, storage: Storage) -> None:
    """The original deletes a manifest without knowing of our link; so does garbage collection."""
    await push(registry, SIGNATURE)
    await storage.delete(revision_key("app", NAME_OF_SIGNATURE))
    assert await _referrers(registry) == []
    await push(registry, SIGNATURE)
    assert await _referrers(registry) == [NAME_OF_SIGNATURE]
    await storage.delete(blob_key(NAME_OF_SIGNATURE))
    assert await _referrers(registry) == []


@pytest.mark.usefixtures("filled")
async def test_a_referrer_of_something_else_is_not_listed(registry: Registry, storage: Storage) -> None:
    await storage.put(referrer_key(NAME_OF_IMAGE, NAME_OF_IMAGE), NAME_OF_IMAGE.encode())
    assert await _referrers(registry) == []


@pytest.mark.usefixtures("filled")
async def test_foreign_entries_among_referrers_are_passed_over(registry: Registry, storage: Storage) -> None:
    await push(registry, SIGNATURE)
    base = referrer_key(NAME_OF_IMAGE, NAME_OF_SIGNATURE).removesuffix(f"/{NAME_OF_SIGNATURE.encoded}/link")
    for foreign in (".DS_Store", "short", "Z" * 64, f"{NAME_OF_SIGNATURE.encoded}.tmp"):
        await storage.put(f"{base}/{foreign}", b"")
    assert await _referrers(registry) == [NAME_OF_SIGNATURE]


async def _referrers(registry: Registry) -> list[str]:
    page, more = await registry.referrers.page(NAME, NAME_OF_IMAGE, artifact_type="", after="", limit=10)
    assert not more
    return [item["digest"] for item in page]


@pytest.mark.usefixtures("filled")
async def test_of_many_who_set_a_tag_one_wins(registry: Registry, storage: Storage) -> None:
    images = [image(OCI, OCI_CONFIG_ITEM, annotations={"n": str(number)}) for number in range(20)]
    names = await asyncio.gather(*(push(registry, data, "moving") for data in images))
    assert await registry.tags.get(NAME, Tag("moving")) in names
    files = await dump(storage)
    assert {files[history_key("app", "moving", name)].decode() for name in names} == set(names)
    assert not [key for key in files if key.endswith(".tmp")]
    for name in names:
        assert digest((await registry.manifests.get(NAME, name)).data) == name


@pytest.mark.usefixtures("filled")
async def test_pushes_and_deletes_of_one_tag_at_once(registry: Registry) -> None:
    async def delete() -> None:
        await registry.tags.delete(NAME, Tag("v1"))

    async def put() -> None:
        await push(registry, IMAGE, "v1")

    outcomes = await asyncio.gather(*(action() for action in [put, delete] * 20), return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, RegistryError) for outcome in outcomes), outcomes
    await put()
    assert await registry.tags.get(NAME, Tag("v1")) == NAME_OF_IMAGE


@pytest.mark.usefixtures("filled")
async def test_the_order_of_a_push(registry: Registry, watched: Watched) -> None:
    """Nothing can be seen before what it needs; the history, which nobody needs, comes last."""
    await push(registry, SIGNATURE, "signed")
    order = [
        blob_key(NAME_OF_SIGNATURE),
        referrer_key(NAME_OF_IMAGE, NAME_OF_SIGNATURE),
        revision_key("app", NAME_OF_SIGNATURE),
        tag_key("app", "signed"),
        history_key("app", "signed", NAME_OF_SIGNATURE),
    ]
    assert watched.keys("put") == order


@pytest.mark.usefixtures("filled")
async def test_the_order_of_a_delete(registry: Registry, watched: Watched) -> None:
    """Tags first: at no moment does one lead to what is gone (defect 59)."""
    await registry.manifests.delete(NAME, NAME_OF_IMAGE)
    deleted = watched.keys("delete")
    assert deleted[-1] == revision_key("app", NAME_OF_IMAGE)
    assert {tag_key("app", "v1"), tag_key("app", "v2")} <= set(deleted[:-1])


@pytest.mark.usefixtures("filled")
async def test_a_manifest_cut_short_by_a_crash_is_written_again(registry: Registry, storage: Storage) -> None:
    await storage.put(blob_key(NAME_OF_IMAGE), IMAGE[:7])
    await push(registry, IMAGE)
    assert (await registry.manifests.get(NAME, NAME_OF_IMAGE)).data == IMAGE


async def test_a_tag_that_vanishes_during_a_delete_is_no_error(storage: Storage) -> None:
    directory = Directory()
    directory.manifest("app", IMAGE, "v1", "v2")
    for key, data in directory.files.items():
        await storage.put(key, data)
    registry = Registry.over(storage)
    results = await asyncio.gather(
        *(registry.manifests.delete(NAME, NAME_OF_IMAGE) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(result, list) for result in results) >= 1
    assert all(isinstance(result, list | RegistryError) for result in results), results
    assert await registry.tags.page(NAME) == []
