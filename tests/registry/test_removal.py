"""Repositories that are deleted as a whole (decision 0012)."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable

import pytest
from tests.registry.test_collect import blobs, digests, store
from tests.registry.test_collecting import APP, BY_DIGEST, IMAGE, OTHER, clock, mount, pull, push
from tests.registry.turns import Actor, Clock, Stage, Turn, rescuing
from tests.servers import content
from tests.wire.compositions import dump
from tests.wire.storages import Watched

from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName, Tag
from lading.oci.patterns import Selection
from lading.registry import layout
from lading.registry.collect import apply, plan
from lading.registry.garbage import Wish
from lading.registry.immutability import Immutability
from lading.registry.ports import Storage, StorageError
from lading.registry.quarantine import COLLECTED, Quarantine
from lading.registry.registry import Registry
from lading.registry.removal import Removed
from lading.registry.validation import Rules
from lading.storage.memory import MemoryStorage

__all__ = ["clock"]

BELOW, MANY = RepositoryName("team/app/below"), content.multi_arch("many")
BY_DIGEST |= {package.manifest.digest: package for package in (MANY, *MANY.children)}
TWICE = Rules(twice=True)


async def fill(storage: Storage) -> None:
    await store(storage, IMAGE, "1.0", "2.0", name=APP)
    await store(storage, MANY, "many", name=APP)
    await store(storage, IMAGE, "1.0", name=BELOW)
    await store(storage, IMAGE, "1.0", name=OTHER)


async def catalog(registry: Registry) -> list[str]:
    return (await registry.repositories.page(after="", limit=100))[0]


async def test_it_goes_and_nothing_else(storage: Storage) -> None:
    registry = Registry.over(storage)
    await fill(storage)
    upload = await registry.uploads.start(APP)
    others = {key: data for key, data in (await dump(storage)).items() if f"/{APP}/_" not in key}
    assert await registry.removal.remove(APP) == Removed(tags=3, manifests=2 + len(MANY.children))
    assert await dump(storage) == others
    assert await catalog(registry) == [BELOW, OTHER]
    for gone in (
        registry.tags.page(APP),
        registry.manifests.get(APP, Digest(IMAGE.manifest.digest)),
        registry.blobs.size(APP, Digest(IMAGE.blobs[0].digest)),
        registry.uploads.get(APP, upload.id),
        registry.removal.remove(APP),
    ):
        with pytest.raises(RegistryError):
            await gone
    for name in (BELOW, OTHER):
        assert await pull(registry, name, Tag("1.0")) == digests(IMAGE)
    await apply(storage, await plan(storage, Wish(), lambda _: None))
    assert await blobs(storage) == digests(IMAGE), "what nobody else has is garbage"


async def test_it_can_be_pushed_again(storage: Storage) -> None:
    registry = Registry.over(storage, rules=TWICE)
    await fill(storage)
    await registry.removal.remove(APP)
    await push(registry, APP, "3.0", IMAGE)
    assert await pull(registry, APP, Tag("3.0")) == digests(IMAGE)
    assert await registry.tags.page(APP) == ["3.0"]


@pytest.mark.parametrize("part", ["_layers", "_uploads", "_manifests"])
async def test_what_is_no_more_than_a_part_can_be_deleted(storage: Storage, part: str) -> None:
    """An upload that was never finished, blobs without a manifest, or what a crash has left."""
    await storage.put(f"{layout.repository(APP)}/{part}/left/over", b"")
    await Registry.over(storage).removal.remove(APP)
    assert await dump(storage) == {}


async def test_half_of_an_immutable_tag_keeps_nothing(storage: Storage) -> None:
    """What is left where its deletion, or its first push, was cut short."""
    kept = Immutability((Selection((APP,), ("2.*",)),))
    registry = Registry.over(storage, immutability=kept)
    await fill(storage)
    with pytest.raises(RegistryError, match="immutable"):
        await registry.removal.remove(APP)
    await storage.delete(layout.tag_link(APP, Tag("2.0")))
    assert "2.0" in await storage.list(layout.tags(APP))
    assert (await registry.removal.remove(APP)).tags == 2
    assert await catalog(registry) == [BELOW, OTHER]


async def test_no_directory_is_left(storage: Storage) -> None:
    await store(storage, IMAGE, "1.0", name=APP)
    await Registry.over(storage).removal.remove(APP)
    assert await storage.list(layout.REPOSITORIES) == []


async def test_wherever_it_is_cut_short_no_tag_is_broken_and_the_next_one_ends_it() -> None:
    for step in itertools.count():
        memory, calls = MemoryStorage(), itertools.count()
        await fill(memory)

        def fail(operation: str, key: str, step: int = step, calls: itertools.count[int] = calls) -> None:
            if next(calls) == step:
                raise StorageError("inmemory", "it is gone")

        try:
            await Registry.over(Watched(memory, fail)).removal.remove(APP)
        except StorageError:
            cut = True
        else:
            cut = False
        registry = Registry.over(memory)
        try:
            tags = await registry.tags.page(APP)
        except RegistryError:
            tags = []
        for tag in tags:
            await pull(registry, APP, tag)
        if not cut:
            break
        with contextlib.suppress(RegistryError):  # cut short at its very end
            await registry.removal.remove(APP)
        assert not [key for key in await dump(memory) if f"/{APP}/_" in key], step
        assert await catalog(registry) == [BELOW, OTHER], step
    assert step > 10


async def test_what_was_collected_does_not_come_back(clock: Clock) -> None:
    memory = MemoryStorage()
    await fill(memory)
    batch = await Quarantine(memory).begin(COLLECTED)
    for key in (
        layout.manifest_link(APP, Digest(IMAGE.manifest.digest)),
        layout.layer_link(APP, Digest(IMAGE.blobs[0].digest)),
    ):
        await Quarantine(memory).put_away(batch, key)
    clock.now += 10
    registry = Registry.over(rescuing(memory))
    await registry.removal.remove(APP)
    for gone in (
        registry.manifests.get(APP, Digest(IMAGE.manifest.digest)),
        registry.blobs.size(APP, Digest(IMAGE.blobs[0].digest)),
    ):
        with pytest.raises(RegistryError):
            await gone


class Believing:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def seen(self, name: RepositoryName, digest: Digest, size: int) -> None: ...

    async def gone(self, name: RepositoryName, digest: Digest) -> None:
        self.calls.append(digest)


async def test_others_forget_it_before_and_after() -> None:
    memory, believing = MemoryStorage(), Believing()
    await store(memory, IMAGE, "1.0", name=APP)
    await Registry.over(memory, descriptors=believing).removal.remove(APP)
    assert sorted(believing.calls) == sorted([*digests(IMAGE), *digests(IMAGE)])


# -- while somebody pushes, on a store without locks


Client = Callable[[Registry], Awaitable[object]]


async def played(clock: Clock, client: Client, name: RepositoryName, order: tuple[bool, int, int]) -> int:
    """One begins, is interrupted by the other for some steps, and goes on. Returns the steps made.

    Whatever the order: what was acknowledged is there whole, or has gone with the repository.
    """
    memory = MemoryStorage()
    await store(memory, IMAGE, "1.0", name=APP)
    stage, pushed = Stage(memory, clock), []

    async def push_it() -> None:
        try:
            await client(Registry.over(Turn(memory, pusher.turn), rules=TWICE))
            pushed.append(True)
        except (RegistryError, AssertionError):
            pushed.append(False)

    async def remove() -> None:
        await Registry.over(Turn(memory, remover.turn)).removal.remove(APP)

    pusher, remover = Actor(), Actor()
    stage._act(pusher, push_it())
    stage._act(remover, remove())
    client_first, first, second = order
    one, two = (pusher, remover) if client_first else (remover, pusher)

    def choose(step: int, ready: list[Actor]) -> Actor:
        wanted = one if step < first or step >= first + second else two
        return wanted if wanted in ready else ready[0]

    steps = await stage.play(choose)
    registry = Registry.over(memory)
    try:
        tags = await registry.tags.page(name)
    except RegistryError:
        tags = []
    for tag in tags:
        assert await pull(registry, name, tag) == digests(IMAGE), (order, pushed)
    if name == OTHER and pushed == [True]:
        assert tags == ["new"], "another repository has nothing to do with it"
    return steps


async def again(registry: Registry) -> None:
    """A client that skips what it was told is there."""
    for blob in IMAGE.blobs:
        await registry.blobs.size(APP, Digest(blob.digest))
    await registry.manifests.put(APP, Tag("new"), IMAGE.manifest.data, IMAGE.manifest.media_type, [])


CLIENTS: dict[str, tuple[Client, RepositoryName]] = {
    "again": (again, APP),
    "push": (lambda registry: push(registry, APP, "new", IMAGE), APP),
    "mount": (lambda registry: mount(registry, "new", IMAGE), OTHER),
}


@pytest.mark.parametrize("case", CLIENTS)
async def test_pushes_are_whole_or_gone_in_every_order(clock: Clock, case: str) -> None:
    client, name = CLIENTS[case]
    steps = await played(clock, client, name, (True, 0, 0))
    pairs = itertools.product((True, False), range(steps), range(1, steps + 1))
    orders = [(who, first, second) for who, first, second in pairs if first + second <= steps]
    for order in random.Random(20261129).sample(orders, min(400, len(orders))):
        await played(clock, client, name, order)


async def test_without_a_second_look_a_push_would_be_broken(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is: the orders above are such that it matters."""
    monkeypatch.setattr(f"{__name__}.TWICE", Rules())
    with pytest.raises((AssertionError, RegistryError)):
        await test_pushes_are_whole_or_gone_in_every_order(clock, "again")


async def test_a_push_whose_layers_have_just_gone_is_told(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its manifest was checked before."""
    await store(storage, IMAGE, "1.0", name=APP)
    registry = Registry.over(storage, rules=TWICE)
    checked = registry.manifests._store

    async def late(*arguments: object) -> object:
        await Registry.over(storage).removal.remove(APP)
        return await checked(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(registry.manifests), "_store", lambda _, *arguments: late(*arguments))
    with pytest.raises(RegistryError, match="MANIFEST_BLOB_UNKNOWN"):
        await again(registry)
    assert not [key for key in await dump(storage) if key.endswith("/link")]
