"""Removal of upload sessions that nobody will finish."""

from __future__ import annotations

import datetime
import logging
from dataclasses import dataclass

from lading.registry import layout
from lading.registry.ports import PathNotFoundError, Storage, StorageError
from lading.registry.repositories import Repositories

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Purged:
    """Sessions that were removed (or would have been), and those that could not be."""

    sessions: int
    errors: int


async def purge(storage: Storage, *, older_than: datetime.datetime, dry_run: bool = False) -> Purged:
    """Remove the sessions that began before `older_than`, a time with a zone.

    A session without a readable start is judged by the time of its last change.
    """
    log.info("PurgeUploads starting: olderThan=%s, actuallyDelete=%s", older_than, not dry_run)
    sessions = failures = 0
    async for name in Repositories(storage).walk(layout.UPLOADS):
        try:
            uploads = await storage.list(layout.uploads(name))
        except PathNotFoundError:
            continue
        for upload_id in uploads:
            try:
                if await _started(storage, name, upload_id) < older_than.timestamp():
                    if not dry_run:
                        await storage.delete(layout.upload(name, upload_id))
                    sessions += 1
            except PathNotFoundError:
                continue  # finished meanwhile
            except StorageError as error:
                failures += 1
                log.error("cannot purge upload %s of %s: %s", upload_id, name, error)
    log.info("Purge uploads finished. Num deleted=%d, num errors=%d", sessions, failures)
    return Purged(sessions, failures)


async def _started(storage: Storage, name: str, upload_id: str) -> float:
    try:
        text = (await storage.get(layout.upload_started_at(name, upload_id))).decode("ascii")
        return datetime.datetime.fromisoformat(text).timestamp()
    except (PathNotFoundError, ValueError):
        return (await storage.stat(layout.upload(name, upload_id))).modified
