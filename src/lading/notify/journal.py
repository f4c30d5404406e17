"""Where events wait until they are delivered: a SQLite database that all processes of a registry share.

Each process has one connection that writes, and every change is one transaction. Numbers of events grow, and
are committed in their order: a reader that has seen one has seen all before it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

FILE = "events.sqlite3"
FORM = 1
"""Of the tables. Of a file that says another number nothing is known."""

KEPT = 1000
"""Events that all endpoints have had stay for so long, to be looked at."""

PARKED = 10_000
"""More of them are not kept: the oldest go. All together they may take a tenth of the journal's bytes."""

READ_BYTES = 4 * 1024 * 1024
"""Of what is read at once, the first event not counted."""

FREE_PAGES = 1000
"""The file shrinks by so many at a time."""

WAL_BYTES = 16 * 1024 * 1024
BUSY_SECONDS = 30.0

_TABLES = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, action TEXT NOT NULL, media_type TEXT NOT NULL,
    body BLOB NOT NULL);
CREATE INDEX spare ON events (seq) WHERE action = 'pull';
CREATE TABLE cursors (endpoint TEXT PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE parked (
    number INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, action TEXT NOT NULL,
    media_type TEXT NOT NULL, body BLOB NOT NULL, reason TEXT NOT NULL);
CREATE TABLE sizes (events INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO sizes VALUES (0, 0);
"""


class Row(NamedTuple):
    """An event to be added; `body` is its JSON. Pulls are spare: they go before others when there is no room."""

    action: str
    media_type: str
    body: bytes


class Entry(NamedTuple):
    seq: int
    action: str
    media_type: str
    body: bytes


class Parked(NamedTuple):
    number: int
    endpoint: str
    reason: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Interest:
    """What an endpoint wants to hear: everything but `ignored` media types and `deaf` actions."""

    name: str
    ignored: frozenset[str] = frozenset()
    deaf: frozenset[str] = frozenset()

    def wants(self, media_type: str, action: str) -> bool:
        return media_type not in self.ignored and action not in self.deaf


@dataclass(frozen=True, slots=True)
class Room:
    """How many events may be kept, and how many bytes of them."""

    events: int
    bytes: int


class Journal:
    """Open it in the process that uses it. Every method raises `sqlite3.Error`. Used by one thread at a time.

    When there is no room, what all endpoints have had goes first; then pulls, the oldest first, that the endpoint
    which is furthest has had, or all if that one is far behind; then the oldest. So an endpoint that does not take
    its events loses them to no one but itself.
    """

    def __init__(self, directory: Path, room: Room, *, durable: bool) -> None:
        """With `durable` what is appended survives a power cut."""
        self._room = room
        self._connection = sqlite3.connect(
            directory / FILE, BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
        self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")

    def close(self) -> None:
        self._connection.close()

    def prepare(self, endpoints: Sequence[str]) -> Mapping[str, int]:
        """Make what is missing. Endpoints that are new hear of what comes; others are forgotten.

        Returns those, and how many events waited for each.
        """
        forgotten: dict[str, int] = {}

        def settle() -> None:
            [form] = self._connection.execute("PRAGMA user_version").fetchone()
            if form not in {0, FORM}:
                raise sqlite3.DatabaseError(f"{FILE} is of another version of Lading")
            if form == 0:
                for statement in _TABLES.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version={FORM}")
            newest = self.newest()
            for known, seq in self._connection.execute("SELECT endpoint, seq FROM cursors").fetchall():
                if known not in endpoints:
                    forgotten[known] = self.count(Interest(known), seq, newest)
                    self._connection.execute("DELETE FROM cursors WHERE endpoint = ?", [known])
            for endpoint in endpoints:
                self._connection.execute("INSERT OR IGNORE INTO cursors VALUES (?, ?)", [endpoint, newest])

        self._in_transaction(settle)
        return forgotten

    def append(self, rows: Sequence[Row]) -> int:
        """Add events, all or none. Returns how many were given up to make room for them."""
        dropped = 0

        def add() -> None:
            nonlocal dropped
            insert = "INSERT INTO events (endpoint, action, media_type, body) VALUES ('', ?, ?, ?)"
            self._connection.executemany(insert, rows)
            dropped = self._grow(len(rows), sum(len(row.body) for row in rows))

        self._in_transaction(add)
        return dropped

    def after(self, interest: Interest, seq: int, limit: int) -> list[Entry]:
        """What waits for the endpoint, in order."""
        rows = self._connection.execute(
            "SELECT seq, action, media_type, body FROM events WHERE seq > ? AND endpoint IN ('', ?) "
            "AND action NOT IN (SELECT value FROM json_each(?)) "
            "AND media_type NOT IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?",
            [seq, *_parameters(interest), limit],
        )
        found: list[Entry] = []
        size = 0
        for row in rows:
            size += len(row[3]) if found else 0
            if size > READ_BYTES:
                break
            found.append(Entry(*row))
        rows.close()
        return found

    def count(self, interest: Interest, seq: int, newest: int) -> int:
        """How many events wait for the endpoint among those after `seq` and up to `newest`."""
        counting = (
            "SELECT count(*) FROM events WHERE seq > ? AND endpoint IN ('', ?) "
            "AND action NOT IN (SELECT value FROM json_each(?)) "
            "AND media_type NOT IN (SELECT value FROM json_each(?)) AND seq <= ?"
        )
        [number] = self._connection.execute(counting, [seq, *_parameters(interest), newest]).fetchone()
        return int(number)

    def since(self, seq: int, limit: int) -> list[Entry]:
        """What was added after `seq`, for whomever, in order."""
        reading = "SELECT seq, action, media_type, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        return [Entry(*row) for row in self._connection.execute(reading, [seq, limit]).fetchall()]

    def latest(self, number: int) -> int:
        """After which `seq` the last so many events were added."""
        reading = "SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?"
        row = self._connection.execute(reading, [number]).fetchone()
        return row[0] if row else 0

    def cursor(self, endpoint: str) -> int:
        """Up to where the endpoint has had its events."""
        row = self._connection.execute("SELECT seq FROM cursors WHERE endpoint = ?", [endpoint]).fetchone()
        return row[0] if row else 0

    def newest(self) -> int:
        # Not of the table itself: it may be empty, and numbers are not used twice.
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return row[0] if row else 0

    def advance(self, endpoint: str, seq: int) -> None:
        """The endpoint has had everything up to `seq`; what all have had goes, but for the last of it."""
        self._in_transaction(lambda: self._advance(endpoint, seq))
        [free] = self._connection.execute("PRAGMA freelist_count").fetchone()
        if free > FREE_PAGES:
            # A step for each page: `execute` would make one.
            self._connection.executescript(f"PRAGMA incremental_vacuum({FREE_PAGES})")

    def park(self, endpoint: str, reason: str, entry: Entry) -> int:
        """Put aside what the endpoint will not take: it has had everything up to there.

        Returns how many older ones were given up to make room.
        """
        given_up = 0

        def move() -> None:
            nonlocal given_up
            insert = "INSERT INTO parked (endpoint, action, media_type, body, reason) VALUES (?, ?, ?, ?, ?)"
            self._connection.execute(insert, [endpoint, *entry[1:], reason])
            given_up = self._shorten_parked()
            self._advance(endpoint, entry.seq)

        self._in_transaction(move)
        return given_up

    def parked(self) -> list[Parked]:
        rows = self._connection.execute("SELECT number, endpoint, reason, body FROM parked ORDER BY number")
        return [Parked(*row) for row in rows.fetchall()]

    def count_parked(self, endpoint: str) -> int:
        counting = "SELECT count(*) FROM parked WHERE endpoint = ?"
        [number] = self._connection.execute(counting, [endpoint]).fetchone()
        return int(number)

    def endpoints(self) -> set[str]:
        """Those that events are kept for."""
        return {name for (name,) in self._connection.execute("SELECT endpoint FROM cursors").fetchall()}

    def replay(self, numbers: Sequence[int]) -> tuple[int, int]:
        """Queue what is parked again, for the endpoint that refused it; what is not parked any more is left out.

        Returns how many are queued, and how many others were given up to make room for them.
        """
        queued = given_up = 0

        def queue() -> None:
            nonlocal queued, given_up
            for number in numbers:
                one = [number]
                moved = "SELECT endpoint, action, media_type, body FROM parked WHERE number = ?"
                row = self._connection.execute(moved, one).fetchone()
                if row is None:
                    continue
                insert = "INSERT INTO events (endpoint, action, media_type, body) VALUES (?, ?, ?, ?)"
                self._connection.execute(insert, row)
                self._connection.execute("DELETE FROM parked WHERE number = ?", one)
                queued += 1
                given_up += self._grow(1, len(row[3]))

        self._in_transaction(queue)
        return queued, given_up

    def discard(self, numbers: Sequence[int]) -> int:
        """Forget what is parked. Returns how many were."""
        removed = 0

        def remove() -> None:
            nonlocal removed
            rows = [(number,) for number in numbers]
            removed = self._connection.executemany("DELETE FROM parked WHERE number = ?", rows).rowcount

        self._in_transaction(remove)
        return removed

    def _grow(self, events: int, size: int) -> int:
        """So much was added. Returns how many events were given up for it."""
        self._connection.execute("UPDATE sizes SET events = events + ?, bytes = bytes + ?", [events, size])
        has, bytes_ = self._connection.execute("SELECT events, bytes FROM sizes").fetchone()
        room = self._room
        if has <= room.events and bytes_ <= room.bytes:
            return 0
        # Some more, so that not every event has to make room.
        margin = [room.events // 100, room.bytes // 100]
        surplus = [has - room.events + margin[0], bytes_ - room.bytes + margin[1]]
        least, most = self._connection.execute("SELECT min(seq), max(seq) FROM cursors").fetchone()
        newest = self.newest()
        least, most = (newest if least is None else least), (newest if most is None else most)
        self._remove_oldest(surplus, least, spare=False)
        # What the endpoint that is furthest has had, no others but those that lag behind can miss.
        lagging = newest - most > room.events // 2
        dropped, _ = self._remove_oldest(surplus, newest if lagging else most, spare=True)
        if surplus[0] > margin[0] or surplus[1] > margin[1]:
            more, last = self._remove_oldest(surplus, newest, spare=False)
            self._connection.execute("UPDATE cursors SET seq = ? WHERE seq < ?", [last, last])
            dropped += more
        return dropped

    def _remove_oldest(self, surplus: list[int], until: int, *, spare: bool) -> tuple[int, int]:
        """Remove events up to `until` while any of the `surplus`, of events and bytes, is above zero.

        Returns how many there were, and the last of them.
        """
        if spare:
            reading = "SELECT seq, length(body) FROM events WHERE action = 'pull' AND seq <= ? ORDER BY seq"
            removing = "DELETE FROM events WHERE action = 'pull' AND seq <= ?"
        else:
            reading = "SELECT seq, length(body) FROM events WHERE seq <= ? ORDER BY seq"
            removing = "DELETE FROM events WHERE seq <= ?"
        number = size = last = 0
        if max(surplus) > 0:
            rows = self._connection.execute(reading, [until])
            for seq, length in rows:
                last, number, size = seq, number + 1, size + length
                if number >= surplus[0] and size >= surplus[1]:
                    break
            rows.close()
            self._connection.execute(removing, [last])
            self._shrink(number, size)
            surplus[:] = [surplus[0] - number, surplus[1] - size]
        return number, last

    def _advance(self, endpoint: str, seq: int) -> None:
        self._connection.execute("UPDATE cursors SET seq = max(seq, ?) WHERE endpoint = ?", [seq, endpoint])
        [least] = self._connection.execute("SELECT min(seq) FROM cursors").fetchone()
        old = [(least or 0) - KEPT]
        sizes = "SELECT count(*), total(length(body)) FROM events WHERE seq <= ?"
        number, size = self._connection.execute(sizes, old).fetchone()
        if number:
            self._connection.execute("DELETE FROM events WHERE seq <= ?", old)
            self._shrink(number, int(size))

    def _shrink(self, events: int, size: int) -> None:
        self._connection.execute("UPDATE sizes SET events = events - ?, bytes = bytes - ?", [events, size])

    def _shorten_parked(self) -> int:
        rows = self._connection.execute("SELECT number, length(body) FROM parked ORDER BY number DESC").fetchall()
        size = 0
        for kept, (number, length) in enumerate(rows):
            size += length
            if kept and (kept >= PARKED or size > self._room.bytes // 10):
                self._connection.execute("DELETE FROM parked WHERE number <= ?", [number])
                return len(rows) - kept
        return 0

    def _in_transaction(self, work: Callable[[], None]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            work()
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _parameters(interest: Interest) -> list[str]:
    return [interest.name, json.dumps(sorted(interest.deaf)), json.dumps(sorted(interest.ignored))]
