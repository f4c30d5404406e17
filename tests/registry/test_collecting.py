"""Collecting garbage while the registry serves (decision 0010): what is needed stays, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.registry.test_collect import digests, store
from tests.registry.turns import DAY, HOUR, Clock, alone, copying, rescuing
from tests.servers import content
from tests.servers.content import Package
from tests.wire.compositions import dump
from tests.wire.storages import Watched

from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName, Tag
from lading.registry import layout
from lading.registry.collect import apply, plan
from lading.registry.collecting import Collecting, Collector, Round, _Rest
from lading.registry.garbage import Wish
from lading.registry.marking import Marking
from lading.registry.ports import Storage, StorageError
from lading.registry.quarantine import ANNOUNCED_SECONDS, COLLECTED, Quarantine
from lading.registry.registry import Registry
from lading.registry.uploads import Chunk
from lading.storage.filesystem import FilesystemStorage
from lading.storage.memory import MemoryStorage

APP, OTHER = RepositoryName("team/app"), RepositoryName("team/other")
RULES = Collecting(quarantine=4 * HOUR, grace=HOUR, rate=1000, delete_untagged=True)
IMAGE = content.image("image", layer_sizes=(50,))
KEPT = content.image("kept", layer_sizes=(60,))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def serving(storage: Storage) -> Registry:
    return Registry.over(rescuing(storage))


async def pull(registry: Registry, name: RepositoryName, reference: Tag | Digest) -> set[str]:
    """The digests of all that belongs to it. Raises `RegistryError`."""
    digest = await registry.manifests.resolve(name, reference)
    got = {str((await registry.manifests.get(name, digest)).digest)}
    package = BY_DIGEST[digest]
    for child in package.children:
        got |= await pull(registry, name, Digest(child.manifest.digest))
    for blob in package.blobs:
        reader = await registry.blobs.open(name, Digest(blob.digest))
        assert await reader.read(len(blob.data)) == blob.data
        await reader.close()
        got.add(blob.digest)
    return got


BY_DIGEST = {package.manifest.digest: package for package in (IMAGE, KEPT)}


async def push(registry: Registry, name: RepositoryName, tag: str, package: Package) -> None:
    """As clients do: what is there is not uploaded; what the registry then misses is."""
    for _ in range(2):
        for blob in package.blobs:
            try:
                await registry.blobs.size(name, Digest(blob.digest))
            except RegistryError:
                upload = await registry.uploads.start(name)
                await registry.uploads.finish(upload, Chunk(_body(blob.data)), Digest(blob.digest))
        manifest = package.manifest
        try:
            await registry.manifests.put(name, Tag(tag), manifest.data, manifest.media_type, [])
            return
        except RegistryError:
            continue
    raise AssertionError("the registry does not know what it was sent")


async def _body(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def mount(registry: Registry, tag: str, package: Package) -> None:
    for blob in package.blobs:
        if not await registry.blobs.mount(OTHER, Digest(blob.digest), APP):
            upload = await registry.uploads.start(OTHER)
            await registry.uploads.finish(upload, Chunk(_body(blob.data)), Digest(blob.digest))
    await push(registry, OTHER, tag, package)


async def garbage(storage: Storage, clock: Clock, *, manifest: bool) -> None:
    """An image that somebody pushed long ago, and of which nothing shows any more; and one that is tagged."""
    await store(storage, IMAGE, name=APP)
    if not manifest:
        for key in (layout.manifest_link(APP, Digest(IMAGE.manifest.digest)),):
            await storage.delete(key)
    await store(storage, KEPT, "kept", name=APP)
    clock.now += 10 * DAY


# -- one round after the other, nobody else there


async def test_garbage_is_put_away_then_deleted(clock: Clock) -> None:
    storage = MemoryStorage()
    await garbage(storage, clock, manifest=True)
    await alone(storage, RULES, clock, 1, 0)
    (batch,) = await Quarantine(storage).batches(COLLECTED)
    aside = {key async for key, _ in Quarantine(storage).entries(batch)}
    assert {str(digest) for key in aside if (digest := layout.blob_of(key))} == digests(IMAGE)
    assert set(map(str, await blobs(storage))) == digests(KEPT)
    await alone(storage, RULES, clock, 2, 5 * HOUR)
    assert await Quarantine(storage).batches() == []
    assert await pull(serving(storage), APP, Tag("kept")) == digests(KEPT)


async def test_what_is_asked_for_comes_back_and_stays_if_it_is_tagged(clock: Clock) -> None:
    storage = MemoryStorage()
    await garbage(storage, clock, manifest=True)
    await alone(storage, RULES, clock, 1, 0)
    registry, digest = serving(storage), Digest(IMAGE.manifest.digest)
    clock.now += 10
    assert await pull(registry, APP, digest) == digests(IMAGE)
    await push(registry, APP, "again", IMAGE)
    await alone(storage, RULES, clock, 3, 5 * HOUR)
    assert await pull(registry, APP, Tag("again")) == digests(IMAGE)
    assert await Quarantine(storage).batches() == []


@pytest.mark.parametrize("over", [lambda storage: storage, copying], ids=["renames", "copies"])
async def test_a_mark_brings_back_what_is_needed(clock: Clock, over: Callable[[Storage], Storage]) -> None:
    """The tag was written by somebody who had looked before the manifest was put away."""
    storage = over(MemoryStorage())
    await garbage(storage, clock, manifest=True)
    await alone(storage, RULES, clock, 1, 0)
    digest = Digest(IMAGE.manifest.digest)
    await storage.put(layout.tag_link(APP, Tag("late")), digest.encode())
    done: list[Round] = []
    collector = Collector(storage, RULES, done.append, lambda: clock.now, _no_time)
    await collector.round()
    await collector.round()
    brought = [2 + 2 * len(IMAGE.blobs), 0]
    assert [round_.restored for round_ in done] == brought, "links and data of the manifest and each blob"
    clock.now += 10
    plain = Registry.over(storage)
    assert await pull(plain, APP, Tag("late")) == digests(IMAGE)


async def test_who_missed_what_a_mark_brings_back_has_time_to_find_it_in_its_batch(clock: Clock) -> None:
    storage = MemoryStorage()
    await garbage(storage, clock, manifest=True)
    await alone(storage, RULES, clock, 1, 0)
    await storage.put(layout.tag_link(APP, Tag("late")), IMAGE.manifest.digest.encode())
    clock.now += 5 * HOUR
    calls: list[tuple[str, float]] = []

    async def sleep(seconds: float) -> None:
        clock.now += seconds

    watched = Watched(storage, lambda operation, _: calls.append((operation, clock.now)))
    done = []
    await Collector(watched, RULES, done.append, lambda: clock.now, sleep).round()
    assert (done[0].restored > 0, done[0].discarded) == (True, 1)
    back = max(at for operation, at in calls if operation == "move")
    assert min(at for operation, at in calls if operation == "delete") >= back + ANNOUNCED_SECONDS


@pytest.mark.parametrize("wish", [Wish(), Wish(delete_untagged=True)])
async def test_the_offline_command_brings_back_what_is_needed_too(clock: Clock, wish: Wish) -> None:
    storage = MemoryStorage()
    await garbage(storage, clock, manifest=True)
    await alone(storage, RULES, clock, 1, 0)
    digest = Digest(IMAGE.manifest.digest)
    await apply(storage, await plan(storage, wish, lambda _: None))
    assert set(map(str, await blobs(storage))) == digests(KEPT), "what nobody needs stays away"
    await storage.put(layout.tag_link(APP, Tag("late")), digest.encode())
    # A link has come back, its data not yet.
    (batch,) = await Quarantine(storage).batches(COLLECTED)
    await Quarantine(storage).restore(batch, layout.layer_link(APP, Digest(IMAGE.blobs[0].digest)))
    await apply(storage, await plan(storage, wish, lambda _: None))
    assert await pull(Registry.over(storage), APP, Tag("late")) == digests(IMAGE)


async def _no_time(_: float) -> None: ...


async def test_what_is_deleted_does_not_come_back(clock: Clock) -> None:
    storage = MemoryStorage()
    await garbage(storage, clock, manifest=True)
    await alone(storage, RULES, clock, 1, 0)
    clock.now += 10
    registry, digest, blob = serving(storage), Digest(IMAGE.manifest.digest), Digest(IMAGE.blobs[0].digest)
    await registry.blobs.delete(APP, blob)
    await registry.manifests.delete(APP, digest)
    for gone in (registry.blobs.open(APP, blob), registry.manifests.get(APP, digest)):
        with pytest.raises(RegistryError):
            await gone


async def test_young_things_stay(clock: Clock) -> None:
    storage = MemoryStorage()
    await garbage(storage, clock, manifest=True)
    await store(storage, content.image("new", layer_sizes=(70,)), name=APP)
    old = Digest(IMAGE.blobs[-1].digest)
    await storage.put(layout.layer_link(OTHER, old), old.encode())
    await storage.put(layout.manifest_link(OTHER, Digest(KEPT.manifest.digest)), KEPT.manifest.digest.encode())
    await alone(storage, RULES, clock, 1, 0)
    left = set(map(str, await blobs(storage)))
    assert left == digests(KEPT, content.image("new", layer_sizes=(70,))) | {old}


async def test_a_blob_mounted_into_a_new_repository_stays(clock: Clock) -> None:
    storage = MemoryStorage()
    await garbage(storage, clock, manifest=True)
    old = Digest(IMAGE.blobs[-1].digest)
    await storage.put(layout.layer_link(OTHER, old), old.encode())
    await alone(storage, RULES, clock, 1, 0)
    assert set(map(str, await blobs(storage))) == digests(KEPT) | {old}


async def test_a_referrers_link_comes_back_after_its_manifest(clock: Clock) -> None:
    storage = MemoryStorage()
    await garbage(storage, clock, manifest=True)
    signature = content.image("signature", subject=IMAGE.manifest)
    subject, digest = Digest(IMAGE.manifest.digest), Digest(signature.manifest.digest)
    await store(storage, signature, name=APP)
    await storage.put(layout.referrer_link(APP, subject, digest), digest.encode())
    clock.now += DAY
    await alone(storage, RULES, clock, 1, 0)
    clock.now += 10
    registry = serving(storage)
    await registry.manifests.get(APP, digest)
    await storage.put(layout.tag_link(APP, Tag("late")), subject.encode())
    await alone(storage, RULES, clock, 1, 0)
    found, _ = await registry.referrers.page(APP, subject, artifact_type="", after="", limit=10)
    assert [descriptor["digest"] for descriptor in found] == [digest]


async def test_a_referrer_that_was_put_away_is_listed_before_the_next_round(tmp_path: Path) -> None:
    """As when it is pushed again between the mark and the move."""
    storage = FilesystemStorage(str(tmp_path))
    signature = content.image("signature", subject=IMAGE.manifest)
    subject, digest = Digest(IMAGE.manifest.digest), Digest(signature.manifest.digest)
    await store(storage, signature, name=APP)
    link = layout.referrer_link(APP, subject, digest)
    await storage.put(link, digest.encode())
    quarantine = Quarantine(storage)
    batch = await quarantine.begin(COLLECTED)
    for key in (link, layout.manifest_link(APP, digest), layout.blob_data(digest)):
        await quarantine.put_away(batch, key)
    found, _ = await serving(storage).referrers.page(APP, subject, artifact_type="", after="", limit=10)
    assert [descriptor["digest"] for descriptor in found] == [digest]


async def test_a_manifest_of_a_sparse_index_elsewhere_does_not_outlive_its_layers(clock: Clock) -> None:
    storage, index = MemoryStorage(), content.multi_arch("sparse")
    child, digest = index.children[0], Digest(index.manifest.digest)
    await store(storage, child, name=APP)
    await storage.put(layout.blob_data(digest), index.manifest.data)
    await storage.put(layout.manifest_link(OTHER, digest), digest.encode())
    await storage.put(layout.tag_link(OTHER, Tag("sparse")), digest.encode())
    clock.now += DAY
    await alone(storage, RULES, clock, 1, 0)
    assert layout.manifest_link(APP, Digest(child.manifest.digest)) not in await dump(storage)


async def test_a_slow_disk_gets_pauses(clock: Clock) -> None:
    """Between things that are put away, three times as long as each took, and at most 0.5 s."""
    slow, pauses, moved = [0.01], [], set()

    def take_long(operation: str, key: str) -> None:
        if operation == "move" and "quarantine" in key:
            clock.now += slow[0]
            moved.add(key)

    async def sleep(seconds: float) -> None:
        if moved:
            pauses.append(round(seconds, 3))

    for slow[0], pause in [(0.0, 0.001), (0.01, 0.03), (5.0, 0.5)]:
        storage = MemoryStorage()
        await garbage(storage, clock, manifest=True)
        pauses.clear()
        moved.clear()
        collector = Collector(Watched(storage, take_long), RULES, clock=lambda: clock.now, sleep=sleep)
        await collector.round()
        assert set(pauses) == {pause}


async def test_marking_rests_three_times_as_long_as_it_works(clock: Clock) -> None:
    working, rested = 0.0, 0.0

    def take_long(_operation: str, _key: str) -> None:
        nonlocal working
        working += 0.005
        clock.now += 0.005

    async def sleep(seconds: float) -> None:
        nonlocal rested
        rested += seconds
        clock.now += seconds

    storage = MemoryStorage()
    await garbage(storage, clock, manifest=True)
    await Marking(
        Watched(storage, take_long),
        Wish(),
        lambda _: None,
        now=clock.now,
        breathe=_Rest(3.0, lambda: clock.now, sleep).now_and_then,
    ).plan()
    assert 2 * working < rested <= 3 * working + 0.001


@pytest.mark.parametrize("renames", [True, False])
async def test_where_a_move_is_no_single_step_collectors_share_no_batch(renames: bool, clock: Clock) -> None:
    storage = MemoryStorage()
    storage.traits = replace(storage.traits, renames=renames)  # type: ignore[misc]
    collectors = [Collector(storage, RULES, clock=lambda: clock.now, sleep=_no_time) for _ in range(2)]
    quarantine = Quarantine(storage)
    mine = await collectors[0]._batch(quarantine)
    clock.now += 1
    others = await collectors[1]._batch(quarantine)
    assert (mine == others) is renames
    assert await collectors[0]._batch(quarantine) == mine, "and go on with their own"
    clock.now += 2 * HOUR
    assert await collectors[0]._batch(quarantine) != mine


async def test_what_cannot_be_read_ends_it_before_anything_is_done(clock: Clock) -> None:
    def refuse(operation: str, key: str) -> None:
        if key == layout.tag_link(APP, Tag("kept")):
            raise StorageError("memory", "cannot be read")

    storage = MemoryStorage()
    await garbage(storage, clock, manifest=True)
    before = await dump(storage)
    with pytest.raises(StorageError):
        await Collector(Watched(storage, refuse), RULES, clock=lambda: clock.now, sleep=_no_time).round()
    assert await dump(storage) == before


async def test_no_empty_directory_of_content_is_left(clock: Clock, tmp_path: Path) -> None:
    storage = FilesystemStorage(str(tmp_path))
    await store(storage, IMAGE, name=OTHER)
    await store(storage, KEPT, "kept", name=APP)
    rules = Collecting(quarantine=DAY, grace=0.0, rate=10_000, delete_untagged=True)
    await Collector(storage, rules, clock=lambda: clock.now, sleep=_no_time).round()
    data = layout.blob_data(Digest(IMAGE.blobs[0].digest))
    assert not (tmp_path / data[1:]).parent.exists(), "no empty directory is left"


async def blobs(storage: Storage) -> list[Digest]:
    return [digest for key in await dump(storage) if (digest := layout.blob_of(key)) is not None]


async def test_a_clock_that_is_set_back_ends_no_rests() -> None:
    now, rested = 5000.0, 0.0

    async def sleep(seconds: float) -> None:
        nonlocal rested
        rested += seconds

    rest = _Rest(3.0, lambda: now, sleep)
    now = 1000.0
    await rest.now_and_then()
    assert rested == 0
    now += 0.1
    await rest.now_and_then()
    assert rested == pytest.approx(0.3)
