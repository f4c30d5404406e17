"""HTTP/1.x on asyncio: llhttp parses the heads, large bodies come in past the parser, files go out by sendfile.

A `Connection` serves one client, one request after the other; pipelined requests wait for their turn. What the
parser finds framed in two ways is refused, and the connection closed (RFC 9112, section 6.3).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import httptools

from lading.server.exchange import Exchange
from lading.server.listening import Server

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
"""Request line and header fields together."""

RAW_BODY_BYTES = 128 * 1024
"""From so many bytes to come on, a body of known length is not shown to the parser: it would only copy it."""

DISCARDED_BYTES = 256 * 1024
"""What is read of a body that was answered before it was read; more, and the connection is closed instead."""

LINGER_SECONDS = 2.0
"""How long a client that still sends may take to read its answer."""

_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_NO_FILES: dict[str, Any] = {}
_FILES: dict[str, Any] = {"http.response.zerocopysend": {}}


class Connection(asyncio.Protocol):
    """Called by the event loop; parsed heads and bodies go to `Exchange`s, which run the application."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport = cast("asyncio.Transport", None)
        self.writable = asyncio.Event()
        self.since = server.clock.now
        """When the connection last made progress."""
        self.exchange: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._arriving: Exchange | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._head_bytes = 0
        self._in_head = False
        self._raw_left = 0
        self._discarded = 0
        self._lingering = False
        self._ended = False
        self._reading = True
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []

    # -- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.writable.set()
        self.server.connections.add(self)
        encrypted = transport.get_extra_info("sslcontext") is not None
        self._fixed = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "root_path": "",
            "scheme": "https" if encrypted else "http",
            "client": _address(transport.get_extra_info("peername")),
            "server": _address(transport.get_extra_info("sockname")),
            "extensions": _NO_FILES if encrypted else _FILES,
        }

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.server.connections.discard(self)
        self.writable.set()
        for exchange in (self.exchange, self._arriving, *self._waiting):
            if exchange is not None:
                exchange.client_gone()
        self._waiting.clear()

    def eof_received(self) -> bool:
        # A client that closes its half in mid-request is gone; one that waits for its answer still gets it.
        if self._arriving is not None and not self._arriving.complete:
            self._arriving.client_gone()
            return False
        self._ended = True
        return self.exchange is not None and self._fixed["scheme"] == "http"

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.since = self.server.clock.now
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.since = self.server.clock.now
        if self._lingering:
            self._discard(len(data))
            return
        if self._raw_left:
            data = self._raw_body(data)
        while data:
            data = self._parse(data)

    # -- called by the parser

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        version = self._parser.get_http_version()
        raw_path, path, query = _target(self._url)
        scope = self._fixed | {
            "http_version": version,
            "method": self._parser.get_method().decode("ascii"),
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self._headers,
        }
        exchange = Exchange(self, scope, keep_alive=self._parser.should_keep_alive())
        self._arriving = exchange
        if self.exchange is None:
            self._start(exchange)
        else:
            self._waiting.append(exchange)
            self.adjust_reading()

    def on_body(self, body: bytes) -> None:
        if self._arriving is not None:
            self._arriving.feed(body)

    def on_message_complete(self) -> None:
        exchange, self._arriving = self._arriving, None
        if exchange is not None:
            exchange.feed_end()

    # -- called by the exchange

    def finished(self, exchange: Exchange) -> None:
        """The answer is written. What the client still sends of its body is dropped."""
        self.exchange = None
        self.since = self.server.clock.now
        if self.transport.is_closing():
            return
        if not exchange.complete and (exchange.keep_alive is False or exchange.expected_left > DISCARDED_BYTES):
            self._linger()
        elif not exchange.keep_alive or self.server.draining or (self._ended and not self._waiting):
            self.transport.close()
        else:
            if self._waiting:
                self._start(self._waiting.popleft())
            self.adjust_reading()

    def adjust_reading(self) -> None:
        """Hold the client back while its body, or another of its requests, waits for the application."""
        full = self._arriving is not None and self._arriving.full
        wanted = not full and not self._waiting
        if wanted == self._reading or self.transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def dropped(self, size: int) -> None:
        """Body bytes that came after the answer."""
        self._discarded += size
        if self._discarded > DISCARDED_BYTES:
            self._linger()

    # -- called by the server

    def close_when_idle(self) -> None:
        if self.exchange is None and not self._in_head:
            self.transport.close()

    def expired(self, now: float) -> bool:
        """Whether the client has had its time: to send a head, to ask again, to read its answer."""
        deadlines = self.server.deadlines
        waited = now - self.since
        if self._lingering:
            return waited > LINGER_SECONDS
        if self._in_head:
            return waited > deadlines.head
        if self.exchange is None:
            return waited > deadlines.idle
        return not self.writable.is_set() and waited > deadlines.stalled

    def abort(self) -> None:
        self.transport.abort()

    # -- within

    def _start(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._discarded = 0
        exchange.run()

    def _parse(self, data: bytes) -> bytes:
        """Feed the parser; what comes back belongs to a request behind one that asked for another protocol."""
        rest = b""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # No other protocol is spoken here: the request was served as HTTP/1.1, as RFC 9110, 7.8 allows.
            rest = data[upgrade.args[0] :]
            self._parser = httptools.HttpRequestParser(self)
        except httptools.HttpParserError:
            self._refuse(_HEAD_TOO_LARGE if self._head_bytes > MAX_HEAD_BYTES else _BAD_REQUEST)
            return b""
        arriving = self._arriving
        if arriving is not None and not rest and arriving.expected_left >= RAW_BODY_BYTES:
            self._raw_left = arriving.expected_left
        return rest

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("the head of the request is too large")

    def _raw_body(self, data: bytes) -> bytes:
        body = data if len(data) <= self._raw_left else data[: self._raw_left]
        self._raw_left -= len(body)
        self.on_body(body)
        if self._raw_left:
            return b""
        # The old parser still waits for the body that it was not shown.
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_complete()
        return data[len(body) :]

    def _refuse(self, answer: bytes) -> None:
        """The framing is lost: say so if nothing else was being said, and close."""
        if self._arriving is not None:
            self._arriving.client_gone()
        if self.exchange is None:
            self.transport.write(answer)
            self._linger()
        elif self.exchange is self._arriving:
            self.transport.close()
        else:
            self.exchange.keep_alive = False

    def _linger(self) -> None:
        """Close, but not while the client sends: a reset would take the answer from it."""
        if self._lingering or self.transport.is_closing():
            return
        self._lingering = True
        self._reading = True
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > 64 * DISCARDED_BYTES:
            self.transport.close()


def _address(name: Any) -> tuple[str, int] | None:
    if not isinstance(name, tuple) or len(name) < 2:
        return None
    return str(name[0]).removeprefix("::ffff:"), int(name[1])  # IPv4 on a dual-stack socket, as it is known


def _target(url: bytes) -> tuple[bytes, str, bytes]:
    """The raw path, the decoded path and the query of a request target, in origin or absolute form."""
    if not url.startswith(b"/"):
        try:
            parts = urlsplit(url)
            url = (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")
        except ValueError:
            url = b"/"
    raw_path, _, query = url.partition(b"#")[0].partition(b"?")
    path = raw_path.decode("latin-1")
    return raw_path, unquote(path) if "%" in path else path, query
