"""Requests that look the same byte for byte, but for their credentials, are parsed once."""

from __future__ import annotations

import re
from typing import Any

MAX_BYTES = 1024
"""No longer request is remembered; credentials do not count."""

MAX_ENTRIES = 512

_END = b"\r\n\r\n"

_CREDENTIALS = re.compile(rb"\r\n[Aa]uthorization: ([!-~](?:[ -~]{0,4094}[!-~])?)(?=\r\n)")
"""As clients write the line. In any other form the request is parsed."""


class Heads:
    """Whole requests without a body, each with what the parser has found in it. The oldest give way."""

    def __init__(self) -> None:
        self._found: dict[bytes, dict[str, Any]] = {}

    def get(self, data: bytes) -> dict[str, Any] | None:
        """The part of an ASGI scope that is in the request."""
        found = self._found.get(data)
        if found is not None:
            return found
        shown = _CREDENTIALS.search(data)
        if shown is None or (found := self._found.get(_without(data, shown))) is None:
            return None
        return {**found, "headers": [*found["headers"], (b"authorization", shown[1])]}

    def put(self, data: bytes, found: dict[str, Any]) -> None:
        """To be called for one GET or HEAD that keeps the connection, and expects nothing, alone in `data`."""
        # Each client has its own token: what is kept serves all of them, and holds none.
        if (shown := _CREDENTIALS.search(data)) is not None:
            headers = list(found["headers"])
            headers.remove((b"authorization", shown[1]))
            data, found = _without(data, shown), {**found, "headers": headers}
        if len(data) > MAX_BYTES or data.find(_END) != len(data) - len(_END):
            return
        if any(name in {b"authorization", b"cookie"} for name, _ in found["headers"]):
            return
        if len(self._found) >= MAX_ENTRIES:
            del self._found[next(iter(self._found))]
        self._found[data] = found


def _without(data: bytes, shown: re.Match[bytes]) -> bytes:
    return data[: shown.start()] + data[shown.end() :]
