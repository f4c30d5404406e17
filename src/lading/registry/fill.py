"""One blob on its way from an upstream: what of it can be read by now, and by whom."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable

from lading.oci import errors
from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.registry import layout
from lading.registry.ports import PathNotFoundError, Reader, Storage, StorageError
from lading.registry.upstream import Counter, Download, Spool, UpstreamError

log = logging.getLogger(__name__)

WINDOW_BYTES = 4 * 1024 * 1024
"""What came last is kept in memory: those who keep up need not ask the storage for it."""

AHEAD_BYTES = 8 * 1024 * 1024
"""Who asks for what is so far from having come gets it by a download of its own."""

OWN_BYTES = 4 * 1024 * 1024
"""As much of it: more is waited for, so that the upstream does not send everything twice."""


class Fill:
    """One blob being fetched. `changed` is set, and replaced, whenever there is more to know."""

    def __init__(self, session: str, download: Callable[[int], Awaitable[Download]]) -> None:
        self.session = session
        self.download = download
        """From an offset on. Raises `UpstreamError`."""
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
        """What the storage had when it failed, or another process had written, though it be deleted; one
        reads at a time."""
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

    async def keep(self, reader: Reader) -> None:
        """Of what was kept so and this the longer one stays."""
        async with self.lock:
            spare: Reader | None = reader
            if self.early is None or reader.size > self.early.size:
                self.early, spare = reader, self.early
        if spare is not None:
            await spare.close()

    async def read_early(self, offset: int, limit: int) -> bytes:
        """Empty where there is nothing of it."""
        async with self.lock:
            if self.early is None:
                return b""
            self.early.seek(offset)
            return await self.early.read(limit)

    async def let_early_go(self) -> None:
        async with self.lock:
            if self.early is not None:
                await self.early.close()
                self.early = None

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
        self._own: _Own | None = None
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
        data = await self._read_own(limit)
        while not data and self.offset >= fill.shown:
            if fill.failure is not None and not fill.verified:
                raise broken(fill.failure)
            await fill.changed.wait()
        if not data:
            limit = min(limit, fill.shown - self.offset)
            data = fill.recent(self.offset, limit) or await self._stored(limit)
        self._count("BytesPushed", "blob", len(data))
        self.offset += len(data)
        fill.moved.set()
        return data

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._own is not None:
                await self._own.close()
            self._fill.readers.discard(self)
            self._fill.since = time.monotonic()
            self._fill.moved.set()
            self._fill.leave()

    async def _read_own(self, limit: int) -> bytes:
        """Empty where it is better to wait."""
        if self._own is None or self._own.offset != self.offset:
            if self._own is not None:
                await self._own.close()
                self._own = None
            if self.offset <= self._fill.have + AHEAD_BYTES:
                return b""
            try:
                self._own = _Own(await self._fill.download(self.offset), self.offset)
            except UpstreamError as failure:
                raise broken(failure) from failure
        return await self._own.read(limit)

    async def _stored(self, limit: int) -> bytes:
        storage, fill = self._storage, self._fill
        keys = (f"{fill.session}/data", layout.blob_data(self._digest))
        for key in () if fill.spool is not None or fill.unkept else keys:
            try:
                reader = await storage.open(key, self.offset)
            except PathNotFoundError:
                continue
            try:
                if data := await reader.read(limit):
                    return data
            finally:
                await reader.close()
        if fill.spool is None:
            data = await fill.read_early(self.offset, limit)
        else:
            data = fill.spool.read(self.offset, max(0, min(limit, fill.written - self.offset)))
        if data:
            return data
        if fill.unkept:
            raise errors.STORAGE_FULL(detail="what could not be kept was read too slowly")
        raise StorageError(storage.name, "a blob that was being filled is gone")


class _Own:
    """A part of a blob for one client alone."""

    def __init__(self, download: Download, offset: int) -> None:
        self.offset = offset
        self._left = OWN_BYTES
        self._download = download
        self._pieces = aiter(download)
        self._piece = b""

    async def read(self, limit: int) -> bytes:
        """Empty when it has been enough, or what is left is not the upstream's to give."""
        if self._left <= 0:
            return b""
        try:
            data = self._piece or await anext(self._pieces, b"")
        except UpstreamError as failure:
            raise broken(failure) from failure
        data, self._piece = data[:limit], data[limit:]
        self._left -= len(data)
        self.offset += len(data)
        return data

    async def close(self) -> None:
        await self._download.close()


def broken(failure: Exception) -> RegistryError | Exception:
    """What a client is told whose blob cannot come to its end."""
    return errors.UPSTREAM_WRONG(detail=str(failure)) if isinstance(failure, UpstreamError) else failure
