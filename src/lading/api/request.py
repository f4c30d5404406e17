"""One HTTP request, as the handlers see it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote_plus

from lading.api.routes import Route
from lading.oci import errors
from lading.registry.access import ANYBODY, Identity

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_IDLE_SECONDS = 300.0
"""A client that sends nothing of its body for so long is given up; what it sent is kept."""

MAX_INTEGER = 2**63 - 1

_LENGTH = re.compile(r"[0-9]{1,19}", re.ASCII)

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}", re.ASCII)


current: ContextVar[Request | None] = ContextVar("request", default=None)
"""What is being served in this context, for lines of the log."""


class Request:
    """Header names are lower case. Parameters are read from the query alone, never from a form body.

    `received` counts the bytes of the body so far; `route` is where the path led; `identity` is who asks, once
    that is known. `handler` and `begun` are the meter's, `id` is the log's.
    """

    __slots__ = (
        *("_first", "_parameters", "_receive", "begun", "handler", "headers", "id", "identity", "method", "path"),
        *("received", "route", "scope"),
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._first = dict(self.headers[::-1])
        self._receive = receive
        self.identity: Identity = ANYBODY
        self._parameters: list[tuple[str, str]] | None = None
        self.received = 0
        self.route: Route | None = None
        self.id = ""
        self.handler = ""
        self.begun = 0.0

    def header(self, name: bytes) -> str | None:
        """The first line of that name."""
        value = self._first.get(name)
        return None if value is None else value.decode("latin-1")

    def field(self, name: bytes) -> bytes | None:
        """As `header`, as it came."""
        return self._first.get(name)

    def header_lines(self, name: bytes) -> list[str]:
        if name not in self._first:
            return []
        return [value.decode("latin-1") for key, value in self.headers if key == name]

    @property
    def query(self) -> str:
        query: bytes = self.scope["query_string"]
        return query.decode("latin-1")

    def parameters(self, name: str) -> list[str]:
        if self._parameters is None:
            self._parameters = parse_query(self.query)
        return [value for key, value in self._parameters if key == name]

    def parameter(self, name: str) -> str:
        """The first value of that name, empty if there is none."""
        values = self.parameters(name) if self.scope["query_string"] else None
        return values[0] if values else ""

    @property
    def content_length(self) -> int | None:
        value = self.header(b"content-length")
        return int(value) if value is not None and _LENGTH.fullmatch(value) else None

    @property
    def has_body(self) -> bool:
        """False only where the head rules one out; an HTTP/2 body shows itself when it is read."""
        length = self.content_length
        if length is None and self.scope["http_version"].startswith("1"):
            return self.header(b"transfer-encoding") is not None
        return length != 0

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises CLIENT_CLOSED, REQUEST_TIMEOUT."""
        while True:
            try:
                async with asyncio.timeout(BODY_IDLE_SECONDS):
                    message = await self._receive()
            except TimeoutError as error:
                raise errors.REQUEST_TIMEOUT() from error
            if message["type"] == "http.disconnect":
                raise errors.CLIENT_CLOSED()
            if data := message.get("body"):
                self.received += len(data)
                yield data
            if not message.get("more_body"):
                return

    async def read_body(self, limit: int) -> bytes | None:
        """The whole body, or None if it is larger than `limit` bytes. Raises as `body`."""
        length = self.content_length
        if length is not None and length > limit:
            return None
        received = bytearray()
        async for data in self.body():
            received += data
            if len(received) > limit:
                return None
        return bytes(received)

    async def disconnected(self) -> None:
        """Returns when the client has gone away. Only for a request whose body is read or has none."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def parse_query(query: str) -> list[tuple[str, str]]:
    """The parameters of a query. What is malformed is dropped, as Go does: bad escapes, semicolons."""
    parameters = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if pair and ";" not in pair and _BAD_ESCAPE.search(pair) is None:
            parameters.append((unquote_plus(name), unquote_plus(value)))
    return parameters


def parse_integer(text: str) -> int | None:
    """A decimal integer as Go writes it, ASCII digits with an optional sign; of any size."""
    return int(text) if _INTEGER.fullmatch(text) is not None else None
