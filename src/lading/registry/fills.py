"""Blobs on their way from an upstream into the storage, and to everybody who waits for them meanwhile.

A fill runs by itself: no client that goes away stops it. In a process there is one for a blob of a repository;
where the storage lets others read what is still written, there is one in all processes: whoever holds the writer
leads, and the others read what has been written. If the leader dies, the next one goes on where it stopped.

The last byte is shown to nobody until the digest has been verified: what is wrong is cut off, never complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.hashing import INLINE_BYTES, Hasher
from lading.oci.names import RepositoryName
from lading.registry import layout
from lading.registry.blobs import Blobs
from lading.registry.fill import Fill, FillReader
from lading.registry.ports import BusyError, PathNotFoundError, Storage, StorageError, Writer, found
from lading.registry.sources import Source
from lading.registry.upstream import Counter, Spool, UpstreamError, WrongError

log = logging.getLogger(__name__)

PENDING_BYTES = 8 * 1024 * 1024
"""So far a storage may fall behind before the upstream has to wait."""

POLL_SECONDS = 0.005
"""How often a follower looks how far the leader is."""

LEADERLESS_SECONDS = 0.25
"""A follower that has seen nothing new for so long looks whether there still is a leader."""

UNKEPT_SECONDS = 1.0
"""So long a blob that cannot be kept waits for clients to come."""

STALLED_SECONDS = 10.0
"""So long others wait for a client that does not read, where a blob cannot be kept."""

WHOLE_BYTES = 128 * 1024
"""Up to this size a blob is waited for in full, so that a failure still becomes an honest answer."""

SIZE = "size"
VERIFIED = "verified"
"""Beside the data of a fill: its size once the upstream has told it, and that the digest is right."""


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
        if fill is None or fill.failure is not None or fill.gaps:
            session = layout.upload(name, self._session(name, digest))
            fill = Fill(session, functools.partial(source.upstream.blob, there, digest))
            self._running[name, digest] = fill
            task = asyncio.create_task(_Filling(self, fill, source, name, there, digest).run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: self._forget(name, digest, fill))
        reader = FillReader(self.storage, self.count, fill, digest)
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
            while not self.fill.stored and not self.fill.unkept:
                try:
                    writer = await self.fills.storage.writer(f"{session}/data", append=True)
                except BusyError:
                    await self._follow(session)
                    continue
                except StorageError as error:
                    writer = _NoWriter(error)
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
        if self.fill.unkept:
            await self._clear(session)
        await self.fill.let_early_go()

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
        # What lies here already for other repositories is downloaded all the same: an upstream that says
        # it has a blob of that digest and size would else show its clients what is private here.
        key = f"{session}/startedat"
        if await found(storage, key) is None:
            await self._note(key, _now())
        hasher = Hasher(self.digest.algorithm)
        if writer.size:
            await self._read_again(f"{session}/data", hasher)
            told = await _told_size(storage, session)
            if told == writer.size:
                fill.size, fill.have = told, told
        try:
            await self._fetch(session, writer, hasher)
        except WrongError:
            if not fill.unkept:
                await self._discard(session, writer)
            raise
        if not fill.unkept:
            await self._note(f"{session}/{VERIFIED}", b"")
        fill.verified = True
        fill.tell()
        if fill.unkept:
            fill.leave()
            return
        target, link = layout.blob_data(self.digest), self.fills.blobs.link_of(self.name, self.digest)
        await writer.commit(target, link, session)
        self._complete(fill.have)

    async def _note(self, key: str, data: bytes) -> None:
        """What helps others, and is not needed."""
        with contextlib.suppress(StorageError):
            await self.fills.storage.put(key, data, durable=False)

    async def _fetch(self, session: str, writer: Writer, hasher: Hasher) -> None:
        """What `writer` has not yet. Raises `WrongError` if it is not the blob in the end."""
        fill = self.fill
        start = max(writer.size, fill.have)
        writing = _Writing(self.fills.storage, fill, writer, hasher)
        try:
            await self._recall(writer.size, writing)
            if start == 0 or start != fill.size:
                await self._download(session, start, writing)
        finally:
            # Also when the upstream breaks off: the next attempt goes on from there.
            await writing.finish()
            self.fills.count("BytesPulled", "blob", max(0, fill.have - start))
        if self.fill.have != self.fill.size or hasher.digest() != self.digest:
            raise WrongError(f"{self.source.upstream.host}: what it sends for {self.digest} is something else")

    async def _recall(self, offset: int, writing: _Writing) -> None:
        """Write what clients of this process have been shown, where who led has deleted it since.

        What they were shown stays the beginning of what they get, and is verified with it.
        """
        fill = self.fill
        while offset < fill.have:
            data = await fill.read_early(offset, fill.have - offset)
            if not data:
                host = self.source.upstream.host
                raise WrongError(f"{host}: what it sent of {self.digest} was given up elsewhere")
            await writing.add(data)
            offset += len(data)

    async def _download(self, session: str, offset: int, writing: _Writing) -> None:
        fill = self.fill
        download = await self.source.upstream.blob(self.there, self.digest, offset)
        try:
            if offset > download.size or fill.size not in {None, download.size}:
                raise WrongError(f"{self.source.upstream.host}: the size of {self.digest} has changed")
            await self._note(f"{session}/{SIZE}", b"%d" % download.size)
            if self.fills.spool is not None and fill.spool is None:
                try:
                    fill.spool = self.fills.spool()
                except StorageError as error:
                    fill.give_up(error)
            fill.size = download.size
            fill.have = max(fill.have, offset)
            fill.written = offset if fill.spool is None else 0
            fill.tell()
            async for piece in download:
                self._check_wanted()
                fill.push(piece)
                await writing.add(piece)
                if fill.unkept:
                    await self._room()
        finally:
            await download.close()

    def _check_wanted(self) -> None:
        fill = self.fill
        grace = min(self.source.grace, UNKEPT_SECONDS) if fill.unkept else self.source.grace
        if not fill.readers and time.monotonic() - fill.since > grace:
            raise UpstreamError(f"no client has waited for it since {grace:g} s")

    async def _room(self) -> None:
        """Until those who wait have read what cannot be read elsewhere; who does not read is left behind."""
        fill, patience = self.fill, time.monotonic() + STALLED_SECONDS
        while not fill.trim():
            self._check_wanted()
            if fill.readers and time.monotonic() > patience:
                start, piece = fill.window[0]
                fill.readers = {reader for reader in fill.readers if reader.offset >= start + len(piece)}
            fill.moved.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UNKEPT_SECONDS):
                    await fill.moved.wait()

    async def _clear(self, session: str) -> None:
        """Remove what was stored before the storage failed, unless another process goes on with it."""
        await asyncio.sleep(2 * LEADERLESS_SECONDS)
        storage, fill = self.fills.storage, self.fill
        with contextlib.suppress(StorageError):
            await self._discard(session, await storage.writer(f"{session}/data", append=True))
        while fill.early is not None and fill.readers:
            fill.moved.clear()
            await fill.moved.wait()

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
                # Open, it can be read to its end whatever becomes of who writes it.
                reader = await storage.open(f"{session}/data")
                fill.have = max(fill.have, reader.size)
                await fill.keep(reader)
                if fill.have >= fill.size and await found(storage, f"{session}/{VERIFIED}") is not None:
                    fill.verified = True
            if (fill.have, fill.size, fill.verified) != before:
                news = time.monotonic()
                fill.tell()
            elif await found(storage, session) is None and await self._is_stored():
                return
            await asyncio.sleep(POLL_SECONDS)


class _NoWriter:
    """Where the storage cannot even begin. See `lading.registry.ports.Writer`."""

    size = 0

    def __init__(self, error: StorageError) -> None:
        self._error = error

    async def write(self, *_: object) -> None:
        raise self._error

    async def commit(self, *_: object) -> None:
        raise self._error

    async def cancel(self) -> None: ...

    async def close(self) -> None: ...


class _Writing:
    """Stores and hashes what has come while more comes; never later than the storage can.

    Once the storage has failed it hashes only, and lets go of the writer.
    """

    def __init__(self, storage: Storage, fill: Fill, writer: Writer, hasher: Hasher) -> None:
        self._storage = storage
        self._fill = fill
        self._writer = writer
        self._hasher = hasher
        self._begun = self._hashed = writer.size
        self._pieces: list[bytes] = []
        self._pending = 0
        self._storing: asyncio.Task[None] | None = None

    async def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._pending += len(piece)
        if self._storing is not None and (self._storing.done() or self._pending > PENDING_BYTES):
            storing, self._storing = self._storing, None
            await storing
        if self._storing is None:
            self._storing = asyncio.create_task(self._store())

    async def finish(self) -> None:
        """Store what is left."""
        if self._storing is not None:
            await self._storing
        await self._store()

    async def _store(self) -> None:
        while self._pieces:
            pieces, self._pieces, self._pending = self._pieces, [], 0
            start, self._begun = self._begun, self._begun + sum(map(len, pieces))
            if not self._fill.unkept:
                try:
                    await self._writer.write(pieces, self._hash)
                    if self._fill.spool is None:
                        self._fill.written = self._writer.size
                    continue
                except StorageError as error:
                    self._fill.give_up(error)
                    await self._let_go()
            await asyncio.to_thread(self._hash_rest, start, pieces)

    def _hash(self, piece: bytes) -> None:
        self._hasher.update(piece)
        self._hashed += len(piece)

    def _hash_rest(self, start: int, pieces: list[bytes]) -> None:
        for piece in pieces:
            if start + len(piece) > self._hashed:
                self._hash(piece[max(0, self._hashed - start) :])
            start += len(piece)

    async def _let_go(self) -> None:
        """Another process may have better luck; what is stored can still be read here if it deletes that."""
        fill = self._fill
        with contextlib.suppress(StorageError):
            if fill.written and fill.spool is None:
                await fill.keep(await self._storage.open(f"{fill.session}/data"))
        with contextlib.suppress(StorageError):
            await self._writer.close()


async def _told_size(storage: Storage, session: str) -> int:
    """-1 if no leader has come so far."""
    try:
        return int(await storage.get(f"{session}/{SIZE}"))
    except (PathNotFoundError, ValueError):
        return -1


def _now() -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()).encode("ascii")
