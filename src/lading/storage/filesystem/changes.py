"""Changes to the tree, made so that neither a crash nor a power cut ever leaves half of one.

Everything here waits for the disk: it is called in threads. Paths are absolute.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterable, Sequence

ATTEMPTS = 100
"""How often a race with a concurrent delete may be lost before it counts as a failure."""

Objects = Sequence[tuple[str, bytes]]
"""Paths, and what is to be there."""


def put(path: str, data: bytes, *, durable: bool) -> None:
    """All or nothing, replacing what is there."""
    for attempt in range(ATTEMPTS):
        try:
            _put_once(path, data, durable=durable)
            return
        except FileNotFoundError:
            # A concurrent delete took the directory with our file in it: as if it had come before.
            if attempt == ATTEMPTS - 1:
                raise


def put_all(stages: Sequence[Objects]) -> None:
    """Each object all or nothing, durable; one of a later stage appears when those before it are durable."""
    for attempt in range(ATTEMPTS):
        try:
            with contextlib.closing(_Placing(stages)) as placing:
                placing.sync()
                placing.appear()
            return
        except FileNotFoundError:
            if attempt == ATTEMPTS - 1:
                raise


def place(descriptor: int, source: str, target: str, objects: Objects) -> None:
    """Rename the file, which is open and written in full, and put the objects as soon as it is durable there.

    Raises `FileNotFoundError` where the source is gone.
    """
    with contextlib.closing(_Placing([objects])) as placing:
        placing.changed |= make_directories(os.path.dirname(target))
        os.fsync(descriptor)
        placing.sync()
        move(source, target)
        with contextlib.suppress(FileNotFoundError):
            placing.appear()
            return
    put_all([objects])


def move(source: str, target: str) -> None:
    changed: set[str] = set()
    for attempt in range(ATTEMPTS):
        try:
            os.replace(source, target)
            break
        except FileNotFoundError:
            if attempt == ATTEMPTS - 1 or not os.path.lexists(source):
                raise
            changed |= make_directories(os.path.dirname(target))
    sync_directories([os.path.dirname(target), *changed])


def delete(path: str) -> None:
    """A file, or a directory with all below it."""
    try:
        os.unlink(path)
    except IsADirectoryError:
        for attempt in range(ATTEMPTS):
            try:
                _delete_directory(path)
                return
            except OSError as error:
                # Somebody is still making files in it.
                if error.errno != errno.ENOTEMPTY or attempt == ATTEMPTS - 1:
                    raise


def create(path: str) -> tuple[int, set[str]]:
    """Opens for writing, made with its parents where missing, and the directories that thereby changed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    changed: set[str] = set()
    for attempt in range(ATTEMPTS):
        try:
            return os.open(path, flags, 0o666), changed
        except FileNotFoundError:
            # Again, because a concurrent delete may take away what was just made.
            if attempt == ATTEMPTS - 1:
                raise
            changed |= make_directories(os.path.dirname(path))
    raise AssertionError("unreachable")


def make_directories(path: str) -> set[str]:
    """The directories that got a new entry."""
    missing: list[str] = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    changed = set()
    for directory in reversed(missing):
        # What exists was made meanwhile; where the parent is gone again, the caller tries once more.
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.mkdir(directory, 0o777)
            changed.add(os.path.dirname(directory))
    return changed


def sync_directories(paths: Iterable[str]) -> None:
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


class _Placing:
    """Objects that lie beside their places under temporary names.

    All are written before the first is synced, so that a journal takes them in together: the disk is waited for
    three times (content, first stage, second stage), however many objects there are.
    """

    def __init__(self, stages: Sequence[Objects]) -> None:
        self.changed: set[str] = set()
        """Directories that got a directory."""
        self._descriptors: list[int] = []
        self._stages: list[list[tuple[str, str]]] = []
        """For each stage: the temporary name, empty for what is there already, and the path."""
        try:
            for objects in stages:
                self._stages.append([])
                for path, data in objects:
                    self._stages[-1].append((self._write(path, data), path))
        except BaseException:
            self.close()
            raise

    def _write(self, path: str, data: bytes) -> str:
        if (descriptor := _holding(path, data)) is not None:
            self._descriptors.append(descriptor)
            return ""
        temporary = _temporary(path)
        descriptor, changed = create(temporary)
        self._descriptors.append(descriptor)
        self.changed |= changed
        try:
            _write(descriptor, data)
        except OSError:
            os.unlink(temporary)
            raise
        return temporary

    def sync(self) -> None:
        for descriptor in self._descriptors:
            os.fsync(descriptor)
        sync_directories(self.changed)

    def appear(self) -> None:
        while self._stages:
            stage = self._stages[0]
            directories = dict.fromkeys(os.path.dirname(path) for _, path in stage)
            while stage:
                temporary, path = stage[0]
                if temporary:
                    os.replace(temporary, path)
                stage.pop(0)
            # Also of what was there: who has put it may not have come to that yet.
            sync_directories(directories)
            self._stages.pop(0)

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        for stage in self._stages:
            for temporary, _ in stage:
                if temporary:
                    with contextlib.suppress(OSError):
                        os.unlink(temporary)


def _put_once(path: str, data: bytes, *, durable: bool) -> None:
    temporary = _temporary(path)
    descriptor, changed = create(temporary)
    try:
        try:
            _write(descriptor, data)
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
        sync_directories([os.path.dirname(path), *changed])


def _temporary(path: str) -> str:
    return f"{path}.{uuid.uuid4().hex}.tmp"


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _holding(path: str, data: bytes) -> int | None:
    """The descriptor of the file, if it holds exactly this."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.read(descriptor, len(data) + 1) == data:
            return descriptor
    except OSError:
        pass  # a directory, or damaged: replacing it shows
    os.close(descriptor)
    return None


def _delete_directory(path: str) -> None:
    """As `shutil.rmtree`, in half the time. What somebody else deletes meanwhile is no error."""
    with contextlib.suppress(FileNotFoundError):
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    _delete_directory(entry.path)
                else:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(entry.path)
        os.rmdir(path)
