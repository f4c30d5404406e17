"""Where events wait until they are delivered: a SQLite database that all processes of a registry share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lading.notify.envelope import Document

FILE = "events.sqlite3"
KEPT = 1000
"""Events that all endpoints have had stay for so long, to be looked at."""

BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cursors (endpoint TEXT PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS parked (
    number INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, reason TEXT NOT NULL, body TEXT NOT NULL);
"""


class Entry(NamedTuple):
    seq: int
    event: Document


class Parked(NamedTuple):
    number: int
    endpoint: str
    reason: str
    event: Document


class Journal:
    """Open it in the process that uses it. Every method raises `sqlite3.Error`.

    Used by one thread at a time. `maximum` is how many events may wait: then the oldest are dropped, and pulls
    are not taken any more once there are half as many.
    """

    def __init__(self, directory: Path, maximum: int, *, durable: bool) -> None:
        """With `durable` what is appended survives a power cut."""
        self._maximum = maximum
        self._connection = sqlite3.connect(
            directory / FILE, BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")

    def close(self) -> None:
        self._connection.close()

    def prepare(self, endpoints: Sequence[str]) -> None:
        """Make what is missing. Endpoints that are new hear of what comes; others are forgotten."""
        self._connection.executescript(_SCHEMA)

        def settle() -> None:
            newest = self._newest()
            for (known,) in self._connection.execute("SELECT endpoint FROM cursors").fetchall():
                if known not in endpoints:
                    self._connection.execute("DELETE FROM cursors WHERE endpoint = ?", [known])
            for endpoint in endpoints:
                self._connection.execute("INSERT OR IGNORE INTO cursors VALUES (?, ?)", [endpoint, newest])

        self._in_transaction(settle)

    def append(self, events: Sequence[tuple[str, bool]]) -> int:
        """Add events, all or none: their JSON, and whether they may be left out. Returns how many were dropped."""
        dropped = 0

        def add() -> None:
            nonlocal dropped
            [cursor] = self._connection.execute("SELECT min(seq) FROM cursors").fetchone()
            waiting = self._newest() - (cursor or 0)
            crowded = waiting + len(events) > self._maximum / 2
            kept = [(body,) for body, spare in events if not (spare and crowded)]
            dropped = len(events) - len(kept)
            self._connection.executemany("INSERT INTO events (endpoint, body) VALUES ('', ?)", kept)
            if waiting + len(kept) > self._maximum:
                limit = self._newest() - self._maximum
                dropped += limit - max(cursor or 0, self._oldest() - 1)
                self._connection.execute("DELETE FROM events WHERE seq <= ?", [limit])
                self._connection.execute("UPDATE cursors SET seq = ? WHERE seq < ?", [limit, limit])

        self._in_transaction(add)
        return dropped

    def after(self, endpoint: str, seq: int, limit: int) -> list[Entry]:
        """What waits for the endpoint, or with an empty name whatever there is; in order."""
        rows = self._connection.execute(
            "SELECT seq, body FROM events WHERE seq > ? AND (? = '' OR endpoint IN ('', ?)) ORDER BY seq LIMIT ?",
            [seq, endpoint, endpoint, limit],
        )
        return [Entry(number, json.loads(body)) for number, body in rows.fetchall()]

    def cursor(self, endpoint: str) -> int:
        """Up to where the endpoint has had its events."""
        row = self._connection.execute("SELECT seq FROM cursors WHERE endpoint = ?", [endpoint]).fetchone()
        return row[0] if row else 0

    def newest(self) -> int:
        return self._newest()

    def advance(self, endpoint: str, seq: int) -> None:
        """The endpoint has had everything up to `seq`; what all have had goes, but for the last of it."""

        def move() -> None:
            self._connection.execute("UPDATE cursors SET seq = max(seq, ?) WHERE endpoint = ?", [seq, endpoint])
            self._connection.execute("DELETE FROM events WHERE seq <= (SELECT min(seq) FROM cursors) - ?", [KEPT])

        self._in_transaction(move)

    def park(self, endpoint: str, reason: str, event: Document) -> None:
        row = [endpoint, reason, json.dumps(event)]
        self._connection.execute("INSERT INTO parked (endpoint, reason, body) VALUES (?, ?, ?)", row)

    def parked(self) -> list[Parked]:
        rows = self._connection.execute("SELECT number, endpoint, reason, body FROM parked ORDER BY number")
        return [Parked(number, name, why, json.loads(body)) for number, name, why, body in rows.fetchall()]

    def replay(self, numbers: Iterable[int]) -> int:
        """Queue what is parked again, for the endpoint that refused it. Returns how many there were."""
        count = 0

        def queue() -> None:
            nonlocal count
            for number in numbers:
                insert = "INSERT INTO events (endpoint, body) SELECT endpoint, body FROM parked WHERE number = ?"
                count += self._connection.execute(insert, [number]).rowcount
                self._connection.execute("DELETE FROM parked WHERE number = ?", [number])

        self._in_transaction(queue)
        return count

    def _newest(self) -> int:
        # Not of the table itself: it may be empty, and numbers are not used twice.
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return row[0] if row else 0

    def _oldest(self) -> int:
        [oldest] = self._connection.execute("SELECT min(seq) FROM events").fetchone()
        return oldest or 0

    def _in_transaction(self, work: Callable[[], None]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            work()
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
