"""What the storage has said lately.

Requests that only read may believe it, where to ask is a request of its own.
"""

from __future__ import annotations

import secrets
import time
from typing import NamedTuple

_WORD = 8


class Moment(NamedTuple):
    """When something was asked."""

    time: float
    deletions: bytes


_NEVER = Moment(0.0, b"")


class Trust:
    """Ends after some seconds, and when any process that shares `deletions` has deleted something.

    None is believed for 0 seconds.
    """

    def __init__(self, seconds: float = 0.0, deletions: memoryview | None = None) -> None:
        self._seconds = seconds
        self._deletions = memoryview(bytearray(_WORD)) if deletions is None else deletions

    def __bool__(self) -> bool:
        """Whether anything is believed at all."""
        return self._seconds > 0

    @property
    def now(self) -> Moment:
        """To be taken before the storage is asked."""
        if not self:
            return _NEVER
        return Moment(time.monotonic(), bytes(self._deletions[:_WORD]))

    def covers(self, moment: Moment) -> bool:
        now = self.now
        return bool(self) and now.time - moment.time < self._seconds and now.deletions == moment.deletions

    def end(self) -> None:
        """Of all that was asked before. To be called when something has been deleted."""
        # No counter: two processes might count to the same number.
        self._deletions[:_WORD] = secrets.token_bytes(_WORD)
