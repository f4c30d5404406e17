"""Blobs on their way from an upstream into the storage, and to everybody who waits for them meanwhile.

A fill runs by itself: no client that goes away stops it. In a process there is one for a blob of a repository;
where the storage lets others read what is still written, there is one in all processes: whoever holds the writer
leads, and the others read what has been written. If the leader dies, the next one goes on where it stopped.

The last byte is shown to nobody until the digest has been verified: what is wrong is cut off, never complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lading.oci import errors
from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.hashing import INLINE_BYTES, Hasher
from lading.oci.names import RepositoryName
from lading.registry import layout
from lading.registry.blobs import Blobs
from lading.registry.ports import BusyError, PathNotFoundError, Storage, StorageError, Writer, found
from lading.registry.sources import Source
from lading.registry.upstream import Counter, Spool, UpstreamError, WrongError

log = logging.getLogger(__name__)

WINDOW_BYTES = 4 * 1024 * 1024
"""What came last is kept in memory: those who keep up need not ask the storage for it."""

PENDING_BYTES = 8 * 1024 * 1024
"""So far a storage may fall behind before the upstream has to wait."""

POLL_SECONDS = 0.005
"""How often a follower looks how far the leader is."""

LEADERLESS_SECONDS = 0.25
"""A follower that has seen nothing new for so long looks whether there still is a leader."""

WHOLE_BYTES = 128 * 1024
"""Up to this size a blob is waited for in full, so that a failure still becomes an honest answer."""

SIZE = "size"
VERIFIED = "verified"
"""Beside the data of a fill: its size once the upstream has told it, and that the digest is right."""


class Fill:
    """One blob being fetched. `changed` is set, and replaced, whenever there is more to know."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.size: int | None = None
        self.have = 0
        """Bytes that can be read by now, the last one perhaps not yet to be shown."""
        self.written = 0
        """Bytes that the storage has, where this process leads."""
        self.verified = False
        self.stored = False
        """It is a blob of the repository."""
        self.failure: Exception | None = None
        self.window: deque[tuple[int, bytes]] = deque()
        self.spool: Spool | None = None
        """All of it, where the storage does not show what is still being written."""
        self.waiting = 0
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
        if self.spool is not None:
            self.spool.append(piece)
        self.window.append((self.have, piece))
        self.have += len(piece)
        # What is not written yet can be read nowhere else.
        while self.have - self.window[0][0] > WINDOW_BYTES and self._is_written(*self.window[0]):
            self.window.popleft()
        self.tell()

    def _is_written(self, start: int, piece: bytes) -> bool:
        return self.spool is not None or start + len(piece) <= self.written

    def leave(self) -> None:
        """Nobody reads from the spool any more, if nobody is left and nothing more is to come."""
        ended = self.stored or self.failure is not None
        if ended and not self.waiting and self.spool is not None:
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


@dataclass(slots=True)
class Fills:
    """Without a `spool` all processes can read what one writes, as it is written."""

    storage: Storage
    blobs: Blobs
    count: Counter
    spool: Callable[[], Spool] | None = None
    _running: dict[tuple[str, str], Fill] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def begin(self, source: Source, name: RepositoryName, there: str, digest: Digest) -> None:
        """Returns when `open` would. Raises as it does."""
        await (await self.open(source, name, there, digest)).close()

    async def open(self, source: Source, name: RepositoryName, there: str, digest: Digest) -> FillReader:
        """The blob, as soon as its size is known. Raises `UpstreamError`, `StorageError`."""
        fill = self._running.get((name, digest))
        if fill is None or fill.failure is not None:
            session = layout.upload(name, self._session(name, digest))
            fill = self._running[name, digest] = Fill(session)
            task = asyncio.create_task(_Filling(self, fill, source, name, there, digest).run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: self._forget(name, digest, fill))
        reader = FillReader(self, fill, digest)
        try:
            # What is small is told about when it is known to be right.
            while fill.failure is None and (fill.size is None or (fill.size <= WHOLE_BYTES and not fill.verified)):
                await fill.changed.wait()
            if fill.failure is not None and not fill.verified:
                raise fill.failure
        except BaseException:
            await reader.close()
            raise
        assert fill.size is not None
        reader.size = fill.size
        return reader

    def _forget(self, name: RepositoryName, digest: Digest, fill: Fill) -> None:
        if self._running.get((name, digest)) is fill:
            del self._running[name, digest]

    def _session(self, name: RepositoryName, digest: Digest) -> str:
        """The id is the same in all processes, where they can share it."""
        if self.spool is not None:
            return str(uuid.uuid4())
        return str(uuid.UUID(bytes=hashlib.sha256(f"{name}@{digest}".encode()).digest()[:16], version=5))


class FillReader:
    """See `lading.registry.ports.Reader`: waits for what is not there yet. Closing it stops nothing."""

    def __init__(self, fills: Fills, fill: Fill, digest: Digest) -> None:
        self.size = 0
        self.path: str | None = None
        self._fills = fills
        self._fill = fill
        self._digest = digest
        self._offset = 0
        self._closed = False
        fill.waiting += 1

    def fileno(self) -> int:
        raise OSError("no file holds the object")

    def seek(self, offset: int) -> None:
        self._offset = offset

    async def read(self, limit: int) -> bytes:
        """Raises `RegistryError` where the upstream fails, `StorageError`."""
        fill = self._fill
        limit = min(limit, self.size - self._offset)
        if limit <= 0:
            return b""
        while self._offset >= fill.shown:
            if fill.failure is not None and not fill.verified:
                raise broken(fill.failure)
            await fill.changed.wait()
        limit = min(limit, fill.shown - self._offset)
        data = fill.recent(self._offset, limit) or await self._stored(limit)
        self._fills.count("BytesPushed", "blob", len(data))
        self._offset += len(data)
        return data

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._fill.waiting -= 1
            self._fill.since = time.monotonic()
            self._fill.leave()

    async def _stored(self, limit: int) -> bytes:
        storage = self._fills.storage
        if self._fill.spool is not None:
            return self._fill.spool.read(self._offset, limit)
        for key in (f"{self._fill.session}/data", layout.blob_data(self._digest)):
            try:
                reader = await storage.open(key, self._offset)
            except PathNotFoundError:
                continue
            try:
                if data := await reader.read(limit):
                    return data
            finally:
                await reader.close()
        raise StorageError(storage.name, "a blob that was being filled is gone")


def broken(failure: Exception) -> RegistryError | Exception:
    """What a client is told whose blob cannot come to its end."""
    return errors.UPSTREAM_WRONG(detail=str(failure)) if isinstance(failure, UpstreamError) else failure


@dataclass(slots=True)
class _Filling:
    """The work of one fill."""

    fills: Fills
    fill: Fill
    source: Source
    name: RepositoryName
    there: str
    digest: Digest

    async def run(self) -> None:
        session = self.fill.session
        try:
            while not self.fill.stored:
                try:
                    writer = await self.fills.storage.writer(f"{session}/data", append=True)
                except BusyError:
                    await self._follow(session)
                    continue
                async with contextlib.AsyncExitStack() as stack:
                    stack.push_async_callback(writer.close)
                    await self._lead(session, writer)
        except (UpstreamError, StorageError) as failure:
            self._fail(failure)
        except asyncio.CancelledError:
            self._fail(StorageError(self.fills.storage.name, "the fill was stopped"))
            raise
        except Exception as failure:
            log.exception("cannot fill %s of %s", self.digest, self.name)
            self._fail(failure)

    def _fail(self, failure: Exception) -> None:
        self.fill.failure = failure
        self.fill.tell()
        self.fill.leave()
        log.warning("cannot cache %s of %s: %s", self.digest, self.name, failure)

    # -- leading

    async def _lead(self, session: str, writer: Writer) -> None:
        storage, fill = self.fills.storage, self.fill
        if await self._is_stored():
            await self._discard(session, writer)
            return
        held = await found(storage, layout.blob_data(self.digest))
        # Another repository may have it; if so the upstream says whether it belongs to this one too.
        known = held is not None and held.size == await self._size_there(held.size)
        if held is not None and known and await self.fills.blobs.link(self.name, self.digest):
            await self._discard(session, writer)
            self._complete(held.size)
            return
        key = f"{session}/startedat"
        if await found(storage, key) is None:
            await storage.put(key, _now(), durable=False)
        hasher = Hasher(self.digest.algorithm)
        if writer.size:
            await self._read_again(f"{session}/data", hasher)
            told = await _told_size(storage, session)
            if told == writer.size:
                fill.size, fill.have = told, told
        try:
            await self._fetch(session, writer, hasher)
        except WrongError:
            await self._discard(session, writer)
            raise
        await storage.put(f"{session}/{VERIFIED}", b"", durable=False)
        fill.verified = True
        fill.tell()
        target, link = layout.blob_data(self.digest), self.fills.blobs.link_of(self.name, self.digest)
        await writer.commit(target, link, session)
        self._complete(fill.have)

    async def _size_there(self, size: int) -> int:
        return await self.source.upstream.size(self.there, self.digest) if size else -1

    async def _fetch(self, session: str, writer: Writer, hasher: Hasher) -> None:
        """What `writer` has not yet. Raises `WrongError` if it is not the blob in the end."""
        start = writer.size
        try:
            if start == 0 or start != await _told_size(self.fills.storage, session):
                await self._download(session, writer, hasher)
        finally:
            self.fills.count("BytesPulled", "blob", writer.size - start)
        if writer.size != self.fill.size or hasher.digest() != self.digest:
            raise WrongError(f"{self.source.upstream.host}: what it sends for {self.digest} is something else")

    async def _download(self, session: str, writer: Writer, hasher: Hasher) -> None:
        fill, offset = self.fill, writer.size
        download = await self.source.upstream.blob(self.there, self.digest, offset)
        writing = _Writing(fill, writer, hasher)
        try:
            if offset > download.size or fill.size not in {None, download.size}:
                raise WrongError(f"{self.source.upstream.host}: the size of {self.digest} has changed")
            await self.fills.storage.put(f"{session}/{SIZE}", b"%d" % download.size, durable=False)
            if self.fills.spool is not None:
                fill.spool = self.fills.spool()
            fill.size = download.size
            fill.have = max(fill.have, offset)
            fill.tell()
            async for piece in download:
                self._check_wanted()
                fill.push(piece)
                await writing.add(piece)
        finally:
            await download.close()
            # Also when the upstream breaks off: the next attempt goes on from there.
            await writing.finish()

    def _check_wanted(self) -> None:
        fill = self.fill
        if not fill.waiting and time.monotonic() - fill.since > self.source.grace:
            raise UpstreamError(f"no client has waited for it since {self.source.grace:g} s")

    async def _read_again(self, key: str, hasher: Hasher) -> None:
        """What an earlier leader has stored."""
        reader = await self.fills.storage.open(key)
        try:
            while data := await reader.read(1024 * 1024):
                if len(data) <= INLINE_BYTES:
                    hasher.update(data)
                else:
                    await asyncio.to_thread(hasher.update, data)
        finally:
            await reader.close()

    async def _discard(self, session: str, writer: Writer) -> None:
        await writer.cancel()
        with contextlib.suppress(PathNotFoundError):
            await self.fills.storage.delete(session)

    async def _is_stored(self) -> bool:
        try:
            self._complete(await self.fills.blobs.size(self.name, self.digest))
        except RegistryError:
            return False
        return True

    def _complete(self, size: int) -> None:
        fill = self.fill
        fill.size = fill.have = size
        fill.verified = fill.stored = True
        fill.tell()
        fill.leave()

    # -- following

    async def _follow(self, session: str) -> None:
        """Until the blob is there, or the leader may be gone."""
        storage, fill = self.fills.storage, self.fill
        news = time.monotonic()
        while time.monotonic() - news < LEADERLESS_SECONDS:
            before = fill.have, fill.size, fill.verified
            with contextlib.suppress(PathNotFoundError, ValueError):
                if fill.size is None:
                    fill.size = int(await storage.get(f"{session}/{SIZE}"))
                fill.have = max(fill.have, (await storage.stat(f"{session}/data")).size)
                if fill.have >= fill.size and await found(storage, f"{session}/{VERIFIED}") is not None:
                    fill.verified = True
            if (fill.have, fill.size, fill.verified) != before:
                news = time.monotonic()
                fill.tell()
            elif await found(storage, session) is None and await self._is_stored():
                return
            await asyncio.sleep(POLL_SECONDS)


class _Writing:
    """Stores and hashes what has come while more comes; never later than the storage can."""

    def __init__(self, fill: Fill, writer: Writer, hasher: Hasher) -> None:
        self._fill = fill
        self._writer = writer
        self._also: Callable[[bytes], None] = hasher.update
        self._pieces: list[bytes] = []
        self._pending = 0
        self._storing: asyncio.Task[None] | None = None

    async def add(self, piece: bytes) -> None:
        """Raises what storing an earlier piece raised."""
        self._pieces.append(piece)
        self._pending += len(piece)
        if self._storing is not None and (self._storing.done() or self._pending > PENDING_BYTES):
            storing, self._storing = self._storing, None
            await storing
        if self._storing is None:
            self._storing = asyncio.create_task(self._store())

    async def finish(self) -> None:
        """Store what is left. Raises what storing raised."""
        if self._storing is not None:
            await self._storing
        await self._store()

    async def _store(self) -> None:
        while self._pieces:
            pieces, self._pieces, self._pending = self._pieces, [], 0
            await self._writer.write(pieces, self._also)
            self._fill.written = self._writer.size


async def _told_size(storage: Storage, session: str) -> int:
    """-1 if no leader has come so far."""
    try:
        return int(await storage.get(f"{session}/{SIZE}"))
    except (PathNotFoundError, ValueError):
        return -1


def _now() -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()).encode("ascii")
