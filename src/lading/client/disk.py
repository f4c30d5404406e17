"""Files that appear whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import BinaryIO


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
