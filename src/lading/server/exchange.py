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

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode("ascii") for status in HTTPStatus}
READS = frozenset({"GET", "HEAD"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS = frozenset({204, 304})


WHOLE = "lading.response.whole"
"""An extension of ASGI: a message with all of `http.response.start`, Content-Length included, and in `body` all of
the body."""


class ClientGoneError(OSError):
    """The client has closed the connection: what is sent to it is lost."""


class Exchange:
    """`length` is what is known of the body's, 0 if nothing is."""

    __slots__ = (
        "_answered",
        "_arrived",
        "_buffered",
        "_chunked",
        "_chunks",
        "_connection",
        "_expects_continue",
        "_gone",
        "_head",
        "_scope",
        "_told_end",
        "complete",
        "expected_left",
        "keep_alive",
        "started",
    )

    def __init__(
        self, connection: Connection, scope: dict[str, Any], length: int, *, expects: bool, keep_alive: bool
    ) -> None:
        self.keep_alive = keep_alive
        self.complete = False
        """The body has arrived in full."""
        self.expected_left = length
        """Body bytes still to come, as far as the client has told."""
        self.started = False
        """Something of the answer has been written."""
        self._connection = connection
        self._scope = scope
        self._chunks: deque[bytes | bytearray] | None = None
        self._buffered = 0
        self._arrived: asyncio.Event | None = None
        self._gone = False
        self._told_end = False
        self._expects_continue = expects
        self._head: bytes | None = None
        self._chunked = False
        self._answered = False

    @property
    def full(self) -> bool:
        return self._buffered >= HIGH_WATER and not self._answered

    # -- called by the connection

    def run(self) -> bool:
        """Run the application. Whether the answer is complete; otherwise the connection is told when it is.

        What most reads need is at hand: such a request is answered here and now. It becomes a task when it has to
        wait, as all others are.
        """
        server = self._connection.server
        task: asyncio.Task[None] | None
        if self.complete and self._scope["method"] in READS:
            try:
                task = server.stepper.run(self._run())
            except asyncio.CancelledError:
                task = None
            if task is None:
                self._end()
                return True
        else:
            task = asyncio.get_running_loop().create_task(self._run())
        server.tasks.add(task)
        task.add_done_callback(self._done)
        return False

    def feed(self, data: bytes) -> None:
        if self.expected_left:
            self.expected_left -= len(data)
        if self._answered:
            self._connection.dropped(len(data))
            return
        if self._chunks is None:
            self._chunks = deque()
        if len(data) >= SMALL_BYTES:
            self._chunks.append(data)
        elif self._chunks and isinstance(self._chunks[-1], bytearray) and len(self._chunks[-1]) < HIGH_WATER:
            self._chunks[-1] += data
        else:
            self._chunks.append(bytearray(data))
        self._buffered += len(data)
        self._wake()
        if self._buffered >= HIGH_WATER:
            self._connection.adjust_reading()

    def feed_end(self) -> None:
        self.complete = True
        self._wake()

    def client_gone(self) -> None:
        self._gone = True
        self._wake()

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
            if self._arrived is None or self._arrived.is_set():
                self._arrived = asyncio.Event()
            await self._arrived.wait()

    async def send(self, message: dict[str, Any]) -> None:
        if self._gone:
            raise ClientGoneError("the client has closed the connection")
        kind = message["type"]
        if kind == "http.response.start":
            status, headers = message["status"], message["headers"]
            sized = status in _BODILESS or self._scope["method"] == "HEAD"
            sized = sized or any(name == b"content-length" for name, _ in headers)
            self._head = self._make_head(status, headers, sized=sized)
        elif kind == WHOLE:
            self._head = self._make_head(message["status"], message["headers"], sized=True)
            self._send_body(message["body"], last=True)
        elif kind == "http.response.body":
            self._send_body(message.get("body", b""), last=not message.get("more_body", False))
        elif kind == "http.response.zerocopysend":
            await self._send_file(message)
        else:
            raise ValueError(f"unknown message {kind}")
        if not self._connection.writable.is_set():
            await self._connection.writable.wait()

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
        except asyncio.CancelledError:
            self._connection.abort()
            raise

    def _done(self, task: asyncio.Task[None]) -> None:
        self._connection.server.tasks.discard(task)
        if task.cancelled():
            return
        unread = self._buffered
        self._end()
        self._connection.finished(self)
        if unread and not self.complete:
            self._connection.dropped(unread)

    def _end(self) -> None:
        self._answered = True
        self._wake()
        self._buffered = 0
        self._chunks = None

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()

    def _make_head(self, status: int, headers: list[tuple[bytes, bytes]], *, sized: bool) -> bytes:
        server = self._connection.server
        http11 = self._scope["http_version"] == "1.1"
        head = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status, *map(b": ".join, headers)]
        if not sized:
            if http11:
                self._chunked = True
                head.append(b"transfer-encoding: chunked")
            else:
                self.keep_alive = False
        # A client that waits for 100 and gets a final answer may or may not send its body: no way to tell.
        if self._expects_continue or server.draining:
            self.keep_alive = False
        if not self.keep_alive:
            head.append(b"connection: close")
        elif not http11:
            head.append(b"connection: keep-alive")
        head.append(server.clock.date)
        return b"\r\n".join(head)

    def _send_body(self, body: bytes, *, last: bool) -> None:
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

    async def _send_file(self, message: dict[str, Any]) -> None:
        head, self._head = self._head or b"", None
        self.started = True
        try:
            await send_file(self._connection, head, message["file"].fileno(), message["offset"], message["count"])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ClientGoneError("the client has closed the connection") from error
        self._answered = not message.get("more_body", False)
