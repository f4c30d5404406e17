"""One request and its answer: the application's side of an HTTP/1.x connection, as ASGI has it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lading.server.sendfile import send_file

if TYPE_CHECKING:
    from lading.server.http1 import Connection

log = logging.getLogger(__name__)

HIGH_WATER = 1024 * 1024
"""Body bytes that wait for the application before the client is held back."""

SMALL_BYTES = 4096
"""Pieces of a body below this size are joined: an object for each would weigh many times what it holds."""

JOINED_BYTES = 64 * 1024
"""An answer up to this size is copied behind its head, to leave in one packet."""

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS = frozenset({204, 304})


class ClientGoneError(OSError):
    """The client has closed the connection: what is sent to it is lost."""


class Exchange:
    def __init__(self, connection: Connection, scope: dict[str, Any], *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.complete = False
        """The body has arrived in full."""
        self.expected_left = 0
        """Body bytes still to come, as far as the client has told."""
        self._connection = connection
        self._scope = scope
        self._chunks: deque[bytes | bytearray] = deque()
        self._buffered = 0
        self._arrived = asyncio.Event()
        self._gone = False
        self._told_end = False
        self._expects_continue = False
        self._head: bytes | None = None
        self._chunked = False
        self.started = False
        """Something of the answer has been written."""
        self._answered = False
        for name, value in scope["headers"]:
            if name == b"content-length":
                self.expected_left = int(value)
            elif name == b"expect" and value.lower() == b"100-continue":
                self._expects_continue = scope["http_version"] == "1.1"

    @property
    def full(self) -> bool:
        return self._buffered >= HIGH_WATER and not self._answered

    # -- called by the connection

    def run(self) -> None:
        task = asyncio.get_running_loop().create_task(self._run())
        self._connection.server.tasks.add(task)
        task.add_done_callback(self._connection.server.tasks.discard)

    def feed(self, data: bytes) -> None:
        if self.expected_left:
            self.expected_left -= len(data)
        if self._answered:
            self._connection.dropped(len(data))
            return
        if len(data) >= SMALL_BYTES:
            self._chunks.append(data)
        elif self._chunks and isinstance(self._chunks[-1], bytearray) and len(self._chunks[-1]) < HIGH_WATER:
            self._chunks[-1] += data
        else:
            self._chunks.append(bytearray(data))
        self._buffered += len(data)
        self._arrived.set()
        if self._buffered >= HIGH_WATER:
            self._connection.adjust_reading()

    def feed_end(self) -> None:
        self.complete = True
        self._arrived.set()

    def client_gone(self) -> None:
        self._gone = True
        self._arrived.set()

    # -- called by the application

    async def receive(self) -> dict[str, Any]:
        if self._expects_continue and not self._chunks and not self.started:
            self._connection.transport.write(_CONTINUE)
        self._expects_continue = False
        while True:
            if self._chunks:
                data = self._chunks.popleft()
                self._buffered -= len(data)
                if self._buffered < HIGH_WATER:
                    self._connection.adjust_reading()
                self._told_end = self.complete and not self._chunks
                return {"type": "http.request", "body": bytes(data), "more_body": not self._told_end}
            if self.complete and not self._told_end:
                self._told_end = True
                return {"type": "http.request", "body": b"", "more_body": False}
            if self._gone or self._answered:
                return {"type": "http.disconnect"}
            self._arrived.clear()
            await self._arrived.wait()

    async def send(self, message: dict[str, Any]) -> None:
        if self._gone:
            raise ClientGoneError("the client has closed the connection")
        kind = message["type"]
        if kind == "http.response.start":
            self._head = self._make_head(message["status"], message["headers"])
        elif kind == "http.response.body":
            await self._send_body(message.get("body", b""), last=not message.get("more_body", False))
        elif kind == "http.response.zerocopysend":
            await self._send_file(message)
        else:
            raise ValueError(f"unknown message {kind}")

    # -- within

    async def _run(self) -> None:
        try:
            await self._connection.server.application(self._scope, self.receive, self.send)
            if not self._answered and not self._gone:
                raise RuntimeError("the application did not finish its answer")
        except ClientGoneError:
            pass
        except Exception:
            log.exception("%s %s failed", self._scope["method"], self._scope["path"])
            # In mid-answer nothing can be said any more; the client sees it cut off.
            self._connection.abort()
        self._answered = True
        self._arrived.set()
        unread, self._buffered = self._buffered, 0
        self._chunks.clear()
        self._connection.finished(self)
        if unread and not self.complete:
            self._connection.dropped(unread)

    def _make_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        server = self._connection.server
        http11 = self._scope["http_version"] == "1.1"
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        sized = status in _BODILESS or self._scope["method"] == "HEAD"
        for name, value in headers:
            lines.append(b"%b: %b\r\n" % (name, value))
            sized = sized or name == b"content-length"
        if not sized and http11:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        # A client that waits for 100 and gets a final answer may or may not send its body: no way to tell.
        if self._expects_continue or server.draining or (not sized and not http11):
            self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        elif not http11:
            lines.append(b"connection: keep-alive\r\n")
        lines += [server.clock.date, b"\r\n"]
        return b"".join(lines)

    async def _send_body(self, body: bytes, *, last: bool) -> None:
        if self._scope["method"] == "HEAD":
            body = b""
        elif self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if last else b"")
        transport = self._connection.transport
        head, self._head = self._head, None
        self.started = True
        if head is None:
            transport.write(body)
        elif len(body) <= JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.writelines([head, body])
        if last:
            self._answered = True
        if not self._connection.writable.is_set():
            await self._connection.writable.wait()

    async def _send_file(self, message: dict[str, Any]) -> None:
        head, self._head = self._head or b"", None
        self.started = True
        try:
            await send_file(self._connection, head, message["file"].fileno(), message["offset"], message["count"])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ClientGoneError("the client has closed the connection") from error
        self._answered = not message.get("more_body", False)
