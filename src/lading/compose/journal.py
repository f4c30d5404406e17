"""The journal of notifications: where it is, that it can be kept there, and that only one registry does."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import sqlite3
import stat
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lading.compose.error import BuildError
from lading.config.models.configuration import Configuration
from lading.notify.journal import FILE, Journal, Room

log = logging.getLogger(__name__)

KEY = "notifications.journal.directory"
BESIDE_DATA = "lading/notifications"
"""Below the root directory of the filesystem driver, where no key of the registry is."""

LOCK = "lock"
LOCK_SECONDS = 10.0
"""For a registry that has just been stopped to end."""

_OVER_A_NETWORK = ("nfs", "cifs", "smb", "9p", "ceph", "lustre", "glusterfs", "afs", "fuse.")

_locks: list[int] = []
"""Kept open by all processes of this registry."""


def place(configuration: Configuration) -> Path:
    """The directory of the journal."""
    if configuration.notifications.journal.directory:
        return Path(configuration.notifications.journal.directory)
    root = configuration.storage.parameters.get("rootdirectory")
    if root and configuration.storage.driver == "filesystem":
        return Path(str(root)) / BESIDE_DATA
    # The same for a registry that is started again.
    mark = hashlib.sha256(configuration.http.addr.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"lading-notifications-{os.geteuid()}-{mark}"


def unusable(directory: Path) -> str:
    """Why this user cannot look into the journal there, in words; "" if he can."""
    try:
        (directory / FILE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return "there is no journal of notifications"
    except OSError as error:
        return f"the journal of notifications cannot be read: {error.strerror}"
    # Who may read but not write would leave files beside it that the registry cannot use.
    if not os.access(directory / FILE, os.R_OK | os.W_OK):
        return "the journal belongs to another user: run this as the registry's"
    return ""


def open_journal(configuration: Configuration, *, durable: bool) -> Journal:
    """Raises `sqlite3.Error`."""
    section = configuration.notifications.journal
    return Journal(place(configuration), Room(section.maxevents, section.maxbytes), durable=durable)


def prepare(configuration: Configuration, endpoints: Sequence[str]) -> None:
    """Make it, for these endpoints. To be called before there are processes. Raises `BuildError`."""
    directory = place(configuration)
    if directory.parent == Path(tempfile.gettempdir()):
        log.warning("%s: is not set, events wait in %s: what a reboot clears away is lost", KEY, directory)
    try:
        _make(directory)
        _refuse_networks(directory)
        _lock(directory)
        journal = open_journal(configuration, durable=True)
        try:
            forgotten = journal.prepare(endpoints)
        finally:
            journal.close()
    except OSError as error:
        raise BuildError(f"{KEY}: {directory}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise BuildError(f"{KEY}: {directory}: {error}") from None
    for name, waiting in forgotten.items():
        what = "endpoint %s is not configured any more: %d events that waited for it are given up"
        log.warning(what, name, waiting)


def _make(directory: Path) -> None:
    """Such that it outlives a power cut. Raises `OSError`, `BuildError`."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(0o700 if each == directory else 0o777, exist_ok=True)
        descriptor = os.open(each.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    found = directory.lstat()
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    if directory.parent == Path(tempfile.gettempdir()) and not mine:
        raise BuildError(f"{KEY}: {directory}: belongs to somebody else")


def _refuse_networks(directory: Path) -> None:
    """SQLite's shared memory and locks are those of one machine. Raises `BuildError`, `OSError`."""
    device = directory.stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    for fields in _mounts():
        # "36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw": proc(5)
        kind = fields[fields.index("-") + 1]
        if fields[2] == name and kind.startswith(_OVER_A_NETWORK):
            raise BuildError(f"{KEY}: {directory}: must be on a disk of this machine, not on {kind}")


def _mounts() -> list[list[str]]:
    try:
        return [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    except OSError:
        return []


def _lock(directory: Path) -> None:
    """Raises `BuildError`, `OSError`."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise BuildError(f"{KEY}: {directory}: another registry keeps its events there") from None
            time.sleep(0.1)
        else:
            _locks.append(descriptor)
            return
