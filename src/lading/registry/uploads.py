"""Upload sessions: blobs on their way into a repository, in one piece or many, through one process or several.

The bytes are hashed while they are written. The hash of a session stays in memory; at the end of each request
its state is also stored, so that another process continues it. Where there is none, the stored bytes are read
once more when the upload is finished (decision record 0001).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import math
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from lading.oci import errors
from lading.oci.digest import CANONICAL, Digest
from lading.oci.errors import RegistryError
from lading.oci.hashing import INLINE_BYTES, Hasher
from lading.oci.names import RepositoryName
from lading.oci.ranges import Span
from lading.registry import layout
from lading.registry.blobs import Blobs
from lading.registry.ids import uuid7
from lading.registry.ports import (
    BusyError,
    PathNotFoundError,
    Stat,
    Storage,
    StorageError,
    StorageFullError,
    Writer,
    found,
)

BATCH_BYTES = 1024 * 1024
"""Body bytes that are collected before they are written and hashed: enough to make a thread hop cheap."""

BATCH_SECONDS = 0.1
"""How long they are collected: what slow clients have sent does not add up in memory."""

STATE_BYTES = 1024 * 1024
"""From this size on the state of a session's hash is stored: less is read again sooner than a state is kept."""

SMALL_BYTES = 4096
"""Pieces of a body below this size are joined: an object for each would weigh many times what it holds."""

RUNNING_HASHES = 4096
"""Sessions whose hash is kept in memory, some 500 bytes each; older ones are continued from storage."""

LOCK_SECONDS = 2.0
"""How long to wait for the writer of an earlier request of the session, whose client may just be gone, and for
what that has stored to be seen."""

PAUSE_SECONDS = 0.05
"""Between the first two looks meanwhile."""
LONGEST_PAUSE_SECONDS = 0.5
"""Between two looks after some seconds: where the writer may be dead, it is waited for until that is certain."""

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Upload:
    """A session. `offset` is the number of bytes stored so far; `started_at` is in RFC 3339.

    To write to one it need not be looked for before: `append` and `finish` find out whether it is there.
    """

    name: RepositoryName
    id: str
    started_at: str
    offset: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A body to append.

    `offset` is where the client believes the session to be, None if it does not say. `span` are the bytes its
    Content-Range declares, `length` those its Content-Length does.
    """

    body: AsyncIterator[bytes]
    offset: int | None = None
    span: Span | None = None
    length: int | None = None

    def check(self, size: int) -> None:
        """Raises RANGE_INVALID, SIZE_INVALID if the chunk does not continue `size` bytes."""
        if self.offset is not None and self.offset != size:
            raise errors.RANGE_INVALID()
        if self.span is None:
            return
        if self.span.length <= 0 or self.span.start != size:
            raise errors.RANGE_INVALID()
        if self.length is not None and self.length != self.span.length:
            raise errors.SIZE_INVALID()


@dataclass(slots=True)
class Uploads:
    storage: Storage
    blobs: Blobs
    _hashes: OrderedDict[str, Hasher] = field(default_factory=OrderedDict)

    async def start(self, name: RepositoryName) -> Upload:
        upload = Upload(name, uuid7(time.time_ns()), _now(), 0)
        # Not durable: a client whose session is gone after a power cut starts another. But the first session of a
        # repository makes directories that durable content will lie in.
        flat = self.storage.traits.flat
        first = not flat and await found(self.storage, layout.uploads(name)) is None
        key = layout.upload_started_at(name, upload.id)
        await self.storage.put(key, upload.started_at.encode("ascii"), durable=first)
        return upload

    async def get(self, name: RepositoryName, upload_id: str, told: int = 0) -> Upload:
        """`told` is the offset that its client was told.

        Raises BLOB_UPLOAD_UNKNOWN, also where that is not 0 and no byte can be found: a store may list late.
        """
        _check_id(upload_id)
        try:
            started_at = await self.storage.get(layout.upload_started_at(name, upload_id))
        except PathNotFoundError as error:
            raise _unknown() from error
        upload = Upload(name, upload_id, started_at.decode("ascii", "replace"), told)
        deadline = time.monotonic() + LOCK_SECONDS
        while (data := await self._data(upload)) is None and told:
            if time.monotonic() > deadline:
                raise _unknown()
            await asyncio.sleep(PAUSE_SECONDS)
        return replace(upload, offset=0 if data is None else data.size)

    def resume(self, name: RepositoryName, upload_id: str, started_at: str, offset: int) -> Upload:
        """The session as its client knows it, to be written to. Raises BLOB_UPLOAD_UNKNOWN for what is no id."""
        _check_id(upload_id)
        return Upload(name, upload_id, started_at, offset)

    async def append(self, upload: Upload, chunk: Chunk, algorithm: str = CANONICAL) -> Upload:
        """Store a chunk. What arrived before an error of the client stays in the session.

        Raises RANGE_INVALID also where another request is writing to the session, SIZE_INVALID, STORAGE_FULL
        (the session is then removed), and whatever the body raises.
        """
        async with self._writing(upload, chunk) as writer:
            await self._copy(upload, chunk.body, writer, algorithm)
            if not await self._is_there(upload):
                raise _unknown()  # cancelled meanwhile, and the bytes with it
        return Upload(upload.name, upload.id, upload.started_at, writer.size)

    async def finish(self, upload: Upload, chunk: Chunk, digest: Digest) -> None:
        """Store a last, possibly empty chunk and turn the session into a blob of the repository.

        Raises as `append`; and DIGEST_INVALID if the content has another digest: then the session is removed.
        """
        async with self._writing(upload, chunk) as writer:
            await self._copy(upload, chunk.body, writer, digest.algorithm)
            if await self._digest(upload, writer.size, digest.algorithm) != digest:
                await self._discard(upload)
                raise errors.DIGEST_INVALID(
                    detail=f"invalid digest for referenced layer: {digest}, content does not match digest"
                )
            target = layout.blob_data(digest)
            stored = await found(self.storage, target)
            # The size is compared because a crash of the original may leave an empty file under a good name.
            whole = stored is not None and stored.size == writer.size
            if whole and await self.blobs.link(upload.name, digest):
                await writer.cancel()
                await self._discard(upload)
            else:
                # Linked when the data is durable: a crash in between leaves only what garbage collection finds.
                session = layout.upload(upload.name, upload.id)
                await writer.commit(target, self.blobs.link_of(upload.name, digest), session)
            if self.blobs.descriptors is not None:
                self.blobs.descriptors.seen(upload.name, digest, writer.size)

    async def cancel(self, upload: Upload) -> None:
        await self._discard(upload)

    @contextlib.asynccontextmanager
    async def _writing(self, upload: Upload, chunk: Chunk) -> AsyncIterator[Writer]:
        """The session's only writer, at the place where the chunk belongs; closed, and the hash kept, after."""
        writer = await self._writer(upload)
        try:
            if writer.size == 0 and not await self._is_there(upload):
                # It ended, perhaps while this request waited for the writer, which then made a file of its own.
                await writer.cancel()
                await self._discard(upload)
                raise _unknown()
            chunk.check(writer.size)
            yield writer
        except StorageFullError:
            # What the session holds is what fills the disk; its client has to begin anew in any case.
            await self._discard(upload)
            raise
        except PathNotFoundError as error:
            raise _unknown() from error  # cancelled by another request
        except BusyError as error:
            raise _busy() from error  # which has taken over, while this one stood still
        finally:
            await self._close(upload, writer)

    async def _writer(self, upload: Upload) -> Writer:
        deadline, pause, least = time.monotonic() + LOCK_SECONDS, PAUSE_SECONDS, math.inf
        while True:
            try:
                writer = await self.storage.writer(layout.upload_data(upload.name, upload.id), append=True)
            except BusyError as error:
                # One that shows again that it lives is not waited for; one that does not is soon taken for dead.
                lives = error.left <= 0 or error.left > least
                least = min(least, error.left)
                if time.monotonic() > deadline and lives:
                    raise _busy() from error
            except PathNotFoundError as error:
                raise _unknown() from error
            else:
                if writer.size or time.monotonic() > deadline or not await self._may_come(upload):
                    return writer
                await writer.close()
            await asyncio.sleep(pause)
            pause = min(pause * 1.2, LONGEST_PAUSE_SECONDS)

    async def _may_come(self, upload: Upload) -> bool:
        """Whether bytes are there of which the writer has not heard: a store may list late what it has got."""
        if not upload.offset or not await self._is_there(upload):
            return False
        data = await self._data(upload)
        return data is None or data.size > 0

    async def _close(self, upload: Upload, writer: Writer) -> None:
        try:
            await writer.close()
        except StorageError as error:
            self._hashes.pop(upload.id, None)  # of bytes that may not be stored, nor ever be
            if isinstance(error, BusyError):
                raise _busy() from error
            raise
        hasher = self._hashes.get(upload.id)
        state = None if hasher is None or hasher.size < STATE_BYTES else hasher.export()
        if hasher is None or state is None:
            return
        key = layout.upload_hash_state(upload.name, upload.id, hasher.algorithm, hasher.size)
        # Without the state another process reads the bytes again: no reason to fail. Nothing is written into a
        # session that was cancelled meanwhile.
        with contextlib.suppress(StorageError):
            if await self._is_there(upload):
                await self.storage.put(key, state, durable=False)

    async def _copy(self, upload: Upload, body: AsyncIterator[bytes], writer: Writer, algorithm: str) -> None:
        """Write and hash the body, one batch while the next arrives."""
        hasher = await self._take_hash(upload, writer.size, algorithm)
        batches = _Batches(writer, hasher)
        try:
            async for data in body:
                await batches.add(data)
        finally:
            # Also when the client is gone or too slow: what it sent is kept, for it to continue there.
            await batches.finish()
            # Also when the client is gone: it may continue. After a failed write the hash is ahead: drop it.
            if hasher is not None and hasher.size == writer.size:
                self._keep_hash(upload, hasher)

    async def _take_hash(self, upload: Upload, size: int, algorithm: str) -> Hasher | None:
        """The hash of the first `size` bytes of the session, if it is known; out of memory's hands."""
        hasher = self._hashes.pop(upload.id, None)
        if hasher is not None and hasher.size == size and hasher.algorithm == algorithm:
            return hasher
        if size == 0:
            return Hasher(algorithm)
        if size < STATE_BYTES:
            return None
        key = layout.upload_hash_state(upload.name, upload.id, algorithm, size)
        try:
            return Hasher.restore(algorithm, await self.storage.get(key), size)
        except PathNotFoundError:
            return None

    def _keep_hash(self, upload: Upload, hasher: Hasher) -> None:
        self._hashes[upload.id] = hasher
        while len(self._hashes) > RUNNING_HASHES:
            self._hashes.popitem(last=False)

    async def _digest(self, upload: Upload, size: int, algorithm: str) -> Digest:
        hasher = self._hashes.pop(upload.id, None)
        if hasher is None or hasher.size != size or hasher.algorithm != algorithm:
            hasher = Hasher(algorithm)
            reader = await self.storage.open(layout.upload_data(upload.name, upload.id))
            try:
                while data := await reader.read(BATCH_BYTES):
                    if len(data) <= INLINE_BYTES:
                        hasher.update(data)
                    else:
                        await asyncio.to_thread(hasher.update, data)
            finally:
                await reader.close()
        return hasher.digest()

    async def _data(self, upload: Upload) -> Stat | None:
        return await found(self.storage, layout.upload_data(upload.name, upload.id))

    async def _is_there(self, upload: Upload) -> bool:
        return await found(self.storage, layout.upload_started_at(upload.name, upload.id)) is not None

    async def _discard(self, upload: Upload) -> None:
        self._hashes.pop(upload.id, None)
        with contextlib.suppress(PathNotFoundError):
            await self.storage.delete(layout.upload(upload.name, upload.id))


class _Batches:
    """A body on its way to the writer: a batch is written and hashed while the next is collected."""

    def __init__(self, writer: Writer, hasher: Hasher | None) -> None:
        self._writer = writer
        self._also = None if hasher is None else hasher.update
        self._pieces: list[bytes | bytearray] = []
        self._size = 0
        self._storing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def add(self, data: bytes) -> None:
        """Raises what storing an earlier batch raised."""
        if len(data) >= SMALL_BYTES:
            self._pieces.append(data)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += data
        else:
            self._pieces.append(bytearray(data))
        self._size += len(data)
        if self._size >= BATCH_BYTES:
            if self._storing is not None:
                await self._storing
            self._start()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._overdue)

    async def finish(self) -> None:
        """Store what is left. Raises what storing raised."""
        if self._timer is not None:
            self._timer.cancel()
        if self._storing is not None:
            await self._storing
        if self._pieces:
            await self._writer.write(self._take(), self._also)

    def _overdue(self) -> None:
        self._timer = None
        if self._storing is not None and not self._storing.done():
            self._timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._overdue)
        elif self._pieces:
            self._start()

    def _start(self) -> None:
        self._storing = asyncio.create_task(self._store(self._storing, self._take()))

    async def _store(self, before: asyncio.Task[None] | None, batch: list[bytes]) -> None:
        if before is not None:
            await before  # nothing is written behind a gap
        await self._writer.write(batch, self._also)

    def _take(self) -> list[bytes]:
        pieces, self._pieces, self._size = self._pieces, [], 0
        return [bytes(piece) for piece in pieces]


def _check_id(upload_id: str) -> None:
    if _ID.fullmatch(upload_id) is None:
        raise _unknown()


def _unknown() -> RegistryError:
    return errors.BLOB_UPLOAD_UNKNOWN(detail="blob upload unknown")


def _busy() -> RegistryError:
    return errors.RANGE_INVALID(detail="another request is writing to this upload")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
