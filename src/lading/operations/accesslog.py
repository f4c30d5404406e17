"""The access log: Apache's combined format on standard output, a line for every request."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from typing import TextIO

from lading.api.request import Request

_SPECIAL = re.compile(r'["\\]|[^\x20-\x7e]')


class AccessLog:
    """The address is that of the socket's peer; proxies' headers are not believed."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._second = 0
        self._stamp = ""

    def write(self, request: Request, status: int, sent: int, started: float) -> None:
        scope = request.scope
        client = scope.get("client")
        query = f"?{request.query}" if scope["query_string"] else ""
        self._stream.write(
            f"{client[0] if client else '-'} - {_user(request)} [{self._time(started)}] "
            f'"{request.method} {_escape(request.path + query)} HTTP/{_version(scope["http_version"])}" '
            f'{status} {sent} "{_header(request, b"referer")}" "{_header(request, b"user-agent")}"\n'
        )
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
    return _SPECIAL.sub(lambda match: _escaped(match[0]), text)


def _escaped(character: str) -> str:
    return f"\\{character}" if character in '"\\' else f"\\u{ord(character):04x}"
