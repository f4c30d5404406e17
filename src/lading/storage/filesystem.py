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
import re
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from lading.registry.ports import (
    BusyError,
    InvalidOffsetError,
    PathNotFoundError,
    Stat,
    StorageError,
    StorageFullError,
    Traits,
    check_key,
)

P = ParamSpec("P")
T = TypeVar("T")

DRIVER = "filesystem"

INLINE_BYTES = 128 * 1024
"""Transfers up to this size run in the event loop: a hop to a thread costs as much as copying 0.5 MiB."""

LINK_BYTES = 4096
"""What is read of a small object at once: all of a link, most manifests."""

HOLD_SECONDS = 0.005
"""How often somebody who waits for a directory looks again: waiting in a thread could not be cancelled."""

_COMPONENT = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_TEMPORARY = re.compile(r".*\.[0-9a-f]{32}\.tmp", re.ASCII)
_NOT_FOUND = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_MAX_VECTORS = 512
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_ATTEMPTS = 100
"""How often a race with a concurrent delete may be lost before it counts as a failure."""


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
    if error.errno in _NOT_FOUND:
        return PathNotFoundError(DRIVER, key)
    if error.errno in _FULL:
        return StorageFullError(DRIVER, f"{error.strerror}: {key}")
    return StorageError(DRIVER, f"{error.strerror or type(error).__name__}: {key}")


class FilesystemStorage:
    """See `lading.registry.ports.Storage`. `threads` bounds the calls that wait for the disk at once."""

    name = DRIVER
    traits = Traits(shared=True)

    def __init__(self, root: str, threads: int = 100) -> None:
        self._root = os.path.abspath(root)
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=DRIVER)

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
                await self._in_thread(_put, path, data, durable)
            else:
                _put(path, data, durable)

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

    async def move(self, source: str, target: str) -> None:
        source_path, target_path = self._path(source), self._path(target)
        with _StorageErrors(source):
            await self._in_thread(_move, source_path, target_path)

    async def delete(self, key: str) -> None:
        path = self._path(key)
        with _StorageErrors(key):
            await self._in_thread(_delete, path)

    async def list(self, key: str, *, after: str = "") -> AsyncIterator[str]:
        path = self._root if key == "/" else self._path(key)
        try:
            with _StorageErrors(key):
                names = await self._in_thread(_list, path, after)
        except PathNotFoundError:
            if key == "/":
                return
            raise
        for name in names:
            yield name

    @contextlib.asynccontextmanager
    async def hold(self, key: str, *, shared: bool) -> AsyncIterator[None]:
        path = self._path(key)
        with _StorageErrors(key):
            descriptor = await self._in_thread(_open_directory, path)
        try:
            while True:
                with _StorageErrors(key), contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                    break
                await asyncio.sleep(HOLD_SECONDS)
            yield
        finally:
            os.close(descriptor)

    async def redirect(self, key: str, method: str) -> str | None:  # noqa: ARG002
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

    async def write(self, chunks: Sequence[bytes]) -> None:
        self._check_open()
        with _StorageErrors(self._key):
            if sum(map(len, chunks)) <= INLINE_BYTES:
                self._write(chunks)
            else:
                await self._in_thread(lambda: self._write(chunks))

    async def close(self) -> None:
        if not self._ended:
            await self._end("closed", self._sync)

    async def commit(self, target: str | None = None) -> None:
        self._check_open()
        target_path = None if target is None else self._root + check_key(DRIVER, target)

        def commit() -> None:
            self._sync()
            if target_path is not None:
                _move(self._path, target_path)

        await self._end("committed", commit)

    async def cancel(self) -> None:
        self._check_open()

        def remove() -> None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

        await self._end("cancelled", remove)

    def _check_open(self) -> None:
        if self._ended:
            raise StorageError(DRIVER, f"already {self._ended}: {self._key}")

    def _write(self, chunks: Sequence[bytes]) -> None:
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
        # A cancelled request must not run on while a thread still uses the descriptor: wait for it first.
        future = asyncio.get_running_loop().run_in_executor(self._threads, call)
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise


def _is_directory(status: os.stat_result) -> bool:
    return status.st_mode & 0o170000 == 0o040000


def _list(path: str, after: str) -> list[str]:
    """What is not of our making (`lost+found`, …) cannot be a key; files on their way are not listed."""
    names = [name for name in os.listdir(path) if name > after and _COMPONENT.fullmatch(name) is not None]
    return sorted(
        name for name in names if _TEMPORARY.fullmatch(name) is None or os.path.isdir(os.path.join(path, name))
    )


def _open_directory(path: str) -> int:
    for attempt in range(_ATTEMPTS):
        try:
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            if attempt == _ATTEMPTS - 1:
                raise
            _sync_directories(_make_directories(path))
    raise AssertionError("unreachable")


def _read(descriptor: int, size: int) -> bytes:
    """Closes the descriptor."""
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def _put(path: str, data: bytes, durable: bool) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            _put_once(path, data, durable)
            return
        except FileNotFoundError:
            # A concurrent delete took the directory with our file in it: as if it had come before.
            if attempt == _ATTEMPTS - 1:
                raise


def _put_once(path: str, data: bytes, durable: bool) -> None:
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    descriptor, changed = _create(temporary)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if durable:
        _sync_directories([os.path.dirname(path), *changed])


def _move(source: str, target: str) -> None:
    changed: list[str] = []
    for attempt in range(_ATTEMPTS):
        try:
            os.replace(source, target)
            break
        except FileNotFoundError:
            if attempt == _ATTEMPTS - 1 or not os.path.lexists(source):
                raise
            changed += _make_directories(os.path.dirname(target))
    _sync_directories([os.path.dirname(target), *changed])


def _delete(path: str) -> None:
    try:
        os.unlink(path)
    except IsADirectoryError:
        for attempt in range(_ATTEMPTS):
            try:
                shutil.rmtree(path)
            except FileNotFoundError:
                # Somebody deletes the same tree: done when it is gone, by whomever.
                if not os.path.lexists(path):
                    return
            except OSError as error:
                if error.errno != errno.ENOTEMPTY or attempt == _ATTEMPTS - 1:
                    raise
            else:
                return


def _open_exclusively(path: str, key: str) -> int:
    """Raises `BusyError` while another writer, in this process or another, has the file open."""
    for _ in range(_ATTEMPTS):
        descriptor, _ = _create(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between open and lock the last writer may have moved the file away: then this is not ours.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise BusyError(DRIVER, f"another writer is active: {key}") from None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise BusyError(DRIVER, f"another writer is active: {key}")


def _create(path: str) -> tuple[int, list[str]]:
    """Opens for writing, made with its parents where missing, and the directories that thereby changed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    changed: list[str] = []
    for attempt in range(_ATTEMPTS):
        try:
            return os.open(path, flags, 0o666), changed
        except FileNotFoundError:
            # Again, because a concurrent delete may take away what was just made.
            if attempt == _ATTEMPTS - 1:
                raise
            changed += _make_directories(os.path.dirname(path))
    raise AssertionError("unreachable")


def _make_directories(path: str) -> list[str]:
    """The directories that got a new entry, innermost first."""
    missing: list[str] = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    changed = []
    for directory in reversed(missing):
        # What exists was made meanwhile; where the parent is gone again, the caller tries once more.
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.mkdir(directory, 0o777)
            changed.append(os.path.dirname(directory))
    return changed[::-1]


def _sync_directories(paths: list[str]) -> None:
    """A rename or a new directory survives a power cut only when the directory that names it is synced."""
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # deleted meanwhile, with what it held
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
