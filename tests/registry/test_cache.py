"""What is remembered of content: bounded, and never in place of asking whether the content exists."""

from __future__ import annotations

import pytest
from tests.wire.content import OCI, Directory, blob_key, digest, image, layer_key, revision_key
from tests.wire.world import CONFIG, OCI_CONFIG_ITEM

from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName
from lading.registry.cache import ENTRY_BYTES, Cache
from lading.registry.ports import Storage
from lading.registry.registry import Registry

NAME = RepositoryName("app")
IMAGE = image(OCI, OCI_CONFIG_ITEM)
MANIFEST, BLOB = Digest(digest(IMAGE)), Digest(digest(CONFIG))


def test_the_entry_used_longest_ago_gives_way() -> None:
    cache: Cache[str] = Cache(10 * (ENTRY_BYTES + 10))
    for number in range(10):
        cache.put(f"{number}", "value", 10)
    assert cache.get("0") == "value"
    cache.put("new", "value", 10)
    assert [cache.get(key) for key in ("0", "1", "2", "new")] == ["value", None, "value", "value"]
    assert cache.used == 10 * (ENTRY_BYTES + 10)


def test_size_counts_and_large_content_is_not_kept() -> None:
    cache: Cache[str] = Cache(80_000)
    cache.put("large", "value", 10_000)
    assert cache.get("large") is None
    for number in range(100):
        cache.put(f"{number}", "value", 9_000)
    assert 0 < cache.used <= 80_000
    cache.put("99", "value", 0)
    cache.forget("98")
    cache.forget("98")
    assert cache.get("98") is None
    for number in range(100):
        cache.forget(f"{number}")
    assert cache.used == 0


@pytest.fixture
async def warm(storage: Storage) -> Registry:
    """As another worker: it has answered for everything before."""
    directory = Directory()
    directory.blob("app", CONFIG)
    directory.manifest("app", IMAGE, "v1")
    for key, data in directory.files.items():
        await storage.put(key, data)
    registry = Registry.over(storage)
    for _ in range(2):
        assert (await registry.manifests.get(NAME, MANIFEST)).data == IMAGE
        assert await registry.blobs.size(NAME, BLOB) == len(CONFIG)
    return registry


@pytest.mark.parametrize("key", [revision_key("app", MANIFEST), blob_key(MANIFEST)])
async def test_a_manifest_that_is_deleted_is_gone_at_once(storage: Storage, warm: Registry, key: str) -> None:
    held = await storage.get(key)
    await storage.delete(key)
    for _ in range(2):
        with pytest.raises(RegistryError) as refusal:
            await warm.manifests.get(NAME, MANIFEST)
        assert refusal.value.status == 404
    await storage.put(key, held)
    assert (await warm.manifests.get(NAME, MANIFEST)).data == IMAGE


@pytest.mark.parametrize("key", [layer_key("app", BLOB), blob_key(BLOB)])
async def test_a_blob_that_is_deleted_is_gone_at_once(storage: Storage, warm: Registry, key: str) -> None:
    await storage.delete(key)
    for _ in range(2):
        with pytest.raises(RegistryError):
            await warm.blobs.size(NAME, BLOB)
        with pytest.raises(RegistryError):
            await warm.blobs.open(NAME, BLOB)


async def test_a_link_that_is_torn_later_counts_as_none(storage: Storage, warm: Registry) -> None:
    await storage.put(layer_key("app", BLOB), b"")
    with pytest.raises(RegistryError):
        await warm.blobs.size(NAME, BLOB)


async def test_damaged_content_is_not_remembered(storage: Storage) -> None:
    """A repaired file is served at once."""
    directory = Directory()
    directory.manifest("app", IMAGE, "v1")
    for key, data in directory.files.items():
        await storage.put(key, data)
    damaged = IMAGE.replace(b'"size"', b'"sise"', 1)
    await storage.put(blob_key(MANIFEST), damaged)
    registry = Registry.over(storage)
    assert (await registry.manifests.get(NAME, MANIFEST)).data == damaged
    await storage.put(blob_key(MANIFEST), IMAGE)
    assert (await registry.manifests.get(NAME, MANIFEST)).data == IMAGE
