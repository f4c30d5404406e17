"""Files that are read again when they change: no restart, and no more than one look a second."""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

_Signature = tuple[int, int, int, int]
_UNKNOWN: _Signature = (-1, -1, -1, -1)


class FileError(Exception):
    """A file cannot be used; the text names it, the line if there is one, and what is wrong."""


class Watched(Generic[T]):
    """What a file says. When it changes to something unreadable, what it said before stays in force."""

    def __init__(
        self, path: str, parse: Callable[[bytes, str], T], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`parse` is given the bytes and the path, and raises `FileError`, as this does."""
        self.path = path
        self._parse = parse
        self._clock = clock
        self._looked = clock()
        self._signature: _Signature | None = self._sign()
        self._value = parse(self._read(), path)
        _in_use.add(self)

    @property
    def value(self) -> T:
        now = self._clock()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self.look()
        return self._value

    def reload(self) -> None:
        """Read the file now, whatever its time says. An unreadable one is logged."""
        self._signature = _UNKNOWN
        self.look()

    def look(self) -> None:
        """Read the file if it has changed."""
        signature = self._sign()
        if signature == self._signature:
            return
        # Before reading: what is written meanwhile is seen at the next look.
        self._signature = signature
        try:
            self._value = self._parse(self._read(), self.path)
        except FileError as error:
            log.error("%s; what was read before stays in force", error)
            return
        log.info("%s: read again", self.path)

    def _sign(self) -> _Signature | None:
        """None where there is nothing to look at."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino

    def _read(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                return file.read()
        except OSError as error:
            raise FileError(f"{self.path}: cannot be read: {error.strerror}") from None


_in_use: weakref.WeakSet[Watched[Any]] = weakref.WeakSet()


def reload_all() -> None:
    """Read every file that this process watches now. What is unreadable is logged, and stays as it was."""
    for watched in list(_in_use):
        watched.reload()
