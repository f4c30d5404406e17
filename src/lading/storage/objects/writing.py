"""Objects on their way in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from lading.registry.ports import BusyError, Objects, PathNotFoundError, Storage, StorageError, check_key
from lading.storage.objects.bucket import Bucket, ChangedError, Pending, to_the_end
from lading.storage.objects.claims import Claim

HASHED_INLINE = 64 * 1024
"""Up to so many bytes are shown in the event loop, more in a thread."""


class ObjectWriter:
    """See `lading.registry.ports.Writer`. The key is held by a claim."""

    def __init__(
        self,
        storage: Storage,
        bucket: Bucket,
        key: str,
        name_of: Callable[[str], str],
        claim: Claim,
        pending: Pending,
        rest: bytes,
    ) -> None:
        self.size = pending.size + len(rest)
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._name_of = name_of
        self._name = name_of(key)
        self._claim = claim
        self._pending = pending
        self._rest = bytearray(rest)
        self._ended = ""
        self._turn = asyncio.Lock()
        """Whoever reads what is unfinished has it sent, while it is being written."""

    async def write(self, chunks: Sequence[bytes], also: Callable[[bytes], None] | None = None) -> None:
        self._check_open()
        for chunk in chunks:
            self._rest += chunk
            self.size += len(chunk)
        if len(self._rest) >= self._pending.unit:
            await to_the_end(self._send())
        if also is None:
            return
        if sum(map(len, chunks)) <= HASHED_INLINE:
            _show(chunks, also)
        else:
            await to_the_end(asyncio.to_thread(_show, chunks, also))

    async def make_readable(self) -> None:
        """All that was written so far can be read; writing may go on."""
        if not self._ended and self._rest and not self._claim.lost:
            await to_the_end(self._show_rest())

    async def _show_rest(self) -> None:
        async with self._turn:
            before = self._pending.size
            with contextlib.suppress(PathNotFoundError):
                await self._pending.suspend(bytes(self._rest))
            del self._rest[: self._pending.size - before]

    async def close(self) -> None:
        if not self._ended:
            self._ended = "closed"
            await to_the_end(self._close())

    async def commit(
        self, target: str | None = None, then: Objects | None = None, remove: str | None = None
    ) -> None:
        self._check_open()
        for key in (target, remove, *(then or {})):
            if key is not None:
                check_key(self._bucket.driver, key)
        self._ended = "committed"
        await to_the_end(self._commit(target, then or {}, remove))

    async def cancel(self) -> None:
        self._check_open()
        self._ended = "cancelled"
        await to_the_end(self._cancel())

    def _check_open(self) -> None:
        if self._ended:
            raise StorageError(self._bucket.driver, f"already {self._ended}: {self._key}")

    async def _send(self) -> None:
        if self._claim.lost:
            raise self._taken_over()
        async with self._turn:
            try:
                while len(self._rest) >= self._pending.unit:
                    data = bytes(self._rest[: self._pending.unit])
                    await self._pending.extend(data)
                    del self._rest[: len(data)]
            except StorageError:
                self._rest.clear()
                self.size = self._pending.size
                raise

    async def _close(self) -> None:
        try:
            if not self._claim.lost:
                with contextlib.suppress(PathNotFoundError):
                    await self._pending.suspend(bytes(self._rest))
        finally:
            await self._claim.release()

    async def _commit(self, target: str | None, then: Objects, remove: str | None) -> None:
        try:
            if self._claim.lost:
                raise self._taken_over()
            if target is not None and self._pending.size == 0:
                if await self._bucket.head(self._name) is None:
                    raise PathNotFoundError(self._bucket.driver, self._key)
                await self._storage.put(target, bytes(self._rest))
                await self._bucket.remove(self._name)
            else:
                await self._pending.complete(bytes(self._rest))
                if target is not None:
                    await self._move(target)
            await self._storage.put_all(then)
            if remove is not None:
                with contextlib.suppress(PathNotFoundError):
                    await self._storage.delete(remove)
        finally:
            await self._claim.release()

    async def _move(self, target: str) -> None:
        """What was completed here, and nothing that another has put in its place."""
        try:
            there = await self._bucket.copy(self._name, self._name_of(target), self._pending.tag)
        except ChangedError as error:
            raise self._taken_over() from error
        if not there:
            raise PathNotFoundError(self._bucket.driver, self._key)
        await self._bucket.remove(self._name, self._pending.tag)

    def _taken_over(self) -> BusyError:
        return BusyError(self._bucket.driver, f"another writer has taken over: {self._key}")

    async def _cancel(self) -> None:
        try:
            await self._bucket.remove(self._name)
        finally:
            await self._claim.release()


def _show(chunks: Sequence[bytes], also: Callable[[bytes], None]) -> None:
    for chunk in chunks:
        also(chunk)
