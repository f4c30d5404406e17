"""The directory of a disk cache. What is called here may wait for the disk, but `look`.

    index           see index.py
    lock            held shared by each process that uses the directory, alone by one that repairs it
    incoming/       content on its way, each file locked by who writes it
    blobs/<aa>/     verified content, under its digest

No entry is believed without its file: where that is not the very file that was verified, in this run of the
machine, it is hashed again. So nothing that a crash leaves behind is ever served.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

from lading.oci.digest import Digest
from lading.storage.wrappers.diskcache.index import Index

log = logging.getLogger(__name__)

PIECE_BYTES = 1024 * 1024

FAILURES = (OSError, sqlite3.Error)


class Held(NamedTuple):
    """A file that was found. It is to be closed."""

    descriptor: int
    path: str
    size: int
    seen: str
    identity: str
    """That of the file; where it is not `seen`, the content has to be verified."""


class Files:
    """Raises `OSError` or `sqlite3.Error`. One process at a time finds it in need of repair, and repairs it."""

    def __init__(self, directory: str, size: int) -> None:
        self._directory = directory
        self._size = size
        for name in ("", "incoming", "blobs"):
            os.makedirs(os.path.join(directory, name), mode=0o700, exist_ok=True)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            self._boot = file.read().strip()
        self._lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(self._lock, fcntl.LOCK_SH)  # returns when who repairs it has done so
                self._index = Index(os.path.join(directory, "index"))
            else:
                self._index = self._repaired()
                fcntl.flock(self._lock, fcntl.LOCK_SH)
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        self._index.close()
        os.close(self._lock)

    def look(self, digest: Digest) -> Held | None:
        """The file of a blob, if there is one."""
        entry = self._index.find(digest)
        if entry is None:
            return None
        path = self._path(digest)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return Held(-1, path, entry.size, entry.identity, "")
        return Held(descriptor, path, entry.size, entry.identity, self._identity(descriptor))

    def verify(self, digest: Digest, held: Held) -> bool:
        """Hash the file, and believe it from now on if it is right."""
        if held.descriptor < 0 or os.fstat(held.descriptor).st_size != held.size:
            return False
        running = hashlib.new(digest.algorithm)
        offset = 0
        while piece := os.pread(held.descriptor, PIECE_BYTES, offset):
            running.update(piece)
            offset += len(piece)
        right = running.hexdigest() == digest.encoded and self._identity(held.descriptor) == held.identity
        if right:
            self._index.verified(digest, held.seen, held.identity)
        return right

    def drop(self, digest: Digest, seen: str) -> bool:
        return self._index.drop(digest, seen, self._remove)

    def touch(self, used: Mapping[str, float]) -> None:
        self._index.touch(used)

    def begin(self, digest: Digest, size: int) -> Incoming | None:
        """None where it does not fit, or somebody is at it already."""
        if size > self._size:
            return None
        path = os.path.join(self._directory, "incoming", digest.replace(":", "-"))
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                os.ftruncate(descriptor, 0)
                return Incoming(self, digest, size, descriptor, path)
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def keep(self, digest: Digest, size: int, descriptor: int, path: str) -> int:
        """Returns how many others had to go."""
        target = self._path(digest)

        def place() -> str:
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            os.rename(path, target)
            return self._identity(descriptor)

        return self._index.keep(digest, size, time.time(), self._size, place, self._remove)

    def _repaired(self) -> Index:
        """To be called while nobody else is there."""
        shutil.rmtree(os.path.join(self._directory, "incoming"))
        os.mkdir(os.path.join(self._directory, "incoming"), 0o700)
        path = os.path.join(self._directory, "index")
        try:
            index = Index(path)
            index.check()
            index.evict(self._size, self._remove)
        except sqlite3.DatabaseError as error:
            log.warning(
                "disk cache: the index in %s is damaged, the cache begins anew: %s", self._directory, error
            )
            for name in (path, f"{path}-wal", f"{path}-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)
            index = Index(path)
        known = {self._path(Digest(digest)) for digest in index.digests()}
        for folder, _, names in os.walk(os.path.join(self._directory, "blobs")):
            for name in names:
                if (stray := os.path.join(folder, name)) not in known:
                    os.unlink(stray)
        return index

    def _path(self, digest: str) -> str:
        algorithm, _, encoded = digest.partition(":")
        return f"{self._directory}/blobs/{encoded[:2]}/{algorithm}-{encoded}"

    def _remove(self, digest: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(digest))

    def _identity(self, descriptor: int) -> str:
        """Changes whenever somebody writes to the file, and with each start of the machine."""
        of = os.fstat(descriptor)
        return f"{of.st_ino}:{of.st_size}:{of.st_mtime_ns}:{of.st_ctime_ns}:{self._boot}"


class Incoming:
    """Content on its way. One thread at a time works on it; after an error, or the end, calls do nothing."""

    def __init__(self, files: Files, digest: Digest, size: int, descriptor: int, path: str) -> None:
        self.position = 0
        """How much was handed over, in bytes."""
        self._files = files
        self._digest = digest
        self._size = size
        self._descriptor = descriptor
        self._path = path
        self._hash = hashlib.new(digest.algorithm)
        self._lock = threading.Lock()

    def write(self, data: bytes) -> int | None:
        """None while there is more to come; else it is kept, and so many others had to go.

        Raises `OSError`, `sqlite3.Error`, or `ValueError` for the wrong content; then it is over.
        """
        with self._lock:
            if self._descriptor < 0:
                return None
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(self._descriptor, view) :]
                self._hash.update(data)
                self.position += len(data)
                if self.position < self._size:
                    return None
                if self.position > self._size or self._hash.hexdigest() != self._digest.encoded:
                    raise ValueError(f"the storage's content of {self._digest} is not of this digest")
                gone = self._files.keep(self._digest, self._size, self._descriptor, self._path)
            except BaseException:
                self._end()
                raise
            os.close(self._descriptor)
            self._descriptor = -1
            return gone

    def abandon(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            os.close(self._descriptor)
            self._descriptor = -1
