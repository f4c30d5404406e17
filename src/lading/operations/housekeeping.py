"""Work that runs once, beside the workers: chores without an end, and among them the purge of stale uploads."""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import secrets
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from lading.registry.ports import Storage, StorageError
from lading.registry.purge import purge

log = logging.getLogger(__name__)

_MINUTES = 60.0

Chore = Callable[[], Awaitable[object]]
"""Runs until it is cancelled."""


async def keep_house(chores: Sequence[Chore]) -> None:
    """Until SIGTERM. A chore that fails ends the others, and its error is raised."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    stopping = asyncio.create_task(stop.wait())
    tasks = [asyncio.ensure_future(chore()) for chore in chores]
    done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in [stopping, *tasks]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
    if stopping not in done:
        raise RuntimeError("a chore of the housekeeping process has ended by itself")


def give_way() -> None:
    """This thread, and those that it starts, work when others do not, and read from a disk when others do not."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):  # not on Linux, or not allowed in a container
        os.nice(19)


@dataclass(frozen=True, slots=True)
class Purging:
    """`age` and `interval` are in seconds."""

    age: float
    interval: float
    dry_run: bool


AbortOlder = Callable[[float, bool], Awaitable[int]]
"""Rids a store of unfinished objects that began before a time, in seconds since 1970, unless it is a dry run."""


async def purge_regularly(storage: Storage, purging: Purging, abort_older: AbortOlder) -> None:
    # Several registries on one storage should not all walk it at the same moment.
    delay = secrets.randbelow(60) * _MINUTES
    log.info("Starting upload purge in %dm0s", delay // _MINUTES)
    while True:
        await asyncio.sleep(delay)
        older_than = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=purging.age)
        try:
            await purge(storage, older_than=older_than, dry_run=purging.dry_run)
            if count := await abort_older(older_than.timestamp(), purging.dry_run):
                log.info("Purge of unfinished objects finished. Num aborted=%d", count)
        except StorageError as error:
            log.error("cannot purge uploads: %s", error)
        delay = purging.interval
