"""One blob on its way from an upstream: what of it can be read by now, and by whom."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque

from lading.oci import errors
from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.registry import layout
from lading.registry.ports import PathNotFoundError, Reader, Storage, StorageError
from lading.registry.upstream import Counter, Spool, UpstreamError

log = logging.getLogger(__name__)

WINDOW_BYTES = 4 * 1024 * 1024
"""What came last is kept in memory: those who keep up need not ask the storage for it."""


class Fill:
    """One blob being fetched. `changed` is set, and replaced, whenever there is more to know."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.size: int | None = None
        self.have = 0
        """Bytes that can be read by now, the last one perhaps not yet to be shown."""
        self.written = 0
        """Bytes that can be read from the storage or the spool, where this process leads."""
        self.verified = False
        self.stored = False
        """It is a blob of the repository."""
        self.failure: Exception | None = None
        self.window: deque[tuple[int, bytes]] = deque()
        self.spool: Spool | None = None
        """All of it, where the storage does not show what is still being written."""
        self.unkept = False
        """The storage has failed: what comes is passed on to those who wait, and nothing stays."""
        self.gaps = False
        """Not all of it can be read any more: it is only for those who are reading."""
        self.early: Reader | None = None
        """What the storage had when it failed, though it be deleted; one reads at a time."""
        self.lock = asyncio.Lock()
        self.readers: set[FillReader] = set()
        self.moved = asyncio.Event()
        """Set when one of them has read, or left."""
        self.since = time.monotonic()
        """When the last client left."""
        self.changed = asyncio.Event()

    @property
    def shown(self) -> int:
        """Bytes that a client may see."""
        if self.verified or self.size is None:
            return self.have
        return min(self.have, self.size - 1)

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def push(self, piece: bytes) -> None:
        self.window.append((self.have, piece))
        self.have += len(piece)
        if self.spool is not None and not self.unkept:
            try:
                self.spool.append(piece)
                self.written = self.have
            except StorageError as error:
                self.give_up(error)
        self.trim()
        self.tell()

    def give_up(self, error: StorageError) -> None:
        """Nothing more is stored."""
        self.unkept = True
        log.warning("a blob is passed on without being kept: %s", error)

    def trim(self) -> bool:
        """Let go of what can be read elsewhere, or was read by everybody. False if that leaves too much."""
        while self.window and self.have - self.window[0][0] > WINDOW_BYTES:
            end = self.window[0][0] + len(self.window[0][1])
            if end > self.written:
                if not self.unkept or not self.readers or any(reader.offset < end for reader in self.readers):
                    return False
                self.gaps = True
            self.window.popleft()
        return True

    def leave(self) -> None:
        """Nobody reads from the spool any more, if nobody is left and nothing more is to come."""
        ended = self.stored or self.failure is not None or (self.unkept and self.verified)
        if ended and not self.readers and self.spool is not None:
            self.spool.close()
            self.spool = None

    def recent(self, offset: int, limit: int) -> bytes:
        """From memory; empty if it is not there any more."""
        if not self.window or offset < self.window[0][0]:
            return b""
        for start, piece in self.window:
            if offset < start + len(piece):
                return piece[offset - start : offset - start + limit]
        return b""


class FillReader:
    """See `lading.registry.ports.Reader`: waits for what is not there yet. Closing it stops nothing."""

    def __init__(self, storage: Storage, count: Counter, fill: Fill, digest: Digest) -> None:
        self.size = 0
        self.path: str | None = None
        self._storage = storage
        self._count = count
        self._fill = fill
        self._digest = digest
        self.offset = 0
        self._closed = False
        fill.readers.add(self)

    def fileno(self) -> int:
        raise OSError("no file holds the object")

    def seek(self, offset: int) -> None:
        self.offset = offset
        self._fill.moved.set()

    async def read(self, limit: int) -> bytes:
        """Raises `RegistryError` where the upstream fails, `StorageError`."""
        fill = self._fill
        limit = min(limit, self.size - self.offset)
        if limit <= 0:
            return b""
        while self.offset >= fill.shown:
            if fill.failure is not None and not fill.verified:
                raise broken(fill.failure)
            await fill.changed.wait()
        limit = min(limit, fill.shown - self.offset)
        data = fill.recent(self.offset, limit) or await self._stored(limit)
        self._count("BytesPushed", "blob", len(data))
        self.offset += len(data)
        fill.moved.set()
        return data

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._fill.readers.discard(self)
            self._fill.since = time.monotonic()
            self._fill.moved.set()
            self._fill.leave()

    async def _stored(self, limit: int) -> bytes:
        storage, fill = self._storage, self._fill
        if fill.spool is not None or fill.unkept:
            return await self._kept(min(limit, fill.written - self.offset))
        for key in (f"{fill.session}/data", layout.blob_data(self._digest)):
            try:
                reader = await storage.open(key, self.offset)
            except PathNotFoundError:
                continue
            try:
                if data := await reader.read(limit):
                    return data
            finally:
                await reader.close()
        raise StorageError(storage.name, "a blob that was being filled is gone")

    async def _kept(self, limit: int) -> bytes:
        fill, data = self._fill, b""
        if fill.spool is not None and limit > 0:
            data = fill.spool.read(self.offset, limit)
        elif fill.early is not None and limit > 0:
            async with fill.lock:
                fill.early.seek(self.offset)
                data = await fill.early.read(limit)
        if not data:
            raise errors.STORAGE_FULL(detail="what could not be kept was read too slowly")
        return data


def broken(failure: Exception) -> RegistryError | Exception:
    """What a client is told whose blob cannot come to its end."""
    return errors.UPSTREAM_WRONG(detail=str(failure)) if isinstance(failure, UpstreamError) else failure
