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

_MAX_SETTLED = 8192

_settled: dict[str, tuple[int, int]] = {}
"""Directories that this process knows to survive a power cut, with all above them: device and inode of each.

Who finds a directory cannot see whether who made it has come to sync its entry. So does everybody, once.
"""


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


def put_all(stages: Sequence[Objects], upon: Sequence[str] = ()) -> None:
    """Each object all or nothing, durable; one of a later stage appears when those before it are durable.

    First of all the files `upon` are made durable where they are. Raises `FileNotFoundError` where one is not.
    """
    if upon:
        for path in upon:
            os.stat(path)
        folders = dict.fromkeys(map(os.path.dirname, upon))
        settle(folders)
        sync_directories(folders)
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
        folder = os.path.dirname(target)
        make_directories(folder)
        os.fsync(descriptor)
        placing.sync(folder)
        check_same(descriptor, source)
        move(source, target)
        with contextlib.suppress(FileNotFoundError):
            placing.appear()
            return
    put_all([objects])


def is_at(descriptor: int, path: str) -> bool:
    """Whether what is open was not deleted: there may be another at its path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def check_same(descriptor: int, path: str) -> None:
    """Raises `FileNotFoundError` where the open file was deleted."""
    if not is_at(descriptor, path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def move(source: str, target: str) -> None:
    folder = os.path.dirname(target)
    for attempt in range(ATTEMPTS):
        try:
            os.replace(source, target)
            break
        except FileNotFoundError:
            if attempt == ATTEMPTS - 1 or not os.path.lexists(source):
                raise
            make_directories(folder)
    settle([folder])
    sync_directories([folder])
    with contextlib.suppress(OSError):  # something else lies there, or already anew
        os.rmdir(os.path.dirname(source))


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


def prune(path: str) -> None:
    """The directory and those below it, as far as they are empty."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        with os.scandir(path) as entries:
            inner = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        for directory in inner:
            prune(directory)
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        else:
            _settled.pop(path, None)


def create(path: str) -> int:
    """Opens for writing, made with its parents where missing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    for attempt in range(ATTEMPTS):
        try:
            return os.open(path, flags, 0o666)
        except FileNotFoundError:
            # Again, because a concurrent delete may take away what was just made.
            if attempt == ATTEMPTS - 1:
                raise
            make_directories(os.path.dirname(path))
    raise AssertionError("unreachable")


def make_directories(path: str) -> None:
    """Those that are missing. They are durable when they are settled."""
    missing: list[str] = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        # What exists was made meanwhile; where the parent is gone again, the caller tries once more.
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            # A new one may get the inode of one that was deleted.
            _settled.pop(directory, None)
            os.mkdir(directory, 0o777)
            _settled.pop(directory, None)


def settle(directories: Iterable[str]) -> None:
    """Make these directories durable, and all above them, whoever has made them."""
    pending: dict[str, tuple[int, int]] = {}
    for lowest in directories:
        directory, device = lowest, -1
        while directory not in pending:
            try:
                found = os.stat(directory)
            except FileNotFoundError:
                break  # deleted meanwhile, with what it was to hold
            mark = found.st_dev, found.st_ino
            if device not in (-1, found.st_dev) or _settled.get(directory) == mark:
                break
            device = found.st_dev
            pending[directory] = mark
            directory = os.path.dirname(directory)
    if not pending:
        return
    for parent in dict.fromkeys(map(os.path.dirname, pending)):
        with contextlib.suppress(PermissionError):  # above the root, where nothing of ours is made
            sync_directories([parent])
    if len(_settled) > _MAX_SETTLED:
        _settled.clear()
    _settled.update(pending)


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
        descriptor = create(temporary)
        self._descriptors.append(descriptor)
        try:
            _write(descriptor, data)
        except OSError:
            os.unlink(temporary)
            raise
        return temporary

    def sync(self, *folders: str) -> None:
        """Of `folders` too there will be need."""
        for descriptor in self._descriptors:
            os.fsync(descriptor)
        settle(dict.fromkeys([*folders, *(os.path.dirname(path) for stage in self._stages for _, path in stage)]))

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
    temporary, folder = _temporary(path), os.path.dirname(path)
    descriptor = create(temporary)
    try:
        try:
            _write(descriptor, data)
            if durable:
                os.fsync(descriptor)
                settle([folder])
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if durable:
        sync_directories([folder])


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
        _settled.pop(path, None)
