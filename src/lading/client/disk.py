"""Files that appear whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from lading.client.download import Progress
from lading.client.errors import ClientError
from lading.client.upload import Source
from lading.oci.digest import Digest
from lading.oci.hashing import Hasher


@contextlib.contextmanager
def appearing(target: str) -> Iterator[BinaryIO]:
    """A file that takes its place when all is in it, and is gone if that fails."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    descriptor, path = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".part-")
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(path, 0o644)
        os.replace(path, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


def write(target: str, data: bytes) -> None:
    """Raises `OSError`."""
    with appearing(target) as file:
        file.write(data)


async def receive(
    target: str, source: Source, digest: Digest, size: int, progress: Progress | None, mismatch: ClientError
) -> None:
    """A file with what `source` gives. Raises `mismatch` unless that is `size` bytes with that digest.

    Raises `OSError`, too.
    """
    hasher = Hasher(digest.algorithm)
    with appearing(target) as file:
        async with contextlib.aclosing(source(0)) as pieces:
            async for piece in pieces:
                hasher.update(piece)
                if hasher.size > size:
                    break  # or it could fill the disk
                await asyncio.to_thread(file.write, piece)
                if progress is not None:
                    progress(hasher.size, size)
        if hasher.digest() != digest or hasher.size != size:
            raise mismatch
