"""Pushing while garbage is collected, in every order of their calls (decision 0010); and a storm of both."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
from tests.registry.test_collect import digests
from tests.registry.test_collecting import (
    APP,
    BY_DIGEST,
    IMAGE,
    KEPT,
    OTHER,
    RULES,
    blobs,
    clock,
    garbage,
    mount,
    pull,
    push,
    serving,
)
from tests.registry.turns import HOUR, Actor, Clock, RenamingTurn, Stage, Turn, alone
from tests.servers import content
from tests.servers.content import Package

from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName, Tag
from lading.registry.collecting import Collecting
from lading.registry.quarantine import SETTLE_SECONDS
from lading.registry.registry import Registry
from lading.storage.memory import MemoryStorage

__all__ = ["clock"]

EVERY = int(os.environ.get("LADING_ORDERS", "21"))
"""Of the orders one in so many is tried."""

Client = Callable[[Registry], Awaitable[object]]

CLIENTS: dict[str, tuple[bool, RepositoryName, Client]] = {
    "push": (False, APP, lambda registry: push(registry, APP, "new", IMAGE)),
    "mount": (False, OTHER, lambda registry: mount(registry, "new", IMAGE)),
    "push-again": (True, APP, lambda registry: push(registry, APP, "new", IMAGE)),
}


TURNS = (Turn, RenamingTurn)
"""A move is two steps, or one: by turns."""


async def played(
    clock: Clock,
    case: str,
    order: tuple[bool, int, int],
    rules: Collecting = RULES,
    pause: float = 5 * HOUR,
    turn: type[Turn] = Turn,
) -> int:
    """One of two begins, is interrupted by the other for some steps, and goes on. Returns the steps made."""
    manifest, name, client = CLIENTS[case]
    storage = MemoryStorage()
    await garbage(storage, clock, manifest=manifest)
    stage = Stage(storage, clock, turn)
    pushing = stage.client(client)
    collecting = stage.collector(rules, 3, pause)
    client_first, first, second = order
    one, two = (pushing, collecting) if client_first else (collecting, pushing)

    def choose(step: int, ready: list[Actor]) -> Actor:
        wanted = one if step < first or step >= first + second else two
        return wanted if wanted in ready else ready[0]

    steps = await stage.play(choose)
    clock.now += 10
    assert await pull(serving(storage), name, Tag("new")) == digests(IMAGE), order
    await alone(storage, RULES, clock, 3, 5 * HOUR)
    assert await pull(Registry.over(storage), name, Tag("new")) == digests(IMAGE), order
    assert set(map(str, await blobs(storage))) == digests(IMAGE, KEPT), order
    return steps


def orders(steps: int, every: int) -> list[tuple[bool, int, int]]:
    """Each place to interrupt one of two, and each length of the interruption, or one in `every` of these."""
    pairs = itertools.product((True, False), range(steps), range(1, steps + 1))
    return [(who, first, second) for who, first, second in pairs if first + second <= steps][::every]


@pytest.mark.parametrize("case", CLIENTS)
async def test_some_orders(clock: Clock, case: str) -> None:
    steps = await played(clock, case, (True, 0, 0))
    for number, order in enumerate(random.Random(20260131).sample(orders(steps, 1), 150)):
        await played(clock, case, order, turn=TURNS[number % 2])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CLIENTS)
async def test_every_order_of_two_with_an_interruption(clock: Clock, case: str) -> None:
    steps = await played(clock, case, (True, 0, 0))
    for number, order in enumerate(orders(steps, EVERY)):
        await played(clock, case, order, turn=TURNS[number % 2])


async def test_with_less_quarantine_than_requests_take_content_is_lost(clock: Clock) -> None:
    """That is: these orders are such that it matters."""
    short = replace(RULES, quarantine=SETTLE_SECONDS / 4)
    steps, lost = await played(clock, "push", (True, 0, 0)), 0
    for order in orders(steps, 13):
        try:
            await played(clock, "push", order, short, short.quarantine + 1)
        except (AssertionError, RegistryError):
            lost += 1
    assert lost


SHARED = [
    content.image(name, layer_sizes=sizes) for name in ("one", "two") for sizes in ((30,), (30, 40), (30, 40, 50))
]
BY_DIGEST |= {package.manifest.digest: package for package in SHARED}


@dataclass
class Pusher:
    """Has a repository of its own, and layers in common with the others."""

    name: RepositoryName
    chance: random.Random
    tags: dict[str, Package] = field(default_factory=dict)

    async def work(self, registry: Registry) -> None:
        for _ in range(12):
            await self._act(registry)

    async def _act(self, registry: Registry) -> None:
        package, tag = self.chance.choice(SHARED), self.chance.choice("abc")
        match self.chance.randrange(6):
            case 0 | 1:
                await push(registry, self.name, tag, package)
                self.tags[tag] = package
            case 2:
                for blob in package.blobs:
                    await registry.blobs.mount(self.name, Digest(blob.digest), self.chance.choice([APP, OTHER]))
            case 3 if tag in self.tags:
                del self.tags[tag]
                await registry.manifests.delete_tag(self.name, Tag(tag))
            case 4 if tag in self.tags:
                gone = Digest(self.tags[tag].manifest.digest)
                self.tags = {t: p for t, p in self.tags.items() if p.manifest.digest != gone}
                await registry.manifests.delete(self.name, gone)
            case _ if tag in self.tags:
                package = self.tags[tag]
                assert await pull(registry, self.name, Tag(tag)) == digests(package)


@pytest.mark.parametrize("seed", range(25))
async def test_storm(clock: Clock, seed: int) -> None:
    """Three who push, move, mount, delete and pull, and two who collect, in an order of chance."""
    chance, storage = random.Random(seed), MemoryStorage()
    await garbage(storage, clock, manifest=True)
    stage = Stage(storage, clock, TURNS[seed % 2])
    pushers = [Pusher(name, chance) for name in (APP, OTHER, RepositoryName("team/third"))]
    for pusher in pushers:
        stage.client(pusher.work)
    # Requests last no longer than they may: it is the pauses of the collectors in which time goes by.
    for _ in range(2):
        stage.collector(RULES, 6, HOUR / 2)
    await stage.play(lambda _, ready: chance.choice(ready))
    clock.now += 10
    for pusher in pushers:
        for tag, package in pusher.tags.items():
            assert await pull(serving(storage), pusher.name, Tag(tag)) == digests(package)
    await alone(storage, RULES, clock, 4, 5 * HOUR)
    kept = {digest for pusher in pushers for package in pusher.tags.values() for digest in digests(package)}
    assert set(map(str, await blobs(storage))) == kept | digests(KEPT)
    for pusher in pushers:
        for tag, package in pusher.tags.items():
            assert await pull(Registry.over(storage), pusher.name, Tag(tag)) == digests(package)
