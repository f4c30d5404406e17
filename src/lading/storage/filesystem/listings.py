"""Names in directories: read, sorted, and remembered for as long as the directory says that it has not changed.

Why this is still asking the storage: decision 0006.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

REMEMBERED_BYTES = 32 * 1024 * 1024
"""What listings may take in a process, as `Listing.size` counts."""

SETTLED_NANOSECONDS = 2_000_000_000
"""How old the last change must be for a listing to be remembered: more than a tick of any file system's clock."""

LOCAL = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs"})
"""File systems of this machine alone: changes are stamped by its clock, and `stat` shows them at once."""

_ENTRY_BYTES = 700
"""About what a listing takes beside its text and its path: objects, stamp, place in the table."""

_COMPONENT = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_COMPONENTS = re.compile(r"(?:[A-Za-z0-9._-]+/)*", re.ASCII)
_TEMPORARY = re.compile(r".*\.[0-9a-f]{32}\.tmp", re.ASCII)

NOT_FOUND = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}

Stamp = tuple[int, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Listing:
    """Sorted names in one text, each with a slash behind it: a tenth of what as many strings take."""

    text: str

    @property
    def size(self) -> int:
        return len(self.text)

    def names(self) -> list[str]:
        return self.text.split("/")[:-1]

    def page(self, after: str, limit: int | None) -> list[str]:
        """Up to `limit` names behind `after`."""
        start = self._behind(after) if after else 0
        if limit is None:
            return self.text[start:].split("/")[:-1]
        length = 32 * limit
        while (piece := self.text[start : start + length]).count("/") < limit and start + length < len(self.text):
            length *= 2
        return piece.split("/", limit)[:-1]

    def _behind(self, after: str) -> int:
        """Where the first name behind `after` begins."""
        text, low, high = self.text, 0, len(self.text)
        while low < high:
            start = text.rfind("/", low, (low + high) // 2) + 1 or low
            end = text.index("/", start)
            if text[start:end] > after:
                high = start
            else:
                low = end + 1
        return low


class Listings:
    """All calls but `remembered` may wait for the disk. They are safe in threads, and raise `OSError`."""

    def __init__(
        self,
        limit: int = REMEMBERED_BYTES,
        local: frozenset[str] = LOCAL,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._limit = limit
        self._local = local
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[Stamp, Listing]] = OrderedDict()
        """The least recently used first."""
        self._devices: dict[int, bool] = {}
        """Whether a device holds a file system whose stamps can be relied on."""
        self.size = 0
        """Bytes of all that is remembered."""

    def remembered(self, path: str) -> Listing | None:
        """What is in the directory, if that is known without reading it: at most one `stat`."""
        return self._look_up(path, _stamp(os.stat(path))) if path in self._known else None

    def get(self, path: str) -> Listing:
        now = self._clock()
        status = os.stat(path)
        stamp = _stamp(status)
        listing = self._look_up(path, stamp)
        if listing is None:
            # Read after the stamp was taken: a change in between shows in the next stamp, seen or not.
            listing = Listing("".join(f"{name}/" for name in read(path)))
            changed = max(status.st_mtime_ns, status.st_ctime_ns)
            if now - changed > SETTLED_NANOSECONDS and self._is_local(path, status.st_dev):
                self._remember(path, stamp, listing)
        return listing

    def page(self, path: str, after: str, limit: int | None, holding: str) -> list[str]:
        return page(path, self.get(path), after, limit, holding)

    def _look_up(self, path: str, stamp: Stamp) -> Listing | None:
        with self._lock:
            found = self._known.get(path)
            if found is None:
                return None
            if found[0] == stamp:
                self._known.move_to_end(path)
                return found[1]
            self._forget(path)
            return None

    def _remember(self, path: str, stamp: Stamp, listing: Listing) -> None:
        if listing.size > self._limit // 2:
            return
        with self._lock:
            if path in self._known:
                self._forget(path)
            self._known[path] = (stamp, listing)
            self.size += _cost(path, listing)
            while self.size > self._limit:
                self._forget(next(iter(self._known)))

    def _forget(self, path: str) -> None:
        self.size -= _cost(path, self._known.pop(path)[1])

    def _is_local(self, path: str, device: int) -> bool:
        known = self._devices.get(device)
        if known is None:
            known = self._devices[device] = _file_system(path) in self._local
        return known


def read(path: str) -> list[str]:
    """What is not of our making (`lost+found`, …) cannot be a key; files on their way are not listed."""
    names: Iterable[str] = os.listdir(path)
    text = "/".join([*names, ""])
    # One look at all of them takes a tenth of a look at each, and finds nothing to leave out.
    if _COMPONENTS.fullmatch(text) is None:
        names = [name for name in names if _COMPONENT.fullmatch(name) is not None]
    if ".tmp/" in text:
        names = [name for name in names if not _is_temporary(path, name)]
    return sorted(names)


def page(path: str, listing: Listing, after: str, limit: int | None, holding: str) -> list[str]:
    """Up to `limit` names behind `after`, of those below which there is something under the path `holding`."""
    names = listing.page(after, limit)
    if not holding:
        return names
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = [name for name in names if _exists(f"{name}/{holding}", directory)]
        while names and limit is not None and len(found) < limit:
            names = listing.page(names[-1], limit)
            found += [name for name in names if _exists(f"{name}/{holding}", directory)]
        return found[:limit]
    finally:
        os.close(directory)


def _exists(path: str, directory: int) -> bool:
    # Half the time of `stat`, which alone tells what is missing from what cannot be seen.
    if os.access(path, os.F_OK, dir_fd=directory):
        return True
    try:
        os.stat(path, dir_fd=directory)
    except OSError as error:
        if error.errno in NOT_FOUND:
            return False
        raise
    return True


def _is_temporary(path: str, name: str) -> bool:
    return _TEMPORARY.fullmatch(name) is not None and not os.path.isdir(os.path.join(path, name))


def _cost(path: str, listing: Listing) -> int:
    return len(path) + listing.size + _ENTRY_BYTES


def _stamp(status: os.stat_result) -> Stamp:
    """What cannot be the same before and after a name came or went, but within one tick of the clock."""
    return (
        status.st_dev,
        status.st_ino,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_nlink,
        status.st_size,
    )


def _file_system(path: str) -> str:
    """The type of the file system a directory is on; empty where the kernel does not tell."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{descriptor}") as file:
            mount = next((line.split()[1] for line in file if line.startswith("mnt_id:")), "")
        with open("/proc/self/mountinfo") as file:
            for line in file:
                fields = line.split()
                if fields[0] == mount:
                    return fields[fields.index("-", 6) + 1]
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return ""
