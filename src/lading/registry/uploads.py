"""Upload sessions: blobs on their way into a repository, in one piece or many, through one process or several.

The bytes are hashed while they are written. The hash of a session stays in memory; at the end of each request
its state is also stored, so that another process continues it. Where there is none, the stored bytes are read
once more when the upload is finished (decision record 0001).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import re
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from lading.oci import errors
from lading.oci.digest import CANONICAL, Digest
from lading.oci.errors import RegistryError
from lading.oci.hashing import INLINE_BYTES, Hasher
from lading.oci.names import RepositoryName
from lading.oci.ranges import Span
from lading.registry import layout
from lading.registry.blobs import Blobs
from lading.registry.ports import BusyError, PathNotFoundError, Storage, StorageError, StorageFullError, Writer

BATCH_BYTES = 1024 * 1024
"""Body bytes that are collected before they are hashed and written: enough to make two thread hops cheap."""

SMALL_BYTES = 4096
"""Pieces of a body below this size are joined: an object for each would weigh many times what it holds."""

RUNNING_HASHES = 4096
"""Sessions whose hash is kept in memory, some 500 bytes each; older ones are continued from storage."""

LOCK_SECONDS = 2.0
"""How long to wait for the writer of an earlier request of the session, whose client may just be gone."""

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Upload:
    """A session. `offset` is the number of bytes stored so far; `started_at` is in RFC 3339."""

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
        upload = Upload(name, _new_id(), _now(), 0)
        # Not durable: a client whose session is gone after a power cut starts another. But the first session of a
        # repository makes directories that durable content will lie in.
        first = not await self._exists(layout.uploads(name))
        key = layout.upload_started_at(name, upload.id)
        await self.storage.put(key, upload.started_at.encode("ascii"), durable=first)
        return upload

    async def get(self, name: RepositoryName, upload_id: str) -> Upload:
        """Raises BLOB_UPLOAD_UNKNOWN."""
        _check_id(upload_id)
        try:
            started_at = await self.storage.get(layout.upload_started_at(name, upload_id))
        except PathNotFoundError as error:
            raise _unknown() from error
        try:
            size = (await self.storage.stat(layout.upload_data(name, upload_id))).size
        except PathNotFoundError:
            size = 0
        return Upload(name, upload_id, started_at.decode("ascii", "replace"), size)

    async def append(self, upload: Upload, chunk: Chunk, algorithm: str = CANONICAL) -> Upload:
        """Store a chunk. What arrived before an error of the client stays in the session.

        Raises RANGE_INVALID also where another request is writing to the session, SIZE_INVALID, STORAGE_FULL
        (the session is then removed), and whatever the body raises.
        """
        async with self._writing(upload, chunk) as writer:
            await self._copy(upload, chunk.body, writer, algorithm)
            if not await self._exists(layout.upload_started_at(upload.name, upload.id)):
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
            if await self._holds(target, writer.size):
                await writer.cancel()
            else:
                await writer.commit(target)
        # Linked when the data is durable: a crash in between leaves only what garbage collection finds.
        await self.blobs.link(upload.name, digest)
        await self._discard(upload)

    async def cancel(self, upload: Upload) -> None:
        await self._discard(upload)

    @contextlib.asynccontextmanager
    async def _writing(self, upload: Upload, chunk: Chunk) -> AsyncIterator[Writer]:
        """The session's only writer, at the place where the chunk belongs; closed, and the hash kept, after."""
        writer = await self._writer(upload)
        try:
            if not await self._exists(layout.upload_started_at(upload.name, upload.id)):
                # It ended while this request waited for the writer, which then made a file of its own.
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
        finally:
            await self._close(upload, writer)

    async def _writer(self, upload: Upload) -> Writer:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                return await self.storage.writer(layout.upload_data(upload.name, upload.id), append=True)
            except BusyError as error:
                if time.monotonic() > deadline:
                    raise errors.RANGE_INVALID(detail="another request is writing to this upload") from error
                await asyncio.sleep(0.05)

    async def _close(self, upload: Upload, writer: Writer) -> None:
        await writer.close()
        hasher = self._hashes.get(upload.id)
        state = None if hasher is None or hasher.size == 0 else hasher.export()
        if hasher is None or state is None:
            return
        key = layout.upload_hash_state(upload.name, upload.id, hasher.algorithm, hasher.size)
        # Without the state another process reads the bytes again: no reason to fail. Nothing is written into a
        # session that was cancelled meanwhile.
        with contextlib.suppress(StorageError):
            await self.storage.stat(layout.upload_started_at(upload.name, upload.id))
            await self.storage.put(key, state, durable=False)

    async def _copy(self, upload: Upload, body: AsyncIterator[bytes], writer: Writer, algorithm: str) -> None:
        """Hash and write the body, one batch while the next arrives."""
        hasher = await self._take_hash(upload, writer.size, algorithm)
        storing: asyncio.Task[None] | None = None
        try:
            async for batch in _batches(body):
                if storing is not None:
                    await storing
                storing = asyncio.create_task(_store(batch, writer, hasher))
        finally:
            if storing is not None:
                await storing
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
                    await _update(hasher, [data])
            finally:
                await reader.close()
        return hasher.digest()

    async def _exists(self, key: str) -> bool:
        try:
            await self.storage.stat(key)
        except PathNotFoundError:
            return False
        return True

    async def _holds(self, key: str, size: int) -> bool:
        # The size is compared because a crash of the original may leave an empty file under a good name.
        try:
            return (await self.storage.stat(key)).size == size
        except PathNotFoundError:
            return False

    async def _discard(self, upload: Upload) -> None:
        self._hashes.pop(upload.id, None)
        with contextlib.suppress(PathNotFoundError):
            await self.storage.delete(layout.upload(upload.name, upload.id))


async def _store(batch: list[bytes], writer: Writer, hasher: Hasher | None) -> None:
    if hasher is None:
        await writer.write(batch)
    else:
        both = await asyncio.gather(writer.write(batch), _update(hasher, batch), return_exceptions=True)
        for outcome in both:
            if outcome is not None:
                raise outcome


async def _update(hasher: Hasher, batch: list[bytes]) -> None:
    def update() -> None:
        for data in batch:
            hasher.update(data)

    if sum(map(len, batch)) <= INLINE_BYTES:
        update()
    else:
        await asyncio.to_thread(update)


async def _batches(body: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    batch: list[bytes | bytearray] = []
    size = 0
    try:
        async for data in body:
            if len(data) >= SMALL_BYTES:
                batch.append(data)
            elif batch and isinstance(batch[-1], bytearray):
                batch[-1] += data
            else:
                batch.append(bytearray(data))
            size += len(data)
            if size >= BATCH_BYTES:
                yield [bytes(piece) for piece in batch]
                batch, size = [], 0
    except RegistryError:
        # The client is gone or too slow: what it sent is kept, for it to continue there.
        if batch:
            yield [bytes(piece) for piece in batch]
        raise
    if batch:
        yield [bytes(piece) for piece in batch]


def _check_id(upload_id: str) -> None:
    if _ID.fullmatch(upload_id) is None:
        raise _unknown()


def _unknown() -> RegistryError:
    return errors.BLOB_UPLOAD_UNKNOWN(detail="blob upload unknown")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _new_id() -> str:
    """A UUID of version 7 (RFC 9562): sessions sort by the time of their start."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))
