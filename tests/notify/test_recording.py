"""Events on their way to the journal: who waits for the disk, and together with whom."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Sequence

import pytest

from lading.notify import recording
from lading.notify.journal import Interest, Journal, Room, Row
from lading.notify.recording import Recorder
from lading.registry.events import Event, Occasion
from lading.registry.ports import UnavailableError

OCCASION = Occasion("id", "192.0.2.1:1", "h", "PUT", "agent", "")


class Slow(Journal):
    """Writes when it is let, or fails."""

    def __init__(self, directory) -> None:
        super().__init__(directory, Room(1000, 1 << 30), durable=False)
        self.prepare(["x"])
        self.free = threading.Event()
        self.free.set()
        self.fails = False
        self.groups: list[int] = []

    def append(self, rows: Sequence[Row]) -> int:
        assert self.free.wait(10)
        if self.fails:
            raise sqlite3.OperationalError("database or disk is full")
        self.groups.append(len(rows))
        return super().append(rows)


@pytest.fixture
def journal(tmp_path):
    made = Slow(tmp_path)
    yield made
    made.close()


@pytest.fixture
def dropped():
    return []


@pytest.fixture
def recorder(journal, dropped):
    listener = Interest("x", frozenset({"ignored"}), frozenset({"mount"}))
    made = Recorder(journal, {"addr": "x:1"}, [listener], dropped.append, references=False)
    yield made
    made.close()


def push(number: int = 0, action: str = "push") -> list[Event]:
    return [Event(action, "r", f"sha256:{number}", "m", number)]  # type: ignore[arg-type]


def there(journal: Journal) -> list[int]:
    return [json.loads(entry.body)["target"]["size"] for entry in journal.since(0, 1000)]


async def test_who_comes_while_the_disk_is_busy_shares_the_next_sync(recorder, journal):
    journal.free.clear()
    first = asyncio.create_task(recorder.happened(push(1), OCCASION))
    await asyncio.sleep(0)
    others = [asyncio.create_task(recorder.happened(push(number), OCCASION)) for number in range(2, 50)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in (first, *others))
    journal.free.set()
    await asyncio.gather(first, *others)
    assert journal.groups in ([1, 48], [49])
    assert there(journal) == list(range(1, 50))


async def test_pulls_wait_for_nobody(recorder, journal):
    journal.free.clear()
    await asyncio.wait_for(recorder.happened(push(1, "pull"), OCCASION), 1)
    waiting = asyncio.create_task(recorder.happened(push(2), OCCASION))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    journal.free.set()
    await waiting
    assert there(journal) == [1, 2]


async def test_what_nobody_wants_is_not_kept(recorder, journal):
    assert not recorder.wants("ignored", "push")
    assert not recorder.wants("m", "mount")
    assert recorder.wants("m", "push")
    await recorder.happened(push(1, "mount"), OCCASION)
    assert journal.groups == []


async def test_a_disk_that_is_full_is_told_to_who_has_changed_something(recorder, journal, dropped, caplog):
    journal.fails = True
    await recorder.happened(push(1, "pull"), OCCASION)
    for number in range(2, 5):
        with pytest.raises(UnavailableError, match="disk is full"):
            await recorder.happened(push(number), OCCASION)
    assert sum(dropped) == 4
    assert caplog.text.count("events are given up") == 1, "not a line for each"
    journal.fails = False
    await recorder.happened(push(9), OCCASION)
    assert there(journal) == [9]


async def test_pulls_that_the_disk_cannot_follow_are_dropped(recorder, journal, dropped, monkeypatch):
    monkeypatch.setattr(recording, "HELD_EVENTS", 5)
    journal.free.clear()
    for number in range(20):
        await recorder.happened(push(number, "pull"), OCCASION)
        await asyncio.sleep(0)
    journal.free.set()
    await recorder.happened(push(99), OCCASION)
    assert len(there(journal)) + sum(dropped) == 21
    assert sum(dropped) >= 13
    assert there(journal)[-1] == 99


async def test_a_client_that_is_gone_has_pushed_nevertheless(recorder, journal):
    journal.free.clear()
    task = asyncio.create_task(recorder.happened(push(1), OCCASION))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    journal.free.set()
    await recorder.happened(push(2), OCCASION)
    assert there(journal) == [1, 2]


def test_what_is_held_is_written_at_the_end(tmp_path):
    journal = Slow(tmp_path)
    recorder = Recorder(journal, {}, [Interest("x")], lambda _: None, references=False)

    async def run() -> None:
        journal.free.clear()
        for number in range(5):
            await recorder.happened(push(number, "pull"), OCCASION)

    with asyncio.Runner() as runner:
        runner.run(run())
        journal.free.set()
    recorder.close()
    reader = Slow(tmp_path)
    assert there(reader) == list(range(5))
    reader.close()
