"""Reading from a file of the cache, and from the storage while the file is made."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from lading.registry.ports import Reader, StorageError

INLINE_BYTES = 128 * 1024


class CachedReader:
    """See `lading.registry.ports.Reader`. Whoever has it open keeps the content, wherever the name goes."""

    def __init__(self, driver: str, descriptor: int, path: str, size: int, offset: int) -> None:
        self.size = size
        self.path: str | None = path
        self._driver = driver
        self._descriptor = descriptor
        self._offset = offset

    def fileno(self) -> int:
        return self._descriptor

    def seek(self, offset: int) -> None:
        self._offset = offset

    async def read(self, limit: int) -> bytes:
        if self._descriptor < 0:
            raise StorageError(self._driver, f"already closed: {self.path}")
        limit = min(limit, self.size - self._offset)
        if limit <= 0:
            return b""
        try:
            if limit <= INLINE_BYTES:
                data = os.pread(self._descriptor, limit, self._offset)
            else:
                data = await asyncio.to_thread(_read, os.dup(self._descriptor), limit, self._offset)
        except OSError as error:
            raise StorageError(self._driver, f"disk cache: {error}") from error
        self._offset += len(data)
        return data

    async def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _read(descriptor: int, limit: int, offset: int) -> bytes:
    # A descriptor of its own: a request that is cancelled closes the other while the thread still reads.
    try:
        return os.pread(descriptor, limit, offset)
    finally:
        os.close(descriptor)


class FillingReader:
    """Reads from another reader, and hands on what comes in order, from the beginning on."""

    def __init__(
        self, inner: Reader, offset: int, feed: Callable[[int, bytes], Awaitable[None]], end: Callable[[], None]
    ) -> None:
        self.size = inner.size
        self.path: str | None = None
        self._inner = inner
        self._offset = offset
        self._feed = feed
        self._end = end

    def fileno(self) -> int:
        raise OSError("there is no file yet")

    def seek(self, offset: int) -> None:
        self._inner.seek(offset)
        self._offset = offset

    async def read(self, limit: int) -> bytes:
        data = await self._inner.read(limit)
        if data:
            await self._feed(self._offset, data)
            self._offset += len(data)
        return data

    async def close(self) -> None:
        self._end()
        await self._inner.close()
