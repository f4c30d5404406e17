"""Work that runs beside the requests: the removal of stale upload sessions."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import secrets
import signal
from dataclasses import dataclass

from lading.registry.ports import Storage, StorageError
from lading.registry.purge import purge

log = logging.getLogger(__name__)

_MINUTES = 60.0


@dataclass(frozen=True, slots=True)
class Purging:
    """`age` and `interval` are in seconds."""

    age: float
    interval: float
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Housekeeping:
    storage: Storage
    purging: Purging

    async def run(self) -> None:
        """Until SIGTERM."""
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        chores = asyncio.create_task(self._purge(self.purging))
        await stop.wait()
        chores.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await chores

    async def _purge(self, purging: Purging) -> None:
        # Several registries on one storage should not all walk it at the same moment.
        delay = secrets.randbelow(60) * _MINUTES
        log.info("Starting upload purge in %dm0s", delay // _MINUTES)
        while True:
            await asyncio.sleep(delay)
            older_than = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=purging.age)
            try:
                await purge(self.storage, older_than=older_than, dry_run=purging.dry_run)
            except StorageError as error:
                log.error("cannot purge uploads: %s", error)
            delay = purging.interval
