"""One request and its answer over HTTP/2: a stream, with its share of the connection's flow control."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from h2.stream import H2Stream

from lading.server import exchange
from lading.server.exchange import WHOLE, ClientGoneError
from lading.server.target import MalformedRequestError, target

if TYPE_CHECKING:
    from lading.server.http2 import Connection

Headers = list[tuple[bytes, bytes]]

STREAM_WINDOW = 1024 * 1024
"""Bytes of a body that a client may send ahead of the application."""

_UPDATED_BYTES = STREAM_WINDOW // 4
"""What the application has taken of a body is told to the client in steps of so much."""

TURN_BYTES = 64 * 1024
"""What a stream writes before another may."""

_FORBIDDEN = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
"""Have no meaning in HTTP/2 (RFC 9113, section 8.2.2)."""


class Stream:
    """What an exchange sees of its connection."""

    def __init__(self, connection: Connection, number: int, state: H2Stream) -> None:
        self.connection = connection
        self.server = connection.server
        self.number = number
        self.state = state
        """The stream as h2 keeps it; its windows are used from here."""
        self.window = asyncio.Event()
        """Set when the client has opened a window."""
        self.blocked_since = 0.0
        """When the client last took something; 0 if it owes nothing."""
        self.unseen = 0
        """Received bytes of the body that h2 was not shown."""
        self.waiting = 0
        """Bytes of the body that the application has not taken."""
        self.closed = False

    def adjust_reading(self) -> None:
        """The window of the stream does that."""

    def dropped(self, size: int) -> None:
        """A client that sends on is told to stop when the stream ends."""

    def finished(self, exchange: Exchange) -> None:
        self.connection.finished(exchange)

    def abort(self) -> None:
        self.connection.reset(self)


class Exchange(exchange.Exchange[Stream]):
    __slots__ = ("_bodiless", "_head", "_taken")

    def __init__(self, stream: Stream, scope: dict[str, Any], length: int, *, expects: bool) -> None:
        super().__init__(stream, scope, length, expects=expects)
        self._head: Headers | None = None
        self._bodiless = scope["method"] == "HEAD"
        self._taken = 0

    @property
    def stream(self) -> Stream:
        return self._connection

    async def receive(self) -> dict[str, Any]:
        message = await super().receive()
        if size := len(message.get("body", b"")):
            self._taken += size
            self._connection.connection.taken(self._connection, size)
            if self._taken >= _UPDATED_BYTES and not self.complete:
                taken, self._taken = self._taken, 0
                self._connection.connection.open_window(self._connection, taken)
        return message

    async def send(self, message: dict[str, Any]) -> None:
        if self._gone:
            raise ClientGoneError("the client has reset the stream")
        kind = message["type"]
        if kind == "http.response.start":
            self._head = self._make_head(message)
        elif kind == WHOLE:
            self._head = self._make_head(message)
            await self._send_body(message["body"], last=True)
        elif kind == "http.response.body":
            await self._send_body(message.get("body", b""), last=not message.get("more_body", False))
        else:
            raise ValueError(f"unknown message {kind}")

    # -- within

    def _continue(self) -> None:
        if not self._connection.closed:
            self._connection.connection.send_head(self._connection, [(b":status", b"100")], last=False)

    def _make_head(self, message: dict[str, Any]) -> Headers:
        head = [(b":status", b"%d" % message["status"])]
        head += [field for field in message["headers"] if field[0] not in _FORBIDDEN]
        head.append((b"date", self._connection.server.clock.stamp))
        return head

    async def _send_body(self, body: bytes, *, last: bool) -> None:
        stream, connection = self._connection, self._connection.connection
        if self._bodiless:
            body = b""
        head, self._head = self._head, None
        self.started = True
        if head is not None:
            connection.send_head(stream, head, last=last and not body)
            if last and not body:
                self._answered = True
        left = memoryview(body)
        while left:
            size = connection.send_body(stream, left[:TURN_BYTES], last=last and len(left) <= TURN_BYTES)
            left = left[size:]
            if len(left) or not connection.writable.is_set():
                await self._wait(connection, full=size > 0)
        if last and not self._answered:
            if not body and head is None:
                connection.end(stream)
            self._answered = True

    async def _wait(self, connection: Connection, *, full: bool) -> None:
        """Until the connection takes bytes again and, unless something was sent, the window is open."""
        stream = self._connection
        stream.blocked_since = connection.server.clock.now
        if not full:
            stream.window.clear()
            await stream.window.wait()
        if not connection.writable.is_set():
            await connection.writable.wait()
        stream.blocked_since = 0.0
        if self._gone or stream.closed:
            raise ClientGoneError("the client has reset the stream")


def request(fixed: dict[str, Any], fields: Iterable[tuple[bytes, bytes]]) -> tuple[dict[str, Any], int, bool]:
    """The scope, the length of the body as far as it is stated, and whether the client waits for 100 (Continue).

    h2 has checked the pseudo-header fields. Raises `MalformedRequestError`.
    """
    pseudo: dict[bytes, bytes] = {}
    headers: Headers = []
    length, expects, host = 0, False, False
    for name, value in fields:
        if name.startswith(b":"):
            pseudo[name] = value
            continue
        headers.append((name, value))
        if name == b"content-length":
            length = int(value)
        elif name == b"expect":
            expects = value.lower() == b"100-continue"
        elif name == b"host":
            host = True
    if b":path" not in pseudo or length < 0:
        raise MalformedRequestError("not a request for a resource (section 8.3.1)")
    if not host and b":authority" in pseudo:
        headers.append((b"host", pseudo[b":authority"]))
    raw_path, path, query = target(pseudo[b":path"])
    scope = {
        **fixed,
        "method": pseudo[b":method"].decode("latin-1"),
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "headers": headers,
    }
    return scope, length, expects
