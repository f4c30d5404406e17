"""Who may write where, among the processes of one host: locks on files in its temporary directory.

The container knows no locks. Two hosts that write to one upload at once are found out when its parts are put
together (`chain`); see decision record 0009.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile

from lading.registry.ports import BusyError, StorageError
from lading.storage.frostfs.messages import DRIVER

_ATTEMPTS = 100


class Locks:
    """`scope` tells containers apart."""

    def __init__(self, scope: str) -> None:
        self._place = os.path.join(tempfile.gettempdir(), f"lading-frostfs-{os.getuid()}")
        self._scope = scope

    def take(self, name: str, *, shared: bool = False) -> Lock:
        """Raises `BusyError` while another has it."""
        mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        path = os.path.join(self._place, hashlib.sha256(f"{self._scope} {name}".encode()).hexdigest()[:40])
        try:
            self._make_place()
            for _ in range(_ATTEMPTS):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                try:
                    fcntl.flock(descriptor, mode)
                    # Who had it last may have removed the file between the two calls.
                    with contextlib.suppress(FileNotFoundError):
                        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                            return Lock(descriptor, path)
                except BlockingIOError:
                    os.close(descriptor)
                    break
                os.close(descriptor)
        except OSError as error:
            raise StorageError(DRIVER, f"cannot lock in {self._place}: {error.strerror}") from error
        raise BusyError(DRIVER, f"another writer is active: {name}")

    def _make_place(self) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._place, 0o700)
        if os.lstat(self._place).st_uid != os.getuid():
            raise StorageError(DRIVER, f"{self._place} belongs to another user")


class Lock:
    """Held until `release`, or the end of the process."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path

    def release(self) -> None:
        if self._descriptor < 0:
            return
        # Only who has it alone may take the file away.
        with contextlib.suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(self._path)
        os.close(self._descriptor)
        self._descriptor = -1
