"""The registry's port for events, over the journal: one transaction for all that come meanwhile."""

from __future__ import annotations

import asyncio
import functools
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from lading.notify.envelope import Document, document, stored
from lading.notify.journal import Interest, Journal, Row
from lading.registry.events import Action, Event, Occasion
from lading.registry.ports import UnavailableError

log = logging.getLogger(__name__)

HELD_EVENTS = 10_000
HELD_BYTES = 32 * 1024 * 1024
"""Pulls are dropped while so many events, or bytes of them, wait for the disk."""

WARN_SECONDS = 60.0


class Recorder:
    """Of one process, to be used in its event loop. `count_dropped` hears how many events were given up."""

    def __init__(
        self,
        journal: Journal,
        source: Document,
        listeners: Collection[Interest],
        count_dropped: Callable[[int], None],
        *,
        references: bool,
    ) -> None:
        self.references = references
        self._journal = journal
        self._source = source
        # A handful of pairs: clients do not choose media types freely.
        self._wants = functools.lru_cache(1024)(
            lambda media_type, action: any(each.wants(media_type, action) for each in listeners)
        )
        self._count_dropped = count_dropped
        self._warned = -WARN_SECONDS
        self._held: list[Row] = []
        self._held_bytes = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "events")

    def wants(self, media_type: str, action: Action) -> bool:
        return self._wants(media_type, action)

    async def happened(self, events: Sequence[Event], occasion: Occasion) -> None:
        rows = []
        for event in events:
            if self._wants(event.media_type, event.action):
                told = document(event, occasion, self._source, time.time_ns())
                rows.append(Row(event.action, event.media_type, stored(told)))
        if not rows:
            return
        spare = all(row.action == "pull" for row in rows)
        if spare and (len(self._held) >= HELD_EVENTS or self._held_bytes >= HELD_BYTES):
            self._dropped(len(rows), "the disk is too slow for them")
            return
        self._held += rows
        self._held_bytes += sum(len(row.body) for row in rows)
        written: asyncio.Future[None] | None = None
        if not spare:
            written = asyncio.get_running_loop().create_future()
            self._waiting.append(written)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        if written is not None:
            await written

    def close(self) -> None:
        """Write what is still held. To be called when the event loop has ended."""
        self._thread.shutdown()
        try:
            if self._held:
                self._journal.append(self._held)
            self._journal.close()
        except sqlite3.Error as error:
            log.error("cannot write the journal of notifications: %s", error)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._held:
                rows, self._held, self._held_bytes = self._held, [], 0
                waiting, self._waiting = self._waiting, []
                failure: UnavailableError | None = None
                try:
                    dropped = await loop.run_in_executor(self._thread, self._journal.append, rows)
                    self._dropped(dropped, "the journal is full")
                except sqlite3.Error as error:
                    self._dropped(len(rows), f"cannot write the journal of notifications: {error}")
                    failure = UnavailableError("notifications", str(error))
                for each in waiting:
                    if not each.done():
                        _settle(each, failure)
        finally:
            self._writing = None

    def _dropped(self, number: int, reason: str) -> None:
        if number:
            self._count_dropped(number)
            if time.monotonic() - self._warned >= WARN_SECONDS:
                self._warned = time.monotonic()
                log.error("events are given up (%d at first): %s", number, reason)


def _settle(waiting: asyncio.Future[None], failure: UnavailableError | None) -> None:
    if failure is None:
        waiting.set_result(None)
    else:
        waiting.set_exception(failure)
