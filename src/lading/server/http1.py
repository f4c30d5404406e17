"""HTTP/1.x on asyncio: llhttp parses the heads, large bodies come in past the parser, files go out by sendfile.

A `Connection` serves one client, one request after the other; pipelined requests wait for their turn. What the
parser finds framed in two ways is refused, and the connection closed (RFC 9112, section 6.3).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import httptools

from lading.server.exchange import READS, WHOLE
from lading.server.http1_exchange import Exchange
from lading.server.listening import Server
from lading.server.target import MalformedRequestError, address, target

MAX_HEAD_BYTES = 64 * 1024
"""Request line and header fields together."""

RAW_BODY_BYTES = 128 * 1024
"""From so many bytes to come on, a body of known length is not shown to the parser: it would only copy it."""

MAX_PIPELINED = 128
"""Requests that may wait behind the one that is served, some 1 KiB each."""

DISCARDED_BYTES = 256 * 1024
"""What is read of a body that was answered before it was read; more, and the connection is closed instead."""

LINGER_SECONDS = 2.0
"""How long a client that still sends may take to read its answer."""

_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_VERSIONS = frozenset({"1.0", "1.1"})
_FRAMING = frozenset({b"host", b"transfer-encoding", b"content-length", b"expect"})
_ENCRYPTED: dict[str, Any] = {WHOLE: {}}
_PLAIN: dict[str, Any] = {WHOLE: {}, "http.response.zerocopysend": {}}


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
        self._head_since = 0.0
        self._unended = 0
        """Bytes the parser has taken in without having got anything out of them."""
        self._refused = b""
        self._raw_left = 0
        self._discarded = 0
        self._lingering = 0.0
        self._ended = False
        self._reading = True
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._alone = b""
        """What has just come, if nothing was under way."""
        self._found: dict[str, Any] | None = None
        """What is in it, if it is one request of the kind that is remembered."""

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
            "client": address(transport.get_extra_info("peername")),
            "server": address(transport.get_extra_info("sockname")),
            "extensions": _ENCRYPTED if encrypted else _PLAIN,
        }

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.server.connections.discard(self)
        self.writable.set()
        for exchange in {self.exchange, self._arriving, *self._waiting}:
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
        idle = self.exchange is None and self._arriving is None and not (self._waiting or self._in_head)
        if idle and (found := self.server.heads.get(data)) is not None:
            exchange = Exchange(self, self._scope(found), 0, expects=False, keep_alive=True)
            exchange.complete = True
            self._waiting.append(exchange)
            self._advance()
            return
        self._alone = data if idle else b""
        while data and not self._lingering:
            data = self._raw_body(data) if self._raw_left else self._parse(data)

    # -- called by the parser

    def on_message_begin(self) -> None:
        self._unended = 0
        self._in_head = True
        self._head_since = self.server.clock.now
        self._head_bytes = 0
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._unended = 0
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("the head of the request is too large")
        if self._in_head:  # trailer fields are not header fields (RFC 9110, section 6.5.1)
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._unended = 0
        self._in_head = False
        if self._lingering:
            return
        parser = self._parser
        version = parser.get_http_version()
        upgrade = parser.should_upgrade()
        length, expects = self._framing(version, upgrade)
        raw_path, path, query = target(self._url)
        found = {
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self._headers,
        }
        keep_alive = parser.should_keep_alive()
        self._arriving = Exchange(self, self._scope(found), length, expects=expects, keep_alive=keep_alive)
        self._waiting.append(self._arriving)
        if self._alone and keep_alive and not (expects or upgrade) and found["method"] in READS:
            self._found = found
        if upgrade:
            # The parser takes what follows for another protocol; no other is spoken here, so it is the body.
            self._raw_left = length

    def on_body(self, body: bytes) -> None:
        self._unended = 0
        if self._arriving is not None:
            self._arriving.feed(body)

    def on_message_complete(self) -> None:
        self._unended = 0
        if self._raw_left:
            return
        exchange, self._arriving = self._arriving, None
        if exchange is not None:
            exchange.feed_end()
            if self._found is not None:
                self.server.heads.put(self._alone, self._found)
                self._found = None

    # -- called by the exchange

    def finished(self, exchange: Exchange) -> None:
        """The answer of an exchange that had to wait is written: the next one may begin."""
        self._conclude(exchange)
        self._advance()

    def adjust_reading(self) -> None:
        """Hold the client back while its body, or another of its requests, waits for the application."""
        full = self._arriving is not None and self._arriving.full
        wanted = self._lingering > 0 or (not full and not self._waiting)
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
        if self._lingering:
            return now - self._lingering > LINGER_SECONDS
        if self._in_head and now - self._head_since > deadlines.head:
            return True
        waited = now - self.since
        if self.exchange is None:
            return waited > deadlines.idle
        return not self.writable.is_set() and waited > deadlines.stalled

    def abort(self) -> None:
        self.transport.abort()

    # -- within

    def _scope(self, found: dict[str, Any]) -> dict[str, Any]:
        scope = {**self._fixed, **found, "headers": list(found["headers"])}
        if self.server.proxies is not None:
            scope["client"], scope["headers"] = self.server.proxies.judge(scope["client"], scope["headers"])
        return scope

    def _advance(self) -> None:
        """Serve what waits, until a request takes its time."""
        while self.exchange is None and self._waiting and not self._lingering and not self.transport.is_closing():
            exchange = self.exchange = self._waiting.popleft()
            self._discarded = 0
            if exchange.run():
                self._conclude(exchange)
        self.adjust_reading()

    def _conclude(self, exchange: Exchange) -> None:
        """The answer is written. What the client still sends of its body is dropped."""
        self.exchange = None
        self.since = self.server.clock.now
        if self.transport.is_closing() or self._lingering:
            return
        unread = not exchange.complete and (not exchange.keep_alive or exchange.expected_left > DISCARDED_BYTES)
        if unread or (self._refused and not self._waiting):
            self.transport.write(self._refused)
            self._linger()
        elif not exchange.keep_alive or self.server.draining or (self._ended and not self._waiting):
            self.transport.close()

    def _framing(self, version: str, upgrade: bool) -> tuple[int, bool]:
        """The length of the body, 0 if it is not stated, and whether the client waits for 100 (Continue).

        Raises `MalformedRequestError` for what the parser lets pass and RFC 9112 does not.
        """
        hosts = codings = length = 0
        expects = False
        for name, value in self._headers:
            if name not in _FRAMING:
                continue
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                length = int(value)
            elif name == b"expect":
                expects = version == "1.1" and value.lower() == b"100-continue"
            else:
                codings += 1
                if value.strip().lower() != b"chunked" or version != "1.1" or upgrade:
                    raise MalformedRequestError("a framing that is not understood (section 6.1)")
        if version not in _VERSIONS or hosts > 1 or codings > 1 or (not hosts and version == "1.1"):
            raise MalformedRequestError("not a request for one host (section 3.2)")
        if len(self._waiting) >= MAX_PIPELINED:
            raise MalformedRequestError("too many requests ahead of their answers")
        return length, expects

    def _parse(self, data: bytes) -> bytes:
        """Feed the parser; what comes back is the body, or stands behind it, of a request to upgrade."""
        rest = b""
        self._unended += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            self._parser = httptools.HttpRequestParser(self)
        except httptools.HttpParserError:
            self._refuse(_HEAD_TOO_LARGE if self._head_bytes > MAX_HEAD_BYTES else _BAD_REQUEST)
            return b""
        if self._unended > MAX_HEAD_BYTES:
            self._refuse(_HEAD_TOO_LARGE)
            return b""
        arriving = self._arriving
        if arriving is not None and not self._raw_left and arriving.expected_left >= RAW_BODY_BYTES:
            self._raw_left = arriving.expected_left
        # Only now: a request whose framing turns out to be broken is not served.
        self._advance()
        return rest

    def _count_head(self, size: int) -> None:
        self._unended = 0
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
        """The framing is lost: say so once what was understood is answered, and close."""
        broken, self._arriving = self._arriving, None
        if broken is not None and broken in self._waiting:
            self._waiting.remove(broken)
        self._refused = answer
        if self.exchange is not None and self.exchange is broken:
            self._refused = b"" if broken.started else answer
            broken.client_gone()
        self._advance()
        if self._lingering or self.transport.is_closing():
            return  # what stood before it is answered already, and with it this
        if self.exchange is None or self.exchange is broken:
            self.transport.write(self._refused)
            self._linger()

    def _linger(self) -> None:
        """Close, but not while the client sends: a reset would take the answer from it."""
        if self._lingering or self.transport.is_closing():
            return
        self._lingering = self.server.clock.now
        self._arriving = None
        self._waiting.clear()
        self.adjust_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > 64 * DISCARDED_BYTES:
            self.transport.close()
