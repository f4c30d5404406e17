"""Blobs on their way, in the temporary directory: for storages that cannot show what is still being written."""

from __future__ import annotations

import os
import tempfile

from lading.registry.ports import StorageError


class FileSpool:
    """See `lading.registry.upstream.Spool`. The file has no name, and goes with the process at the latest."""

    def __init__(self) -> None:
        """Raises `StorageError`."""
        try:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  closed by whoever reads it last
        except OSError as error:
            raise _failed(error) from error

    def append(self, piece: bytes) -> None:
        view = memoryview(piece)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise _failed(error) from error

    def read(self, offset: int, limit: int) -> bytes:
        try:
            return os.pread(self._file.fileno(), limit, offset)
        except OSError as error:
            raise _failed(error) from error

    def close(self) -> None:
        self._file.close()


def _failed(error: OSError) -> StorageError:
    return StorageError("spool", f"{error.strerror}: the temporary directory")
