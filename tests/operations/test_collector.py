"""The lines between the housekeeping process and the workers, all in one process here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest
from tests.operations.test_figures import ask

from lading.operations import agent, catalogue
from lading.operations import collector as collecting
from lading.operations.agent import Agent, Message, Respondent
from lading.operations.collector import Collector
from lading.operations.figures import Figures


@dataclass
class Hanging(Respondent):
    """Answers figures only when it is let go."""

    figures: Figures
    free: threading.Event = field(default_factory=threading.Event)

    def answer(self, question: Message) -> object:
        assert self.free.wait(60)
        return catalogue.to_wire(self.figures.series())


@dataclass
class House:
    meeting: socket.socket
    collector: Collector

    async def join(self, respondent: Respondent, tell: Callable[[bool], None] = lambda healthy: None) -> Agent:
        before = await self.workers()
        joined = Agent(self.meeting.getsockname(), respondent, tell)
        joined.start()
        await until(self.workers, before + 1)
        return joined

    async def workers(self) -> float:
        return (await self.collector.series())[catalogue.WORKERS.name, ()][0]

    async def requests(self) -> float:
        series = await self.collector.series()
        return sum(values[0] for (name, _), values in series.items() if name == catalogue.REQUESTS.name)

    async def restarts(self) -> float:
        return (await self.collector.series())[catalogue.RESTARTS.name, ()][0]


async def until(found: Callable[[], object], wanted: object) -> None:
    async with asyncio.timeout(20):
        while await found() != wanted:  # type: ignore[misc]
            await asyncio.sleep(0.005)


@pytest.fixture
def meeting() -> Iterator[socket.socket]:
    with agent.meeting_point() as listening:
        yield listening


@contextlib.asynccontextmanager
async def running(meeting: socket.socket, expected: int = 2) -> AsyncIterator[House]:
    own = Respondent(Figures(), asyncio.get_running_loop())
    house = House(meeting, Collector(meeting, own, expected))
    serving = asyncio.create_task(house.collector.serve())
    try:
        yield house
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


def counting(requests: int) -> Figures:
    figures = Figures(("base",))
    for _ in range(requests):
        ask(figures, "base")
    return figures


def cut(house: House, number: int = 0) -> None:
    list(house.collector._workers)[number].writer.transport.abort()


async def test_figures_are_summed(meeting):
    async with running(meeting) as house:
        for requests in [3, 4]:
            await house.join(Respondent(counting(requests), None))
        assert await house.requests() == 7
        assert await house.restarts() == 0


async def test_what_was_never_counted_is_there_with_zero(meeting):
    async with running(meeting) as house:
        series = await house.collector.series()
        assert series[catalogue.PROXY["Hits"].name, ("blob",)] == [0]
        assert series[catalogue.UPLOADS.name, ("finished",)] == [0]
        assert series[catalogue.RESIDENT.name, ()][0] > 1_000_000
        assert series[catalogue.CPU.name, ()][0] > 0


async def test_figures_outlive_their_process(meeting, monkeypatch):
    monkeypatch.setattr(agent, "RETRY_SECONDS", 3600.0)
    async with running(meeting, expected=1) as house:
        await house.join(Respondent(counting(5), None))
        assert await house.requests() == 5
        cut(house)
        await until(house.workers, 0)
        assert await house.requests() == 5
        await house.join(Respondent(counting(2), None))
        assert await house.requests() == 7
        assert await house.restarts() == 1


async def test_a_line_that_breaks_is_made_again_and_nothing_counts_twice(meeting, monkeypatch):
    monkeypatch.setattr(agent, "RETRY_SECONDS", 0.0)
    async with running(meeting, expected=1) as house:
        figures = counting(5)
        await house.join(Respondent(figures, None))
        assert await house.requests() == 5
        ask(figures, "base")
        for _ in range(3):
            [worker] = house.collector._workers
            worker.writer.transport.abort()
            await until(lambda broken=worker: _replaced(house, broken), True)
        assert await house.requests() == 6
        assert await house.restarts() == 0


async def _replaced(house: House, worker: object) -> bool:
    return bool(house.collector._workers) and worker not in house.collector._workers


async def test_many_dead_are_folded_together(meeting, monkeypatch):
    monkeypatch.setattr(agent, "RETRY_SECONDS", 3600.0)
    monkeypatch.setattr(collecting, "REMEMBERED", 2)
    async with running(meeting) as house:
        for dead in range(1, 6):
            await house.join(Respondent(counting(1), None))
            assert await house.requests() == dead
            cut(house)
            await until(house.workers, 0)
        assert len(house.collector._gone) == 2
        assert await house.requests() == 5


async def test_a_process_that_hangs_holds_nothing_up(meeting, monkeypatch):
    monkeypatch.setattr(collecting, "ANSWER_SECONDS", 0.05)
    hanging = Hanging(counting(4))
    hanging.free.set()
    async with running(meeting) as house:
        await house.join(hanging)
        await house.join(Respondent(counting(1), None))
        assert await house.requests() == 5
        hanging.free.clear()
        ask(hanging.figures, "base")
        series = await house.collector.series()
        assert series[catalogue.SILENT.name, ()] == [1]
        assert await house.requests() == 5
        hanging.free.set()
        await until(house.requests, 6)


async def test_all_are_told_of_the_health_also_those_who_come_later(meeting):
    heard: list[tuple[str, bool]] = []
    told = threading.Semaphore(0)

    def hear(name: str) -> Callable[[bool], None]:
        def tell(healthy: bool) -> None:
            heard.append((name, healthy))
            told.release()

        return tell

    async with running(meeting) as house:
        await house.join(Respondent(None, None), hear("first"))
        house.collector.tell(False)
        await house.join(Respondent(None, None), hear("second"))
        house.collector.tell(True)
        for _ in range(5):
            assert await asyncio.to_thread(told.acquire, timeout=20)
    assert [healthy for name, healthy in heard if name == "first"] == [True, False, True]
    assert [healthy for name, healthy in heard if name == "second"] == [False, True]


async def test_processes_tell_where_they_are(meeting):
    async with running(meeting) as house:
        await house.join(Respondent(None, asyncio.get_running_loop()))
        [(_, stacks), *_] = await house.collector.ask({"ask": "stacks"})
        assert 'thread "MainThread"' in stacks
        assert "test_processes_tell_where_they_are" in stacks
        profiles = await house.collector.ask({"ask": "profile", "seconds": 0.1}, 20)
        assert any("MainThread" in stack for _, counts in profiles for stack in counts)
        [(_, memory), *_] = await house.collector.ask({"ask": "memory"})
        assert memory["gc"]["tracked"] > 0


async def test_strangers_on_the_line_are_sent_away(meeting):
    async with running(meeting) as house:
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(meeting.getsockname())
            stranger.sendall(b"\xff\xff\xff\xff")
            stranger.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(stranger, 1) == b""
        assert await house.workers() == 0
