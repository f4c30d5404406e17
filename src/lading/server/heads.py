"""Requests that look the same byte for byte, as those of one client do, are parsed once."""

from __future__ import annotations

from typing import Any

MAX_BYTES = 1024
"""No longer request is remembered."""

MAX_ENTRIES = 512

_END = b"\r\n\r\n"


class Heads:
    """Whole requests without a body, each with what the parser has found in it. The oldest give way."""

    def __init__(self) -> None:
        self._found: dict[bytes, dict[str, Any]] = {}

    def get(self, data: bytes) -> dict[str, Any] | None:
        """The part of an ASGI scope that is in the request."""
        return self._found.get(data)

    def put(self, data: bytes, found: dict[str, Any]) -> None:
        """To be called for one GET or HEAD that keeps the connection, and expects nothing, alone in `data`."""
        if len(data) > MAX_BYTES or data.find(_END) != len(data) - len(_END):
            return
        # Each client has its own token: seldom seen again, and not to be kept around.
        if any(name in {b"authorization", b"cookie"} for name, _ in found["headers"]):
            return
        if len(self._found) >= MAX_ENTRIES:
            del self._found[next(iter(self._found))]
        self._found[data] = found
