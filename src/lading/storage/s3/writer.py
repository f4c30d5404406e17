"""Objects written in pieces. Until it is complete, an object is a multipart upload that any process continues.

The original finds an upload by listing those of the key, and leaves one for others in the same way; so is it here.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from lading.registry.ports import Objects, PathNotFoundError, StorageError, check_key
from lading.storage.s3 import multipart
from lading.storage.s3.bucket import DRIVER, MAXIMUM_PARTS, MINIMUM_PART, Bucket
from lading.storage.s3.lease import Lease
from lading.storage.s3.multipart import Part

_INLINE_BYTES = 64 * 1024
_COPY_BYTES = 1025 * 1024**2
"""A multiple of 5 MiB, as sessions are: the store takes no smaller part but the last."""

Put = Callable[[Objects], Awaitable[None]]
Remove = Callable[[str], Awaitable[object]]


class S3Writer:
    """See `lading.registry.ports.Writer`. `size` counts what waits here for a part to be full."""

    def __init__(self, bucket: Bucket, key: str, put: Put, remove: Remove, let_go: Callable[[], None]) -> None:
        self.size = 0
        self._bucket = bucket
        self._key = key
        self._name = bucket.name(key)
        self._put = put
        self._remove = remove
        self._let_go = let_go
        self._lease = Lease(bucket, key)
        self._mark = secrets.token_hex(16).encode()
        self._upload = ""
        self._parts: list[Part] = []
        self._complete = 0
        """The size of an object that lies under the key already, to be continued; 0 if there is none."""
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._promised = 0
        """So many of the buffer's bytes are about to be sent."""
        self._sending: asyncio.Task[None] | None = None
        """Sends full parts, while what comes next is taken."""
        self._ended = ""
        self._busy = asyncio.Lock()

    async def start(self, *, append: bool) -> None:
        """Raises `BusyError`."""
        await self._lease.acquire()
        try:
            if append:
                await self._load()
            else:
                async for found in multipart.uploads(self._bucket, self._key, self._name):
                    if found.name == self._name:
                        await multipart.abort(self._bucket, self._key, found.name, found.id)
                await self._unmark()
        except BaseException:
            await asyncio.shield(self._lease.release())
            raise

    async def write(self, chunks: Sequence[bytes], also: Callable[[bytes], None] | None = None) -> None:
        self._check_open()
        for chunk in chunks:
            self._buffer.append(bytes(chunk))
            self._buffered += len(chunk)
            self.size += len(chunk)
            if also is not None and len(chunk) > _INLINE_BYTES:
                await _to_the_end(also, chunk)
            elif also is not None:
                also(chunk)
            if self._buffered - self._promised >= self._wanted():
                await self._settle()
                self._promised = self._buffered
                self._sending = asyncio.create_task(self._send())

    async def make_readable(self) -> None:
        """What was written becomes an object; writing may go on."""
        await self._settle()
        async with self._busy:
            if self.size == 0:
                await self._put({self._key: b""})
                return
            # Behind a part that was short there may be more than fits into one.
            while self._buffered:
                await self._flush(self._buffered)
            if self._upload:
                await self._finish_upload()

    async def close(self) -> None:
        if self._ended:
            return
        self._ended = "closed"
        try:
            await self._give_up_sending()
            if self._buffered:
                # Without the lease the key was deleted, or is another's: nothing is made anew.
                with contextlib.suppress(PathNotFoundError):
                    await self._check_there()
                    await self._flush(self._buffered)
        finally:
            await self._release()

    async def commit(
        self, target: str | None = None, then: Objects | None = None, remove: str | None = None
    ) -> None:
        self._check_open()
        for key in (target, remove, *(then or {})):
            if key is not None:
                check_key(DRIVER, key)
        self._ended = "committed"
        gone = False
        try:
            await self._give_up_sending()
            await self._check_there()
            await self._place(target)
            if then:
                await self._put(then)
            gone = remove is not None and self._key.startswith(f"{remove}/")
            if target is not None and not gone:
                await self._bucket.call("delete_object", self._key, Key=self._name)
            if not gone:
                await self._unmark()
            if remove is not None:
                await self._remove(remove)
        finally:
            await self._release(gone=gone)

    async def cancel(self) -> None:
        self._check_open()
        self._ended = "cancelled"
        try:
            await self._give_up_sending()
            await self._abort()
            with contextlib.suppress(PathNotFoundError):
                await self._bucket.call("delete_object", self._key, Key=self._name)
            await self._unmark()
        finally:
            await self._release()

    async def _unmark(self) -> None:
        with contextlib.suppress(PathNotFoundError):
            await self._bucket.call("delete_object", self._key, Key=multipart.begun(self._bucket, self._key))

    async def _load(self) -> None:
        found = await multipart.uploads_of(self._bucket, self._key)
        # Begun anew where the list did not tell of the first: whose bytes have been hashed, nobody knows.
        doubtful = any(parts for _, parts in found[1:])
        for other, _ in found if doubtful else found[1:]:
            await multipart.abort(self._bucket, self._key, other.name, other.id)
        if doubtful:
            raise PathNotFoundError(DRIVER, self._key)
        if found:
            upload, self._parts = found[0]
            self._upload = upload.id
            self.size = sum(part.size for part in self._parts)
            return
        with contextlib.suppress(PathNotFoundError):
            answer = await self._bucket.call("head_object", self._key, Key=self._name)
            self.size = self._complete = answer["ContentLength"]

    async def _place(self, target: str | None) -> None:
        if not self._upload and not self._complete:
            # All of it is here still: one request, and no copy.
            await self._put({target or self._key: b"".join(self._buffer)})
            return
        if self._buffered:
            await self._flush(self._buffered)
        if self._upload:
            await self._finish_upload()
        if target is not None:
            await multipart.copy(self._bucket, self._key, target, self._complete)

    async def _check_there(self) -> None:
        """Raises `PathNotFoundError` where the key was deleted meanwhile, `BusyError` where it is another's.

        The store says the first by itself of what it has already.
        """
        if not (self._upload or self._complete) or not self._lease.fresh:
            await self._lease.check()

    def _wanted(self) -> int:
        options = self._bucket.options
        return multipart.part_size(options.chunksize, len(self._parts) + 1, equal=options.equalparts)

    async def _send(self) -> None:
        async with self._busy:
            while self._buffered >= (wanted := self._wanted()):
                await self._flush(wanted)

    async def _settle(self) -> None:
        """Wait until the parts that are being sent are there. Raises what sending them raised."""
        sending, self._sending = self._sending, None
        if sending is not None:
            await sending

    async def _give_up_sending(self) -> None:
        """As `_settle`; what could not be sent is in the buffer again, to be sent once more."""
        with contextlib.suppress(StorageError):
            await self._settle()

    async def _flush(self, size: int) -> None:
        """The first `size` bytes of the buffer become a part; where that fails, they are in it again."""
        if self._complete or (self._parts and self._is_short(self._parts[-1])):
            await self._reopen()
            size = min(self._buffered, self._wanted())
        if not self._upload:
            self._upload = await multipart.begin(self._bucket, self._key, self._mark)
        while size:
            if len(self._parts) == MAXIMUM_PARTS:
                raise StorageError(DRIVER, f"more than {MAXIMUM_PARTS} parts: {self._key}")
            data = self._taken(size)
            try:
                number = len(self._parts) + 1
                made = await multipart.put_part(self._bucket, self._key, self._upload, number, data)
            except BaseException:
                self._buffer.insert(0, data)
                self._buffered += size
                raise
            self._parts.append(made)
            size = min(self._buffered, self._wanted()) if self._ended else 0

    def _taken(self, size: int) -> bytes:
        """Out of the buffer, which is added to while they are sent."""
        data = b"".join(self._buffer)
        self._buffer = [data[size:]] if len(data) > size else []
        self._buffered -= size
        self._promised = 0
        return data[:size]

    def _is_short(self, last: Part) -> bool:
        options = self._bucket.options
        return last.size != options.chunksize if options.equalparts else last.size < MINIMUM_PART

    async def _finish_upload(self) -> None:
        if not self._parts:
            self._parts.append(await multipart.put_part(self._bucket, self._key, self._upload, 1, b""))
        await multipart.complete(self._bucket, self._key, self._upload, self._parts)
        self._complete = sum(part.size for part in self._parts)
        self._upload, self._parts = "", []

    async def _reopen(self) -> None:
        """Only a last part may be short: what is there is copied into a new upload, its end comes back here."""
        if self._upload:
            await self._finish_upload()
        size, options = self._complete, self._bucket.options
        step = options.chunksize if options.equalparts else MINIMUM_PART
        kept = size - size % step
        tail = b""
        if kept < size:
            answer: Any = await self._bucket.call(
                "get_object", self._key, Key=self._name, Range=f"bytes={kept}-{size - 1}"
            )
            async with answer["Body"] as body:
                tail = await body.read()
            if len(tail) != size - kept:
                raise StorageError(DRIVER, f"the object is shorter than it was: {self._key}")
        upload = await multipart.create(self._bucket, self._key)
        try:
            made = await multipart.copy_parts(
                self._bucket,
                self._key,
                self._key,
                upload,
                0,
                kept,
                options.chunksize if options.equalparts else _COPY_BYTES,
            )
        except BaseException:
            with contextlib.suppress(StorageError):
                await asyncio.shield(multipart.abort(self._bucket, self._key, self._name, upload))
            raise
        self._upload, self._parts, self._complete = upload, made, 0
        self._buffer.insert(0, tail)
        self._buffered += len(tail)

    async def _abort(self) -> None:
        if self._upload:
            await multipart.abort(self._bucket, self._key, self._name, self._upload)

    async def _release(self, *, gone: bool = False) -> None:
        try:
            await asyncio.shield(self._lease.release(gone=gone))
        finally:
            self._let_go()

    def _check_open(self) -> None:
        if self._ended:
            raise StorageError(DRIVER, f"already {self._ended}: {self._key}")


async def _to_the_end(call: Callable[[bytes], None], data: bytes) -> None:
    """In a thread, waited for even by who is cancelled: the hash must not lag behind the size."""
    future = asyncio.get_running_loop().run_in_executor(None, call, data)
    try:
        await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise
