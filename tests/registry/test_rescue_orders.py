"""What is brought back by two at once while a collector puts it away (decision 0010)."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Iterator

import pytest
from tests.registry.test_collect import digests
from tests.registry.test_collecting import APP, IMAGE, clock, garbage, pull, push
from tests.registry.turns import Actor, Clock, RenamingTurn, Stage, Turn, at_once, copying, rescuing

from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName, Tag
from lading.registry import layout, links
from lading.registry.ports import PathNotFoundError, Storage
from lading.registry.quarantine import COLLECTED, Quarantine
from lading.registry.registry import Registry
from lading.storage.memory import MemoryStorage

NAME = RepositoryName("app")
SUBJECT, DIGEST = Digest.of(b"what it is about"), Digest.of(b"a signature")
LINK = layout.referrer_link(NAME, SUBJECT, DIGEST)
BLOB = layout.blob_data(DIGEST)
LIST = layout.referrers(NAME, SUBJECT, DIGEST.algorithm)

__all__ = ["clock"]

SWITCHES = 4
"""So often at most somebody else goes on though who was at it could."""


TURNS = pytest.mark.parametrize("turn", [Turn, RenamingTurn], ids=["copies", "renames"])


@dataclasses.dataclass
class Order:
    """Who makes each step: as `wanted` at first, then whoever made the last."""

    wanted: tuple[int, ...]
    made: list[tuple[list[int], int]] = dataclasses.field(default_factory=list)
    """At each step who could go on, and who did."""

    def choose(self, stage: Stage) -> Callable[[int, list[Actor]], Actor]:
        def choose(step: int, ready: list[Actor]) -> Actor:
            numbers = [stage.actors.index(actor) for actor in ready]
            number = self.wanted[step] if step < len(self.wanted) else self.last(step)
            if number not in numbers:
                number = numbers[0]
            self.made.append((numbers, number))
            return stage.actors[number]

        return choose

    def last(self, step: int) -> int:
        return self.made[step - 1][1] if step else 0

    def others(self) -> Iterator[Order]:
        """The orders that begin as this one was wanted, and differ from it later, for the first time."""
        chosen = [number for _, number in self.made]
        switches = 0
        for step, (ready, number) in enumerate(self.made):
            could_go_on = bool(step) and self.last(step) in ready
            if step >= len(self.wanted):
                for other in ready:
                    switched = could_go_on and other != self.last(step)
                    if other != number and switches + switched <= SWITCHES:
                        yield Order((*chosen[:step], other))
            switches += could_go_on and number != self.last(step)


async def every_order(play: Callable[[Order], Awaitable[None]]) -> int:
    pending, played = [Order(())], 0
    while pending:
        order = pending.pop()
        await play(order)
        played += 1
        pending += order.others()
    return played


async def looked_for(storage: Storage) -> None:
    await storage.stat(BLOB)


async def listed(storage: Storage) -> None:
    assert await storage.list(LIST) == [DIGEST.encoded]


@pytest.mark.slow
@pytest.mark.timeout(300)
@TURNS
@pytest.mark.parametrize("away", [True, False], ids=["away", "about-to-be"])
@pytest.mark.parametrize(("look", "key"), [(looked_for, BLOB), (listed, LINK)], ids=["blob", "referrer"])
async def test_two_bring_back_what_is_put_away(
    clock: Clock, look: Callable[[Storage], Awaitable[None]], key: str, away: bool, turn: type[Turn]
) -> None:
    async def play(order: Order) -> None:
        storage = MemoryStorage()
        quarantine = Quarantine(storage)
        await storage.put(key, links.content(DIGEST))
        before = await quarantine.begin(COLLECTED)
        clock.now += 1
        batch = await quarantine.begin(COLLECTED)
        if away:
            await quarantine.put_away(before, key)
        stage = Stage(storage, clock, turn)

        async def put_away(mine: Turn) -> None:
            with contextlib.suppress(PathNotFoundError):
                await Quarantine(mine).put_away(batch, key)

        for _ in range(2):
            stage.act(lambda mine: look(rescuing(mine)))
        stage.act(put_away)
        await stage.play(order.choose(stage))
        await look(rescuing(storage))

    assert await every_order(play) > 100


@TURNS
async def test_what_is_deleted_and_pushed_again_while_it_is_put_away_is_there(
    clock: Clock, turn: type[Turn]
) -> None:
    digest = Digest(IMAGE.manifest.digest)

    async def play(order: Order) -> None:
        storage = MemoryStorage()
        await garbage(storage, clock, manifest=True)
        batch = await Quarantine(storage).begin(COLLECTED)
        stage = Stage(storage, clock, turn)

        async def again(registry: Registry) -> None:
            with contextlib.suppress(RegistryError):
                await registry.manifests.delete(APP, digest)
            await push(registry, APP, "again", IMAGE)

        async def put_away(mine: Turn) -> None:
            with contextlib.suppress(PathNotFoundError):
                await Quarantine(mine).put_away(batch, layout.manifest_link(APP, digest))

        stage.client(again)
        stage.act(put_away)
        await stage.play(order.choose(stage))
        clock.now += 5
        served = Registry.over(rescuing(turn(storage, at_once)))
        assert await pull(served, APP, Tag("again")) == digests(IMAGE)

    assert await every_order(play) > 20


@TURNS
async def test_what_is_deleted_while_somebody_asks_for_it_stays_away(clock: Clock, turn: type[Turn]) -> None:
    """It was collected and brought back: where that is a copy, a batch still holds it."""

    async def play(order: Order) -> None:
        storage = MemoryStorage()
        stage = Stage(storage, clock, turn)
        await storage.put(BLOB, b"a layer")
        quarantine = Quarantine(turn(storage, at_once))
        await quarantine.put_away(await quarantine.begin(COLLECTED), BLOB)
        await rescuing(quarantine.storage).stat(BLOB)

        async def ask(mine: Turn) -> None:
            with contextlib.suppress(PathNotFoundError):
                await rescuing(mine).stat(BLOB)

        stage.act(ask)
        stage.act(lambda mine: rescuing(mine).delete(BLOB))
        await stage.play(order.choose(stage))
        with pytest.raises(PathNotFoundError):
            await rescuing(quarantine.storage).stat(BLOB)

    assert await every_order(play) > 5


async def test_what_came_back_while_its_batch_was_discarded_is_found(clock: Clock) -> None:
    """Its copy takes long: the batch is gone before it ends."""
    storage = MemoryStorage()
    await storage.put(BLOB, b"a layer")
    quarantine = Quarantine(copying(storage))
    batch = await quarantine.begin(COLLECTED)
    await quarantine.put_away(batch, BLOB)

    class Slow(Turn):
        async def move(self, source: str, target: str, *, may_stay: bool = False) -> None:
            assert await quarantine.restore(batch, BLOB)
            await quarantine.discard(batch)
            await super().move(source, target, may_stay=may_stay)

    assert (await rescuing(Slow(storage, at_once)).stat(BLOB)).size == len(b"a layer")


async def test_a_deletion_takes_what_the_batch_still_holds(clock: Clock) -> None:
    storage = copying(MemoryStorage())
    await storage.put(BLOB, b"a layer")
    quarantine = Quarantine(storage)
    batch = await quarantine.begin(COLLECTED)
    await quarantine.put_away(batch, BLOB)
    serving = rescuing(storage)
    await serving.stat(BLOB)
    assert [key async for key, _ in quarantine.entries(batch)] == [BLOB]
    await serving.delete(BLOB)
    with pytest.raises(PathNotFoundError):
        await serving.stat(BLOB)
    assert [key async for key, _ in quarantine.entries(batch)] == []
