"""Where the bytes of an upload come from."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from lading.client.disk import open_regular
from lading.client.errors import ClientError
from lading.client.upload import Source
from lading.oci.digest import Digest
from lading.oci.hashing import Hasher

PIECE_BYTES = 1024 * 1024


def of_bytes(data: bytes) -> Source:
    async def pieces(offset: int) -> AsyncGenerator[bytes, None]:
        for start in range(offset, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]

    return pieces


def of_file(path: str) -> Source:
    """Read in threads. What it yields raises `OSError`, also for what is no regular file."""

    async def pieces(offset: int) -> AsyncGenerator[bytes, None]:
        file = await asyncio.to_thread(open_regular, path)
        try:
            file.seek(offset)
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                yield piece
        finally:
            file.close()

    return pieces


def of_known_file(
    path: str, digest: Digest, failure: Callable[[str], ClientError], *, size: int | None = None
) -> Source:
    """A file that has a digest, which is compared at its end when it is read from 0, and maybe a size in bytes.

    What it yields raises what `failure` makes of a reason.
    """
    pieces = of_file(path)

    async def verified(offset: int) -> AsyncGenerator[bytes, None]:
        hasher = Hasher(digest.algorithm)
        try:
            async with contextlib.aclosing(pieces(offset)) as found:
                async for piece in found:
                    hasher.update(piece)
                    if size is not None and offset + hasher.size > size:
                        raise failure(f"has more than the {size} bytes of {digest}")
                    yield piece
        except OSError as error:
            raise failure(error.strerror or str(error)) from error
        if not offset and hasher.digest() != digest:
            raise failure(f"the content does not match {digest}")

    return verified
