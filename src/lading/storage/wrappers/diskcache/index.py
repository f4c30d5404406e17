"""What lies in the directory, how large it is and when it was last used: for all processes that share it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

BUSY_SECONDS = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blob (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, used REAL NOT NULL, identity TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON blob (used);
CREATE TABLE IF NOT EXISTS total (bytes INTEGER NOT NULL);
INSERT INTO total SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM total);
CREATE TRIGGER IF NOT EXISTS more AFTER INSERT ON blob BEGIN UPDATE total SET bytes = bytes + NEW.size; END;
CREATE TRIGGER IF NOT EXISTS less AFTER DELETE ON blob BEGIN UPDATE total SET bytes = bytes - OLD.size; END;
"""


class Entry(NamedTuple):
    """`size` is in bytes; `identity` tells the file whose content was verified."""

    size: int
    identity: str


class Index:
    """Every method may raise `sqlite3.Error`. All but `find` wait for other processes: they belong in threads."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        # A reader of its own, for the event loop: it never waits, for anybody.
        self._writer = self._connect(path, BUSY_SECONDS)
        # Nothing is synced: what a power cut damages is found at the next start, and thrown away.
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.executescript(_SCHEMA)
        self._reader = self._connect(path, 0)

    @staticmethod
    def _connect(path: str, timeout: float) -> sqlite3.Connection:
        made = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        made.execute("PRAGMA synchronous = OFF")
        return made

    def check(self) -> None:
        """Raises `sqlite3.DatabaseError` if the index is damaged."""
        [(verdict,)] = self._writer.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    def close(self) -> None:
        with self._lock:
            self._reader.close()
            self._writer.close()

    def find(self, digest: str) -> Entry | None:
        row = self._reader.execute("SELECT size, identity FROM blob WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else Entry(*row)

    def digests(self) -> set[str]:
        with self._lock:
            return {digest for (digest,) in self._writer.execute("SELECT digest FROM blob")}

    def bytes(self) -> int:
        with self._lock:
            [total] = self._writer.execute("SELECT bytes FROM total").fetchone()
            return int(total)

    def touch(self, used: Mapping[str, float]) -> None:
        rows = [(when, digest) for digest, when in used.items()]
        with self._lock, _Transaction(self._writer):
            self._writer.executemany("UPDATE blob SET used = max(used, ?1) WHERE digest = ?2", rows)

    def keep(
        self,
        digest: str,
        size: int,
        now: float,
        limit: int,
        place: Callable[[], str],
        remove: Callable[[str], None],
    ) -> int:
        """Make room for `size` bytes, and then `place` the file, which returns its identity.

        `remove` is called with each digest that goes, at most `limit` bytes remain in all. Returns how many went.
        """
        with self._lock, _Transaction(self._writer) as connection:
            connection.execute("DELETE FROM blob WHERE digest = ?", (digest,))
            gone = self._evict(limit - size, remove)
            connection.execute("INSERT INTO blob VALUES (?, ?, ?, ?)", (digest, size, now, place()))
            return gone

    def evict(self, limit: int, remove: Callable[[str], None]) -> int:
        with self._lock, _Transaction(self._writer):
            return self._evict(limit, remove)

    def verified(self, digest: str, seen: str, identity: str) -> None:
        """The file of this entry is the same under another identity."""
        with self._lock:
            sql = "UPDATE blob SET identity = ? WHERE digest = ? AND identity = ?"
            self._writer.execute(sql, (identity, digest, seen))

    def drop(self, digest: str, seen: str, remove: Callable[[str], None]) -> bool:
        """Remove the entry, unless another process has renewed it since it was seen."""
        with self._lock, _Transaction(self._writer) as connection:
            found = connection.execute("DELETE FROM blob WHERE digest = ? AND identity = ?", (digest, seen))
            if found.rowcount:
                remove(digest)
            return bool(found.rowcount)

    def _evict(self, limit: int, remove: Callable[[str], None]) -> int:
        [total] = self._writer.execute("SELECT bytes FROM total").fetchone()
        gone = []
        if total > limit:
            for digest, size in self._writer.execute("SELECT digest, size FROM blob ORDER BY used"):
                gone.append((digest,))
                total -= size
                if total <= limit:
                    break
        for (digest,) in gone:
            remove(digest)
        self._writer.executemany("DELETE FROM blob WHERE digest = ?", gone)
        return len(gone)


class _Transaction:
    """All of it or, after an exception, nothing; nobody else writes meanwhile."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
