"""What is believed of an object store for a while, by whom, and what ends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from tests.wire.content import OCI, Directory, blob_key, digest, image, layer_key, revision_key
from tests.wire.storages import Redirecting
from tests.wire.world import CONFIG, OCI_CONFIG_ITEM

from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName
from lading.registry.ports import Descriptors
from lading.registry.registry import Registry
from lading.registry.trust import Trust
from lading.storage.memory import MemoryStorage
from lading.storage.wrappers.ending import EndingStorage

NAME = RepositoryName("app")
IMAGE = image(OCI, OCI_CONFIG_ITEM)
BLOB, MANIFEST = Digest(digest(CONFIG)), Digest(digest(IMAGE))
LINK, DATA, REVISION = layer_key("app", BLOB), blob_key(BLOB), revision_key("app", MANIFEST)

Pull = Callable[[Registry], Awaitable[object]]


async def blob(registry: Registry) -> None:
    reader = await registry.blobs.open(NAME, BLOB)
    await reader.close()


async def redirect(registry: Registry) -> None:
    assert await registry.blobs.redirect(NAME, BLOB, "GET", "") is not None


async def manifest(registry: Registry) -> None:
    assert (await registry.manifests.get(NAME, MANIFEST, lately=True)).data == IMAGE


PULLS: list[tuple[Pull, str, list[str]]] = [
    (blob, LINK, [DATA]),
    (redirect, LINK, [DATA]),
    (manifest, REVISION, []),
]


class Told:
    """What other registries are told that it is there."""

    def __init__(self) -> None:
        self.sizes: dict[Digest, int] = {}

    def seen(self, name: RepositoryName, digest: Digest, size: int) -> None:
        del name
        self.sizes[digest] = size

    async def gone(self, name: RepositoryName, digest: Digest) -> None:
        del name
        self.sizes.pop(digest, None)


class Node:
    """One process of a registry; `asked` are the keys that it asked for."""

    def __init__(
        self,
        store: MemoryStorage,
        deletions: memoryview,
        seconds: float = 10.0,
        descriptors: Descriptors | None = None,
    ) -> None:
        self._watched = Redirecting(store)
        trust = Trust(seconds, deletions)
        self.registry = Registry.over(
            EndingStorage(self._watched, trust.end), trust=trust, descriptors=descriptors
        )

    @property
    def asked(self) -> list[str]:
        keys = [key for operation, key in self._watched.calls if operation != "redirect"]
        self._watched.calls.clear()
        return keys


@pytest.fixture
async def store() -> MemoryStorage:
    directory, made = Directory(), MemoryStorage()
    directory.blob("app", CONFIG)
    directory.manifest("app", IMAGE, "v1")
    for key, data in directory.files.items():
        await made.put(key, data)
    return made


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    time = [1000.0]
    monkeypatch.setattr("lading.registry.trust.time.monotonic", lambda: time[0])
    return time


@pytest.mark.parametrize(("pull", "link", "opened"), PULLS)
async def test_a_pull_asks_once_in_ten_seconds(
    pull: Pull, link: str, opened: list[str], store: MemoryStorage, now: list[float]
) -> None:
    node = Node(store, memoryview(bytearray(8)))
    await pull(node.registry)
    assert link in node.asked
    now[0] += 9.9
    await pull(node.registry)
    assert node.asked == ([] if pull is redirect else opened)
    now[0] += 0.2
    await pull(node.registry)
    assert link in node.asked


@pytest.mark.parametrize(("pull", "link", "opened"), PULLS)
async def test_without_a_cache_each_pull_asks(
    pull: Pull, link: str, opened: list[str], store: MemoryStorage
) -> None:
    del opened
    node = Node(store, memoryview(bytearray(8)), seconds=0)
    for _ in range(3):
        await pull(node.registry)
        assert link in node.asked


@pytest.mark.parametrize(("pull", "link", "opened"), PULLS)
async def test_a_deletion_by_a_process_of_the_node_is_noticed_at_once(
    pull: Pull, link: str, opened: list[str], store: MemoryStorage
) -> None:
    del link, opened
    deletions = memoryview(bytearray(8))
    mine, other = Node(store, deletions), Node(store, deletions)
    await pull(mine.registry)
    if pull is manifest:
        await other.registry.manifests.delete(NAME, MANIFEST)
    else:
        await other.registry.blobs.delete(NAME, BLOB)
    with pytest.raises(RegistryError):
        await pull(mine.registry)


async def test_what_is_put_away_is_noticed_at_once(store: MemoryStorage) -> None:
    deletions = memoryview(bytearray(8))
    node, trust = Node(store, deletions), Trust(10.0, deletions)
    await redirect(node.registry)
    await EndingStorage(store, trust.end).move(DATA, f"{DATA}-away")
    with pytest.raises(RegistryError):
        await redirect(node.registry)


async def test_a_push_is_never_told_what_is_only_believed(store: MemoryStorage) -> None:
    node = Node(store, memoryview(bytearray(8)))
    for pull, _, _ in PULLS:
        await pull(node.registry)
    # By another node, of which this one does not hear.
    for key in (LINK, REVISION):
        await store.delete(key)
    with pytest.raises(RegistryError):
        await node.registry.blobs.size(NAME, BLOB)
    with pytest.raises(RegistryError):
        await node.registry.blobs.redirect(NAME, BLOB, "HEAD", "")
    with pytest.raises(RegistryError):
        await node.registry.manifests.get(NAME, MANIFEST)
    assert not await node.registry.blobs.mount(RepositoryName("other"), BLOB, NAME)
    with pytest.raises(RegistryError):
        await node.registry.manifests.put(NAME, MANIFEST, IMAGE, OCI, [])


@pytest.mark.parametrize("pull", [blob, redirect])
async def test_other_registries_are_not_told_what_is_only_believed(
    pull: Pull, store: MemoryStorage, now: list[float]
) -> None:
    told = Told()
    node = Node(store, memoryview(bytearray(8)), descriptors=told)
    await blob(node.registry)
    assert told.sizes == {BLOB: len(CONFIG)}
    # By another node, of which this one does not hear.
    await store.delete(LINK)
    await told.gone(NAME, BLOB)
    now[0] += 5
    await pull(node.registry)
    assert told.sizes == {}
