"""Where the bytes of an upload come from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from lading.client.upload import Source

PIECE_BYTES = 1024 * 1024


def of_bytes(data: bytes) -> Source:
    async def pieces(offset: int) -> AsyncGenerator[bytes, None]:
        for start in range(offset, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]

    return pieces


def of_file(path: str) -> Source:
    """Read in threads. What it yields raises `OSError` with the path."""

    async def pieces(offset: int) -> AsyncGenerator[bytes, None]:
        file = await asyncio.to_thread(open, path, "rb")
        try:
            file.seek(offset)
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                yield piece
        finally:
            file.close()

    return pieces
