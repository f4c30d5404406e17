"""What a client of HTTP/2 may do, and how often."""

from __future__ import annotations

from lading.server.http2_exchange import STREAM_WINDOW

MAX_STREAMS = 128
"""Requests of a connection at a time, those among them whose client has lost interest."""

MAX_HEAD_BYTES = 64 * 1024
"""The fields of a request, as RFC 9113 counts them, and as they come."""

FRAME_BYTES = 1024 * 1024
"""The largest frame that is taken."""

MAX_SENT_FRAME_BYTES = 256 * 1024
"""The largest frame that is sent, to a client that takes it."""

CONNECTION_BYTES = 8 * STREAM_WINDOW
"""So much may wait for the application in all streams, before all are held back and not only the slow ones."""

MAX_CHORES = 1000
"""Resets, pings, settings and the like in a second; a client with more is up to no good."""

MAX_DISCARDED_BYTES = 16 * 1024 * 1024
"""What is read from a client after the connection has failed."""

LINGER_SECONDS = 2.0
"""How long such a client may take to notice."""


class Chores:
    """Counts what costs a client little and the server more, second by second."""

    def __init__(self) -> None:
        self._count = 0
        self._second = 0.0

    def too_many(self, now: float) -> bool:
        """One more at `now`."""
        if now != self._second:
            self._count, self._second = 0, now
        self._count += 1
        return self._count > MAX_CHORES
