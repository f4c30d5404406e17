"""Actors on one storage of which one at a time makes one call: every order of their calls can be tried.

Time is theirs, too: it stands still but where somebody sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest

from lading.registry import layout, manifests, marking, quarantine
from lading.registry.collecting import Collecting, Collector
from lading.registry.ports import Objects, Reader, Stat, Steps, Storage, Writer
from lading.registry.quarantine import SETTLE_SECONDS, Quarantine
from lading.registry.registry import Registry
from lading.storage import memory
from lading.storage.wrappers import rescuing as wrapper
from lading.storage.wrappers.passing import PassingStorage
from lading.storage.wrappers.rescuing import RescuingStorage

T = TypeVar("T")

HOUR = 3600.0
DAY = 24 * HOUR


async def settled() -> None:
    """Everything that can run has come to its next call: nothing is left that the event loop could run."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    while True:
        await asyncio.sleep(0)
        if not ready:
            return


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.0
        fake = types.SimpleNamespace(time=lambda: self.now, monotonic=lambda: self.now)
        for module in (quarantine, manifests, marking, memory, wrapper):
            monkeypatch.setattr(module, "time", fake)


class Turn(PassingStorage):
    """Each call waits for its turn, and is one step."""

    renames = False

    def __init__(self, inner: Storage, turn: Callable[[], Awaitable[None]]) -> None:
        super().__init__(inner)
        self.traits = replace(inner.traits, renames=self.renames)
        self._turn = turn

    async def _in_turn(self, work: Callable[[], Awaitable[T]]) -> T:
        await self._turn()
        return await work()

    def stat(self, key: str) -> Coroutine[Any, Any, Stat]:
        return self._in_turn(lambda: self.inner.stat(key))

    def get(self, key: str) -> Coroutine[Any, Any, bytes]:
        return self._in_turn(lambda: self.inner.get(key))

    def put(self, key: str, data: bytes, *, durable: bool = True) -> Coroutine[Any, Any, None]:
        return self._in_turn(lambda: self.inner.put(key, data, durable=durable))

    async def put_all(self, *stages: Objects, upon: Sequence[str] = ()) -> None:
        # As a store does that knows no transactions: first the look, then one object after the other; and what
        # lies there already is left.
        if upon:
            await self._in_turn(lambda: self.inner.put_all(upon=upon))
        for objects in stages:
            for key, data in objects.items():
                await self._turn()
                if not await self._same(key, data):
                    await self.put(key, data)

    async def _same(self, key: str, data: bytes) -> bool:
        try:
            return await self.inner.get(key) == data
        except quarantine.PathNotFoundError:
            return False

    def open(self, key: str, offset: int = 0) -> Coroutine[Any, Any, Reader]:
        return self._in_turn(lambda: self.inner.open(key, offset))

    def writer(self, key: str, *, append: bool) -> Coroutine[Any, Any, Writer]:
        return self._in_turn(lambda: self.inner.writer(key, append=append))

    async def move(self, source: str, target: str, *, may_stay: bool = False) -> None:
        # As an object store does: a copy, then a removal.
        await self._turn()
        data = await self.inner.get(source)
        await self.inner.put(target, data)
        if may_stay:
            return
        await self._turn()
        with contextlib.suppress(quarantine.PathNotFoundError):
            await self.inner.delete(source)
        # There are no directories there but what keys have in common.
        await self._prune(source)

    async def _prune(self, key: str) -> None:
        await self.inner.delete(key.rpartition("/")[0], if_empty=True)

    def delete(self, key: str, *, if_empty: bool = False) -> Coroutine[Any, Any, None]:
        return self._in_turn(lambda: self.inner.delete(key, if_empty=if_empty))

    def list(
        self, key: str, *, after: str = "", limit: int | None = None, holding: str = ""
    ) -> Coroutine[Any, Any, Sequence[str]]:
        return self._in_turn(lambda: self.inner.list(key, after=after, limit=limit, holding=holding))

    def explore(self, steps: Steps[T]) -> Coroutine[Any, Any, T]:
        return self._in_turn(lambda: self.inner.explore(steps))

    def hold(self, key: str, *, shared: bool) -> AbstractAsyncContextManager[None]:
        # As among nodes on a store without locks.
        return _nothing()


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


class RenamingTurn(Turn):
    """As on a disk."""

    renames = True

    async def move(self, source: str, target: str, *, may_stay: bool = False) -> None:
        await self._in_turn(lambda: self.inner.move(source, target, may_stay=may_stay))
        await self._prune(source)


async def at_once() -> None:
    """The turn of one who is alone."""


def copying(inner: Storage) -> Turn:
    """For one who is alone: a move is a copy and a removal."""
    return Turn(inner, at_once)


def rescuing(storage: Storage) -> RescuingStorage:
    """As whoever serves has it."""
    return RescuingStorage(
        storage,
        Quarantine(storage),
        is_content=layout.is_content,
        is_list=layout.lists_referrers,
        settle=SETTLE_SECONDS,
    )


@dataclass
class Actor:
    """`waiting` are calls that want to be made, oldest first."""

    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    task: asyncio.Task[Any] | None = None

    async def turn(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await future


@dataclass
class Stage:
    """`inner` holds the content; whoever acts gets a storage of its own over it."""

    inner: Storage
    clock: Clock
    turn: type[Turn] = Turn
    actors: list[Actor] = field(default_factory=list)

    def act(self, work: Callable[[Turn], Awaitable[object]]) -> Actor:
        actor = Actor()
        return self._act(actor, work(self.turn(self.inner, actor.turn)))

    def client(self, work: Callable[[Registry], Awaitable[object]]) -> Actor:
        return self.act(lambda mine: work(Registry.over(rescuing(mine))))

    def collector(self, rules: Collecting, rounds: int, pause: float) -> Actor:
        actor = Actor()

        async def sleep(seconds: float) -> None:
            await actor.turn()
            self.clock.now += seconds

        async def work() -> None:
            collector = Collector(
                self.turn(self.inner, actor.turn), rules, clock=lambda: self.clock.now, sleep=sleep
            )
            for number in range(rounds):
                if number:
                    await sleep(pause)
                await collector.round()

        return self._act(actor, work())

    def _act(self, actor: Actor, work: Awaitable[object]) -> Actor:
        actor.task = asyncio.ensure_future(work)
        self.actors.append(actor)
        return actor

    async def play(self, choose: Callable[[int, list[Actor]], Actor]) -> int:
        """Until all are done; `choose` says who is next among those that can go on. Returns the steps made."""
        steps = 0
        while True:
            await settled()
            for actor in self.actors:
                if actor.task is not None and actor.task.done():
                    actor.task.result()
            ready = [actor for actor in self.actors if actor.waiting]
            if not ready:
                if all(actor.task is None or actor.task.done() for actor in self.actors):
                    return steps
                continue
            choose(steps, ready).waiting.popleft().set_result(None)
            steps += 1


async def alone(inner: Storage, rules: Collecting, clock: Clock, rounds: int, pause: float) -> None:
    """Collect while nobody else does anything."""
    stage = Stage(inner, clock)
    stage.collector(rules, rounds, pause)
    await stage.play(lambda _, ready: ready[0])
