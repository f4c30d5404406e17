"""The access log: Apache's combined format on standard output, a line for every request."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import sys
import time
from typing import TextIO

from lading.api.request import Request

HELD_BYTES = 4096
"""Lines are written together, up to so many bytes: a pipe does not mix such a write with another worker's."""

HELD_SECONDS = 0.02
"""How long a line may wait for others."""

_SPECIAL = re.compile(r'["\\]|[^\x20-\x7e]')


class AccessLog:
    """The address is that of the socket's peer; proxies' headers are not believed.

    Lines that are held are in the stream's buffer: whoever ends the process in good order flushes the stream.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        if isinstance(self._stream, io.TextIOWrapper):
            # PYTHONUNBUFFERED, which container images like to set, would cost a system call for each line.
            self._stream.reconfigure(write_through=False)
        self._second = 0
        self._stamp = ""
        self._held = 0
        self._timer: asyncio.TimerHandle | None = None

    def write(self, request: Request, status: int, sent: int, started: float) -> None:
        scope = request.scope
        client = scope.get("client")
        target = f"{request.path}?{request.query}" if scope["query_string"] else request.path
        line = (
            f"{client[0] if client else '-'} - {_user(request)} [{self._time(started)}] "
            f'"{request.method} {_escape(target)} HTTP/{_version(scope["http_version"])}" '
            f'{status} {sent} "{_header(request, b"referer")}" "{_header(request, b"user-agent")}"\n'
        )
        if self._held + len(line) > HELD_BYTES:
            self.flush()
        self._held += len(line)
        self._stream.write(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HELD_SECONDS, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._held = 0
        with contextlib.suppress(OSError):  # a log that cannot be written is no reason to fail the request
            self._stream.flush()

    def _time(self, started: float) -> str:
        second = int(started)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second))
        return self._stamp


def _user(request: Request) -> str:
    """One word, so that the fields behind it stay where they are."""
    return _escape(request.identity.user).replace(" ", "\\u0020") or "-"


def _version(version: str) -> str:
    return version if "." in version else f"{version}.0"


def _header(request: Request, name: bytes) -> str:
    value = request.header(name)
    return _escape(value) if value else ""


def _escape(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _SPECIAL.sub(lambda match: _escaped(match[0]), text)


def _escaped(character: str) -> str:
    return f"\\{character}" if character in '"\\' else f"\\u{ord(character):04x}"
