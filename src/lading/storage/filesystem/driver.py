"""The `filesystem` driver: keys are paths below a root directory, on a local disk or a shared mount.

Everything becomes visible by one rename, so that neither a reader nor a crash ever meets half an object.
Calls that take microseconds from the page cache run in the event loop; whatever waits for the disk (fsync,
large reads and writes, listings) runs in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import struct
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from lading.registry.ports import (
    BusyError,
    InvalidOffsetError,
    Objects,
    PathNotFoundError,
    Stat,
    Steps,
    StorageError,
    StorageFullError,
    Traits,
    check_key,
    delete_each,
    run_steps,
    walk_tree,
)
from lading.storage.filesystem import changes
from lading.storage.filesystem.listings import NOT_FOUND, Listings, page

P = ParamSpec("P")
T = TypeVar("T")

DRIVER = "filesystem"

INLINE_BYTES = 128 * 1024
"""Transfers up to this size run in the event loop: a hop to a thread costs as much as copying 0.5 MiB."""

INLINE_NAMES = 256
"""Up to so many names are looked up in the event loop: 1 µs each."""

LINK_BYTES = 4096
"""What is read of a small object at once: all of a link, most manifests."""

HOLD_SECONDS = 0.005
"""How often somebody who waits for a directory looks again: waiting in a thread could not be cancelled."""

PATIENCE_SECONDS = 0.5
"""Who has waited so long to hold a directory alone makes those stand back who come to share it."""

YIELD_SECONDS = 10.0
"""For so long they do."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_MAX_VECTORS = 512
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _StorageErrors:
    """Only the port's errors leave the driver, and none of them tells where the root directory is.

    A class, because a generator-based context manager costs 1 µs more on every call.
    """

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            raise _translated(self._key, error) from error


def _translated(key: str, error: OSError) -> StorageError:
    if error.errno in NOT_FOUND:
        return PathNotFoundError(DRIVER, key)
    if error.errno in _FULL:
        return StorageFullError(DRIVER, f"{error.strerror}: {key}")
    return StorageError(DRIVER, f"{error.strerror or type(error).__name__}: {key}")


class FilesystemStorage:
    """See `lading.registry.ports.Storage`. `threads` bounds the calls that wait for the disk at once."""

    name = DRIVER
    traits = Traits(shared=True, renames=True, grows=True)

    def __init__(self, root: str, threads: int = 100) -> None:
        self._root = os.path.abspath(root)
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=DRIVER)
        self._listings = Listings()

    async def stat(self, key: str) -> Stat:
        try:
            status = os.stat(self._root if key == "/" else self._root + check_key(DRIVER, key))
        except OSError as error:
            raise _translated(key, error) from error
        is_directory = _is_directory(status)
        return Stat(0 if is_directory else status.st_size, status.st_mtime, is_directory)

    async def get(self, key: str) -> bytes:
        path = self._path(key)
        try:
            descriptor = os.open(path, _READ_FLAGS)
            try:
                data = os.read(descriptor, LINK_BYTES)
                if len(data) < LINK_BYTES:
                    return data
                left = os.fstat(descriptor).st_size - len(data)
                if left > INLINE_BYTES:
                    return data + await self._in_thread(_read, os.dup(descriptor), left)
                return data + os.read(descriptor, left)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _translated(key, error) from error

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        path = self._path(key)
        with _StorageErrors(key):
            if durable or len(data) > INLINE_BYTES:
                await self._in_thread(changes.put, path, data, durable=durable)
            else:
                changes.put(path, data, durable=durable)

    async def put_all(self, *stages: Objects, upon: Sequence[str] = ()) -> None:
        placed = [[(self._path(key), data) for key, data in objects.items()] for objects in stages]
        there = [self._path(key) for key in upon]
        with _StorageErrors(next((key for keys in (upon, *stages) for key in keys), "/")):
            # Whoever holds a directory around this lets go of it only when nothing changes any more.
            await _to_the_end(self._threads, lambda: changes.put_all(placed, there))

    async def open(self, key: str, offset: int = 0) -> FileReader:
        if offset < 0:
            raise InvalidOffsetError(DRIVER, key, offset)
        path = self._path(key)
        try:
            descriptor = os.open(path, _READ_FLAGS)
        except OSError as error:
            raise _translated(key, error) from error
        status = os.fstat(descriptor)
        if _is_directory(status):
            os.close(descriptor)
            raise StorageError(DRIVER, f"is a directory: {key}")
        return FileReader(self._threads, descriptor, key, path, status.st_size, offset)

    async def writer(self, key: str, *, append: bool) -> FileWriter:
        path = self._path(key)
        with _StorageErrors(key):
            descriptor = _open_exclusively(path, key)
            try:
                if append:
                    size = os.lseek(descriptor, 0, os.SEEK_END)
                else:
                    os.ftruncate(descriptor, 0)
                    size = 0
            except OSError:
                os.close(descriptor)
                raise
        return FileWriter(self._threads, descriptor, self._root, key, size)

    async def move(self, source: str, target: str, *, may_stay: bool = False) -> None:  # noqa: ARG002
        source_path, target_path = self._path(source), self._path(target)
        with _StorageErrors(source):
            await self._in_thread(changes.move, source_path, target_path)

    async def delete(self, key: str, *, if_empty: bool = False) -> None:
        path = self._path(key)
        with _StorageErrors(key):
            await self._in_thread(changes.prune if if_empty else changes.delete, path)

    async def delete_all(self, keys: Sequence[str]) -> None:
        await delete_each(self, keys)

    def walk(self, key: str) -> AsyncIterator[tuple[str, Stat | None]]:
        return walk_tree(self, check_key(DRIVER, key))

    async def list(
        self, key: str, *, after: str = "", limit: int | None = None, holding: str = ""
    ) -> Sequence[str]:
        path = self._root if key == "/" else self._path(key)
        if holding:
            check_key(DRIVER, f"/-/{holding}")
        try:
            with _StorageErrors(key):
                if limit is not None and limit <= INLINE_NAMES:
                    known = self._listings.remembered(path)
                    if known is not None:
                        return page(path, known, after, limit, holding)
                return await self._in_thread(self._listings.page, path, after, limit, holding)
        except PathNotFoundError:
            if key == "/":
                return []
            raise

    async def explore(self, steps: Steps[T]) -> T:
        return await self._in_thread(run_steps, steps, self._names)

    def _names(self, key: str) -> Sequence[str]:
        path = self._path(key)
        try:
            return self._listings.get(path).names()
        except OSError as error:
            if error.errno in NOT_FOUND:
                return []
            raise _translated(key, error) from error

    @contextlib.asynccontextmanager
    async def hold(self, key: str, *, shared: bool) -> AsyncIterator[None]:
        path = self._path(key)
        descriptor = await self._directory(path, key)
        try:
            since = time.monotonic()
            while True:
                waited = time.monotonic() - since
                with _StorageErrors(key):
                    yields = shared and waited < YIELD_SECONDS and _somebody_waits(descriptor)
                    locked = not yields and _lock(descriptor, shared=shared)
                    if locked and changes.is_at(descriptor, path):
                        break
                if locked:
                    # Whoever held it before has removed it: others hold the one that is there now.
                    os.close(descriptor)
                    descriptor = -1
                    descriptor = await self._directory(path, key)
                    continue
                if not shared and waited > PATIENCE_SECONDS:
                    _say_that_we_wait(descriptor)
                await asyncio.sleep(HOLD_SECONDS)
            yield
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    async def _directory(self, path: str, key: str) -> int:
        """Open; made where it is missing."""
        with _StorageErrors(key):
            try:
                return os.open(path, _DIRECTORY)
            except FileNotFoundError:
                return await self._in_thread(_make_and_open, path)

    async def redirect(self, key: str, method: str, client: str = "") -> str | None:  # noqa: ARG002
        check_key(DRIVER, key)
        return None

    def _path(self, key: str) -> str:
        return self._root + check_key(DRIVER, key)

    async def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: call(*args, **kwargs))


class FileReader:
    """See `lading.registry.ports.Reader`."""

    __slots__ = ("_descriptor", "_key", "_offset", "_threads", "path", "size")

    def __init__(
        self, threads: ThreadPoolExecutor, descriptor: int, key: str, path: str, size: int, offset: int
    ) -> None:
        self.size = size
        self.path: str | None = path
        self._threads = threads
        self._descriptor = descriptor
        self._key = key
        self._offset = offset

    def fileno(self) -> int:
        return self._descriptor

    async def read(self, limit: int) -> bytes:
        if self._descriptor < 0:
            raise StorageError(DRIVER, f"already closed: {self._key}")
        limit = min(limit, self.size - self._offset)
        if limit <= 0:
            return b""
        try:
            if limit <= INLINE_BYTES:
                data = os.pread(self._descriptor, limit, self._offset)
            else:
                data = await self._read_in_thread(limit)
        except OSError as error:
            raise _translated(self._key, error) from error
        self._offset += len(data)
        return data

    def seek(self, offset: int) -> None:
        self._offset = offset

    async def _read_in_thread(self, limit: int) -> bytes:
        # A descriptor of its own: a request that is cancelled closes ours while the thread still reads.
        descriptor = os.dup(self._descriptor)

        def read() -> bytes:
            try:
                return os.pread(descriptor, limit, self._offset)
            finally:
                os.close(descriptor)

        return await asyncio.get_running_loop().run_in_executor(self._threads, read)

    async def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class FileWriter:
    """See `lading.registry.ports.Writer`. The key is held by an exclusive lock on the open file."""

    def __init__(self, threads: ThreadPoolExecutor, descriptor: int, root: str, key: str, size: int) -> None:
        self.size = size
        self._threads = threads
        self._descriptor = descriptor
        self._root = root
        self._key = key
        self._path = root + key
        self._ended = ""

    async def write(self, chunks: Sequence[bytes], also: Callable[[bytes], None] | None = None) -> None:
        self._check_open()
        with _StorageErrors(self._key):
            if sum(map(len, chunks)) <= (INLINE_BYTES if also is None else INLINE_BYTES // 2):
                self._write(chunks, also)
            else:
                await self._in_thread(lambda: self._write(chunks, also))

    async def close(self) -> None:
        if not self._ended:
            await self._end("closed", self._sync)

    async def commit(
        self, target: str | None = None, then: Objects | None = None, remove: str | None = None
    ) -> None:
        self._check_open()
        removed = None if remove is None else self._root + check_key(DRIVER, remove)
        target_path = None if target is None else self._root + check_key(DRIVER, target)
        placed = [(self._root + check_key(DRIVER, key), data) for key, data in (then or {}).items()]

        def commit() -> None:
            if target_path is None:
                self._sync()
                changes.put_all([placed])
            else:
                changes.place(self._descriptor, self._path, target_path, placed)
            if removed is not None:
                with contextlib.suppress(FileNotFoundError):
                    changes.delete(removed)

        await self._end("committed", commit)

    async def cancel(self) -> None:
        self._check_open()

        def remove() -> None:
            with contextlib.suppress(FileNotFoundError):
                changes.check_same(self._descriptor, self._path)
                os.unlink(self._path)

        await self._end("cancelled", remove)

    def _check_open(self) -> None:
        if self._ended:
            raise StorageError(DRIVER, f"already {self._ended}: {self._key}")

    def _write(self, chunks: Sequence[bytes], also: Callable[[bytes], None] | None) -> None:
        if also is None:
            self._append(chunks)
            return
        for chunk in chunks:
            # One after the other, so that what was just hashed or copied is still in the processor's cache.
            self._append([chunk])
            also(chunk)

    def _append(self, chunks: Sequence[bytes]) -> None:
        left = [memoryview(chunk) for chunk in chunks if chunk]
        while left:
            written = os.writev(self._descriptor, left[:_MAX_VECTORS])
            self.size += written
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if written:
                left[0] = left[0][written:]

    def _sync(self) -> None:
        os.fsync(self._descriptor)

    async def _end(self, how: str, last: Callable[[], None]) -> None:
        self._ended = how

        def end() -> None:
            try:
                last()
            finally:
                os.close(self._descriptor)  # lets go of the lock

        with _StorageErrors(self._key):
            await self._in_thread(end)

    async def _in_thread(self, call: Callable[[], None]) -> None:
        # A cancelled request must not run on while a thread still uses the descriptor.
        await _to_the_end(self._threads, call)


async def _to_the_end(threads: ThreadPoolExecutor, call: Callable[[], None]) -> None:
    """Call it in a thread. Who is cancelled meanwhile waits for it all the same."""
    future = asyncio.get_running_loop().run_in_executor(threads, call)
    try:
        await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


def _lock(descriptor: int, *, shared: bool) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _say_that_we_wait(descriptor: int) -> None:
    """By a lock beside the lock proper; for fairness alone, so that a file system may be without."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _beside(fcntl.F_RDLCK))


def _somebody_waits(descriptor: int) -> bool:
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _beside(fcntl.F_WRLCK))
    except OSError:
        return False
    return bool(struct.unpack_from("h", found)[0] != fcntl.F_UNLCK)


def _beside(kind: int) -> bytes:
    """`struct flock`, of a whole file."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)


def _is_directory(status: os.stat_result) -> bool:
    return status.st_mode & 0o170000 == 0o040000


def _make_and_open(path: str) -> int:
    for attempt in range(changes.ATTEMPTS):
        changes.make_directories(path)
        changes.settle([path])
        try:
            return os.open(path, _DIRECTORY)
        except FileNotFoundError:
            if attempt == changes.ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _read(descriptor: int, size: int) -> bytes:
    """Closes the descriptor."""
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def _open_exclusively(path: str, key: str) -> int:
    """Raises `BusyError` while another writer, in this process or another, has the file open."""
    for _ in range(changes.ATTEMPTS):
        descriptor = changes.create(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between open and lock the last writer may have moved the file away: then this is not ours.
            if changes.is_at(descriptor, path):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise BusyError(DRIVER, f"another writer is active: {key}") from None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise BusyError(DRIVER, f"another writer is active: {key}")
