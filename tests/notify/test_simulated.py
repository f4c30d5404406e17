"""A day of a receiver, and of what is sent to it: nothing acknowledged is missing, and the order is kept."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.notify.simulated import Phase, Receiver, SimulatedLoop, simulate

from lading.notify.delivery import LONGEST_PAUSE_SECONDS, UNMARKED_EVENTS, Delivery, Endpoint
from lading.notify.journal import FILE, Interest, Journal, Parked, Room
from lading.notify.recording import Recorder
from lading.registry.events import Event, Occasion

pytestmark = pytest.mark.slow

FULL = os.environ.get("LADING_FULL") == "1"
OCCASION = Occasion("id", "192.0.2.1:1", "host", "PUT", "agent", "user")
ROOM = Room(100_000, 1 << 30)
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REPOSITORIES = 5


class Mortal(Journal):
    """From its death on nothing is written any more, as when the process is killed."""

    dead = False

    def advance(self, endpoint: str, seq: int) -> None:
        self._live()
        super().advance(endpoint, seq)

    def _live(self) -> None:
        if self.dead:
            raise sqlite3.OperationalError("dead")


@dataclass
class Figures:
    """The `Count`."""

    kinds: dict[str, int] = field(default_factory=dict)
    pending: list[int] = field(default_factory=list)
    parked: int = 0

    def happened(self, kind: str, endpoint: str, events: int) -> None:
        self.kinds[kind] = self.kinds.get(kind, 0) + events

    def answered(self, code: str, endpoint: str, events: int) -> None:
        """Not looked at."""

    def waiting(self, pending: int, parked: int, endpoint: str) -> None:
        self.pending.append(pending)
        self.parked = parked


@dataclass
class Day:
    """A registry's events, sent to one receiver while deliverers die. `lives` are in seconds."""

    directory: Path
    receiver: Receiver
    endpoint: Endpoint = field(default_factory=lambda: Endpoint(Interest("x")))
    pushes: int = 1000
    lives: Sequence[float] = ()
    room: Room = ROOM
    figures: Figures = field(default_factory=Figures)
    acknowledged: list[tuple[str, int]] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    size: int = 0
    """The most bytes that the journal took on the disk."""

    async def pass_by(self) -> None:
        journal = Journal(self.directory, self.room, durable=False)
        journal.prepare([self.endpoint.name])
        recorder = Recorder(journal, {"addr": "x:1"}, [self.endpoint.interest], lambda _: None, references=False)
        loop = asyncio.get_running_loop()
        pushing = [asyncio.create_task(self._push(recorder, number)) for number in range(REPOSITORIES)]
        for life in self.lives:
            mortal = Mortal(self.directory, self.room, durable=False)
            task = asyncio.create_task(self._delivery(mortal).run())
            await asyncio.sleep(life)
            mortal.dead = True
            await _end(task)
        task = asyncio.create_task(self._delivery(Journal(self.directory, self.room, durable=False)).run())
        await asyncio.gather(*pushing)
        await asyncio.sleep(max(0.0, self.receiver.ends - loop.time()))
        reader = Journal(self.directory, self.room, durable=False)
        deadline = loop.time() + 2 * LONGEST_PAUSE_SECONDS + 600
        while reader.cursor(self.endpoint.name) < reader.newest():
            assert loop.time() < deadline, "falls behind for good"
            await asyncio.sleep(5)
        await _end(task)
        self.parked = reader.parked()
        reader.close()
        recorder.close()

    async def _push(self, recorder: Recorder, repository: int) -> None:
        """One client of one repository: it goes on when it is told that its push is done."""
        chance = random.Random(repository)
        for number in range(self.pushes // REPOSITORIES):
            name = f"r{repository}"
            event = Event("push", name, f"sha256:{number}", MANIFEST, number)
            await recorder.happened([event], OCCASION)
            self.acknowledged.append((name, number))
            files = [Path(f"{self.directory / FILE}{suffix}") for suffix in ("", "-wal")]
            self.size = max(self.size, sum(file.stat().st_size for file in files))
            await asyncio.sleep(
                chance.expovariate(self.pushes / REPOSITORIES / max(self.receiver.ends - 1000, 60))
            )

    def _delivery(self, journal: Journal) -> Delivery:
        return Delivery(journal, self.endpoint, self.receiver, self.figures)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def of(event: dict[str, Any]) -> tuple[str, int]:
    return event["target"]["repository"], event["target"]["size"]


def check(day: Day, *, poisoned: Sequence[int] = ()) -> None:
    """All that was acknowledged came, once by its id, and in each repository in its order."""
    first = {event["id"]: of(event) for event in day.receiver.got}
    came = list(first.values())
    assert sorted(came) == sorted(each for each in day.acknowledged if each[1] not in poisoned)
    for repository in {name for name, _ in came}:
        numbers = [number for name, number in came if name == repository]
        assert numbers == sorted(numbers)


HARD_DAY = [
    *(Phase("up", 20), Phase("500 Internal Server Error", 1800), Phase("up", 5), Phase("down", 3600)),
    *(Phase("drops", 60), Phase("429", 600), Phase("up", 5), Phase("slow", 300), Phase("up", 10)),
    *(Phase("down", 1800), Phase("503 Service Unavailable", 60), Phase("429", 1800)),
]


@pytest.mark.parametrize("together", [1, 20])
def test_hours_of_trouble(tmp_path, together):
    day = Day(tmp_path, Receiver(HARD_DAY), Endpoint(Interest("x"), together=together))
    simulate(day.pass_by())
    check(day)
    assert day.parked == []
    assert day.figures.kinds["Successes"] >= day.figures.kinds["Events"] == len(day.acknowledged)
    assert max(day.figures.pending) > 100, "operators see what waits while it waits"
    assert day.figures.pending[-1] == 0
    # It waits as long as it may: an hour of being down is some 60 attempts, and not thousands.
    assert len(day.receiver.attempts) < 1000 + 1500


def test_whoever_dies_repeats_little_and_loses_nothing(tmp_path):
    phases = [Phase("up", 60), Phase("down", 600), Phase("up", 60), Phase("drops", 2), Phase("up", 60)]
    day = Day(tmp_path, Receiver(phases), pushes=2000, lives=[7.3, 40, 500, 170, 0.02, 1])
    simulate(day.pass_by())
    check(day)
    known = [event["id"] for event in day.receiver.got]
    dropped = sum(1 for _ in day.receiver.attempts) - len(set(known))
    assert len(known) - len(set(known)) <= UNMARKED_EVENTS * len(day.lives) + dropped


@pytest.mark.parametrize("together", [1, 7, 50])
def test_poison_is_found_and_what_is_sent_with_it_arrives(tmp_path, together):
    poisoned = [13, 14, 70]
    receiver = Receiver([Phase("down", 600), Phase("up", 60)], lambda event: of(event)[1] in poisoned)
    day = Day(tmp_path, receiver, Endpoint(Interest("x"), threshold=3, together=together), pushes=500)
    simulate(day.pass_by())
    check(day, poisoned=poisoned)
    assert len(day.parked) == len(poisoned) * REPOSITORIES == day.figures.parked
    assert {each.reason for each in day.parked} == {"422 Unprocessable Entity"}


def test_an_event_that_breaks_the_receiver_is_parked_where_that_is_asked_for(tmp_path):
    receiver = Receiver([Phase("down", 300), Phase("503 Service Unavailable", 0)], lambda _: False)

    async def send(events: Sequence[bytes]) -> Any:
        answer = await Receiver.send(receiver, events)
        if answer.taken and b'"size":7,' in b"".join(events):
            del receiver.got[-len(events) :]
            return type(answer)("500 Internal Server Error")
        return answer

    receiver.send = send  # type: ignore[method-assign]
    day = Day(tmp_path, receiver, Endpoint(Interest("x"), together=10, attempts=4), pushes=100)
    simulate(day.pass_by())
    check(day, poisoned=[7])
    assert [each.reason for each in day.parked] == ["500 Internal Server Error"] * REPOSITORIES


def test_events_that_wait_for_others_do_not_wait_long(tmp_path):
    receiver = Receiver([Phase("up", 600)])
    day = Day(tmp_path, receiver, Endpoint(Interest("x"), together=1000, linger=10.0), pushes=600)
    simulate(day.pass_by())
    check(day)
    # One a second, ten seconds each.
    assert 50 <= len(receiver.attempts) <= 75


def test_a_journal_that_is_full_stays_small(tmp_path):
    day = Day(tmp_path, Receiver([Phase("down", 7200)]), pushes=4000, room=Room(500, 1 << 30))
    simulate(day.pass_by())
    came = [of(event) for event in day.receiver.got]
    assert 490 <= len(came) <= 700
    assert came[-1] == day.acknowledged[-1]
    # Of the same size as if there had been no more: less than 1 KiB for each, and what SQLite writes ahead.
    assert day.size < 6 * 1024 * 1024


MOODS = ["up", "down", "slow", "drops", "429", "500 Internal Server Error", "404 Not Found"]
PHASES = st.lists(st.builds(Phase, st.sampled_from(MOODS), st.sampled_from([0.05, 1.0, 30.0, 900.0])), max_size=8)


@given(
    phases=PHASES,
    lives=st.lists(st.sampled_from([0.01, 0.5, 10.0, 400.0]), max_size=4),
    together=st.sampled_from([1, 2, 30]),
    linger=st.sampled_from([0.0, 2.0]),
)
@settings(
    max_examples=200 if FULL else 12,
    deadline=None,
    derandomize=not FULL,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_any_day(phases, lives, together, linger):
    with tempfile.TemporaryDirectory(prefix="lading-day-") as directory:
        endpoint = Endpoint(Interest("x"), together=together, linger=linger)
        day = Day(Path(directory), Receiver(phases), endpoint, pushes=60, lives=lives)
        simulate(day.pass_by())
        check(day)


def test_the_clock_of_the_simulation():
    async def sleep() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        await asyncio.sleep(86_400)
        return loop.time()

    assert simulate(sleep()) == pytest.approx(1000 + 86_400)
