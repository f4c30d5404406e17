"""Files: read if they are files, and appearing whole."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO

from lading.client.download import Progress
from lading.client.errors import ClientError
from lading.client.upload import Source
from lading.oci.digest import Digest
from lading.oci.hashing import Hasher

_PART = re.compile(r"\.lading-[0-9a-f]{16}\.part")


@contextlib.contextmanager
def appearing(target: str) -> Iterator[BinaryIO]:
    """A file that takes its place when all is in it, and is gone if that fails. Its mode is that of the umask."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    descriptor, path = _begun(os.path.dirname(target))
    with open(descriptor, "wb") as file:
        try:
            yield file
            settle(file)
            os.replace(path, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            raise


def tidy(folder: str) -> None:
    """Remove what processes that were killed have left of their files; what is being written stays.

    Raises `OSError`.
    """
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if _PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError), open(entry.path, "rb") as file:
                    # Whoever writes holds the lock as long as it lives.
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)


def settle(file: BinaryIO) -> None:
    """What was written is on disk, which may take a while."""
    file.flush()
    os.fsync(file.fileno())


def write(target: str, data: bytes) -> None:
    """Raises `OSError`."""
    with appearing(target) as file:
        file.write(data)


def open_regular(path: str) -> BinaryIO:
    """To read; a pipe is not waited for. Raises `OSError`, also for what is no regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no regular file", path)
    return open(descriptor, "rb")


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
        await asyncio.to_thread(settle, file)


def _begun(folder: str) -> tuple[int, str]:
    """A new file that `tidy` leaves alone: where it was faster than the lock, there is another one."""
    while True:
        path = os.path.join(folder, f".lading-{secrets.token_hex(8)}.part")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if _locked(descriptor) and os.fstat(descriptor).st_nlink:
            return descriptor, path
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks, where `tidy` gets none either
    return True
