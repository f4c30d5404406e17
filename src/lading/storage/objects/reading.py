"""Objects on their way out."""

from __future__ import annotations

import asyncio

from lading.registry.ports import PathNotFoundError, StorageError
from lading.storage.objects.bucket import Bucket, Found

BLOCK_BYTES = 4 * 1024 * 1024
"""What is read at a time from there on; a reader keeps two of them."""


class ObjectReader:
    """See `lading.registry.ports.Reader`."""

    def __init__(self, bucket: Bucket, key: str, name: str, first: tuple[bytes, Found], offset: int) -> None:
        self._data, found = first
        self.size = found.size
        self.path: str | None = None
        self._bucket = bucket
        self._key = key
        self._name = name
        self._tag = found.tag
        self._start = self._offset = offset
        self._ahead: tuple[int, asyncio.Task[bytes]] | None = None
        self._closed = False

    def fileno(self) -> int:
        raise OSError("no file holds the object")

    async def read(self, limit: int) -> bytes:
        if self._closed:
            raise StorageError(self._bucket.driver, f"already closed: {self._key}")
        limit = min(limit, self.size - self._offset)
        if limit <= 0:
            return b""
        if not self._start <= self._offset < self._start + len(self._data):
            await self._turn()
        at = self._offset - self._start
        data = self._data[at : at + limit]
        self._offset += len(data)
        return data

    def seek(self, offset: int) -> None:
        self._offset = offset

    async def close(self) -> None:
        self._closed = True
        self._data = b""
        self._drop()

    async def _turn(self) -> None:
        """Have the block at the offset, and ask for the next one."""
        if self._ahead is None or self._ahead[0] != self._offset:
            self._drop()
            self._ahead = self._offset, asyncio.create_task(self._fetch(self._offset))
        self._start, task = self._ahead
        self._data = await task
        end = self._start + len(self._data)
        self._ahead = None if end >= self.size else (end, asyncio.create_task(self._fetch(end)))

    async def _fetch(self, start: int) -> bytes:
        length = min(BLOCK_BYTES, self.size - start)
        found = await self._bucket.fetch(self._name, start, length, self._tag)
        if found is None:
            raise PathNotFoundError(self._bucket.driver, self._key)
        if len(found[0]) != length:
            raise StorageError(self._bucket.driver, f"{len(found[0])} bytes for {length}: {self._key}")
        return found[0]

    def _drop(self) -> None:
        if self._ahead is not None:
            self._ahead[1].cancel()
            self._ahead[1].add_done_callback(lambda task: task.cancelled() or task.exception())
            self._ahead = None
