"""Bytes of an object, or of the parts that an unfinished one has so far."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

from lading.registry.ports import StorageError
from lading.storage.frostfs.messages import DRIVER, Info
from lading.storage.frostfs.objects import Objects

WHOLE_BYTES = 1024**2
"""An object of up to this size is fetched when it is opened: it outlives its replacement."""


class FrostfsReader:
    """See `lading.registry.ports.Reader`. `pieces` are what the object is made of, `whole` all of it, if known."""

    def __init__(
        self, objects: Objects, key: str, pieces: Sequence[Info], offset: int, whole: bytes | None = None
    ) -> None:
        self.size = sum(piece.size for piece in pieces)
        self.path: str | None = None
        self._objects = objects
        self._key = key
        self._pieces = pieces
        self._whole = whole
        self._offset = offset
        self._stream: AsyncGenerator[bytes] | None = None
        self._streamed = 0
        """Where the stream is to begin what it has not sent yet."""
        self._left = memoryview(b"")
        self._closed = False

    def fileno(self) -> int:
        raise OSError("no file holds the object")

    async def read(self, limit: int) -> bytes:
        if self._closed:
            raise StorageError(DRIVER, f"already closed: {self._key}")
        if self._offset >= self.size:
            return b""
        if self._whole is not None:
            data = self._whole[self._offset : self._offset + limit]
        else:
            data = await self._next(limit)
        self._offset += len(data)
        return data

    def seek(self, offset: int) -> None:
        self._offset = offset

    async def close(self) -> None:
        self._closed = True
        await self._stop()

    async def _next(self, limit: int) -> bytes:
        if self._stream is None or self._streamed - len(self._left) != self._offset:
            await self._stop()
            self._stream, self._streamed = self._bytes(self._offset), self._offset
        while not self._left:
            self._left = memoryview(await anext(self._stream))
            self._streamed += len(self._left)
        data, self._left = bytes(self._left[:limit]), self._left[limit:]
        return data

    async def _bytes(self, offset: int) -> AsyncGenerator[bytes]:
        for piece in self._pieces:
            if offset < piece.size:
                async with contextlib.aclosing(self._objects.read(piece.id, offset, piece.size)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            offset = max(offset - piece.size, 0)

    async def _stop(self) -> None:
        stream, self._stream, self._left = self._stream, None, memoryview(b"")
        if stream is not None:
            await stream.aclose()
