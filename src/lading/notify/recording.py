"""The registry's port for events, over the journal: one transaction for all that come meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lading.notify.envelope import Document, document
from lading.notify.journal import Journal
from lading.registry.events import Event, Occasion
from lading.registry.ports import UnavailableError

log = logging.getLogger(__name__)

HELD_EVENTS = 10_000
"""Pulls are dropped while so many events wait for the disk."""


class Recorder:
    """Of one process, to be used in its event loop. `wanted` tells of a media type and action whether anybody
    listens; `count_dropped` hears how many events were given up."""

    def __init__(
        self,
        journal: Journal,
        source: Document,
        wanted: Callable[[str, str], bool],
        count_dropped: Callable[[int], None],
        *,
        references: bool,
    ) -> None:
        self.references = references
        self._journal = journal
        self._source = source
        self._wanted = wanted
        self._count_dropped = count_dropped
        self._held: list[tuple[str, bool]] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "events")

    async def happened(self, events: Sequence[Event], occasion: Occasion) -> None:
        rows = []
        for event in events:
            if self._wanted(event.media_type, event.action):
                told = document(event, occasion, self._source, time.time_ns())
                rows.append((json.dumps(told), event.action == "pull"))
        if not rows:
            return
        spare = all(row[1] for row in rows)
        if spare and len(self._held) >= HELD_EVENTS:
            self._count_dropped(len(rows))
            return
        self._held += rows
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
                rows, self._held = self._held, []
                waiting, self._waiting = self._waiting, []
                failure: UnavailableError | None = None
                try:
                    self._count_dropped(await loop.run_in_executor(self._thread, self._journal.append, rows))
                except sqlite3.Error as error:
                    log.error("cannot write the journal of notifications: %s", error)
                    self._count_dropped(len(rows))
                    failure = UnavailableError("notifications", str(error))
                for each in waiting:
                    if not each.done():
                        _settle(each, failure)
        finally:
            self._writing = None


def _settle(waiting: asyncio.Future[None], failure: UnavailableError | None) -> None:
    if failure is None:
        waiting.set_result(None)
    else:
        waiting.set_exception(failure)
