"""One request and its answer over HTTP/1.x."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lading.server import exchange
from lading.server.exchange import WHOLE, ClientGoneError
from lading.server.sendfile import send_file

if TYPE_CHECKING:
    from lading.server.http1 import Connection

JOINED_BYTES = 64 * 1024
"""An answer up to this size is copied behind its head, to leave in one packet."""

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode("ascii") for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS = frozenset({204, 304})


class Exchange(exchange.Exchange["Connection"]):
    __slots__ = ("_chunked", "_head", "keep_alive")

    def __init__(
        self, connection: Connection, scope: dict[str, Any], length: int, *, expects: bool, keep_alive: bool
    ) -> None:
        super().__init__(connection, scope, length, expects=expects)
        self.keep_alive = keep_alive
        self._head: bytes | None = None
        self._chunked = False

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

    def _continue(self) -> None:
        self._connection.transport.write(_CONTINUE)

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
