"""Requests to one host over connections that are kept: HTTP/1.1, as far as stores speak it.

A client library takes longer for a small request than all else does, and copies what it receives three times.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections import deque
from typing import cast

import httptools

WAITING_BYTES = 1024 * 1024
"""Of a body, before the store is held back."""

KEPT_SECONDS = 12.0
"""So long a connection that nobody uses is used again: stores end them without a word."""

_PIECE_BYTES = 256 * 1024
"""Of a request, handed over at a time where the transport does not tell how much of it is on its way."""

_TURN = 4
"""So often a body is read without waiting for it before others have theirs."""

_BODILESS = frozenset({204, 304})


class Host:
    """`context` is None without TLS. Nothing may be silent for longer than `silence` seconds."""

    def __init__(
        self,
        name: str,
        port: int,
        context: ssl.SSLContext | None,
        *,
        connect_seconds: float,
        silence: float,
        connections: int,
    ) -> None:
        self.silence = silence
        self._address = name, port
        self._context = context
        self._connect_seconds = connect_seconds
        self._free = asyncio.Semaphore(connections)
        self._idle: deque[tuple[float, _Connection]] = deque()
        self._open: set[_Connection] = set()

    async def send(self, method: str, head: bytes, body: bytes) -> Answer:
        """The answer, whose body is still to be read. Raises `OSError`, as reading does."""
        await self._free.acquire()
        try:
            connection = self._kept() or await self._connect()
        except BaseException:
            self._free.release()
            raise
        answer = connection.answer = Answer(connection, bodiless=method == "HEAD")
        try:
            if connection.transport.is_closing():
                raise ConnectionResetError("the connection was closed at once")
            await answer.ask(head, body)
            await answer.begin()
        except BaseException:
            answer.close()
            raise
        return answer

    def close(self) -> None:
        """No request is to be made any more."""
        for connection in self._open:
            connection.transport.abort()

    def give_back(self, connection: _Connection, *, usable: bool) -> None:
        connection.answer = None
        transport, now = connection.transport, time.monotonic()
        if usable and not transport.is_closing() and not transport.get_write_buffer_size():
            transport.resume_reading()
            self._idle.append((now, connection))
        else:
            transport.abort()
        while self._idle and now - self._idle[0][0] > KEPT_SECONDS:
            self._idle.popleft()[1].transport.close()
        self._free.release()

    def lost(self, connection: _Connection) -> None:
        self._open.discard(connection)

    def _kept(self) -> _Connection | None:
        while self._idle:
            since, connection = self._idle.pop()
            if connection.transport.is_closing():
                continue
            if connection.is_told():
                connection.transport.abort()
                continue
            if time.monotonic() - since <= KEPT_SECONDS:
                return connection
            connection.transport.close()
        return None

    async def _connect(self) -> _Connection:
        name, port = self._address
        async with asyncio.timeout(self._connect_seconds):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self),
                name,
                port,
                ssl=self._context,
                server_hostname=name if self._context else None,
            )
        if not connection.transport.is_closing():
            self._open.add(connection)
        return connection


class _Connection(asyncio.Protocol):
    def __init__(self, host: Host) -> None:
        self.host = host
        self.transport = cast("asyncio.Transport", None)
        self.file = -1
        """The socket's descriptor, where the body is on it as it is."""
        self.answer: Answer | None = None
        self.full = False
        """The transport is to be given no more of a request for now."""

    def is_told(self) -> bool:
        """Whether what nobody has asked for lies in the socket, or its end: neither answers the next request."""
        if self.file < 0:
            return False
        try:
            os.read(self.file, 1)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if transport.get_extra_info("sslcontext") is None:
            self.file = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        if self.answer is None:
            self.transport.abort()  # an answer that nobody has asked for
        else:
            self.answer.feed(data)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self.answer is not None:
            self.answer.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.host.lost(self)
        if self.answer is not None:
            self.answer.fail(ConnectionResetError(f"the connection was lost: {exc or 'it was closed'}"))


class Answer:
    """The names of `headers` are in lower case. To be closed: a body that was not read ends its connection."""

    __slots__ = (
        "_begun",
        "_bodiless",
        "_chunks",
        "_complete",
        "_connection",
        "_error",
        "_keeps",
        "_left",
        "_parser",
        "_taken_on",
        "_timer",
        "_waiter",
        "_waiting",
        "headers",
        "status",
    )

    def __init__(self, connection: _Connection, *, bodiless: bool) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._connection: _Connection | None = connection
        self._bodiless = bodiless
        self._parser = httptools.HttpResponseParser(self)
        self._begun = False
        self._complete = False
        self._keeps = False
        self._left: int | None = None
        """Body bytes to come, if the head tells."""
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._taken_on = 0
        self._error: OSError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, head: bytes, body: bytes) -> None:
        """TLS takes all that it is given, and says that it has sent it: a slow request would look like silence."""
        connection = self._connection
        assert connection is not None
        whole = connection.file >= 0 or len(body) <= _PIECE_BYTES
        connection.transport.writelines([head, body] if body and whole else [head])
        for start in () if whole else range(0, len(body), _PIECE_BYTES):
            while connection.full and not self._begun:
                await self._more()
            if self._begun:
                self._keeps = False  # the rest of the request is not sent any more
                return
            connection.transport.write(memoryview(body)[start : start + _PIECE_BYTES])

    async def begin(self) -> None:
        while not self._begun:
            await self._more()

    async def read(self, limit: int = -1) -> bytes:
        """Up to `limit` bytes, at least one; empty at the end. All that is left if `limit` is negative."""
        if limit < 0:
            pieces = []
            while piece := await self.read(WAITING_BYTES):
                pieces.append(piece)
            return b"".join(pieces)
        while not self._chunks:
            if self._complete:
                return b""
            if self._taken_on == _TURN:
                self._taken_on = 0
                await asyncio.sleep(0)
                continue  # meanwhile the transport may have read on
            if data := self._taken(limit):
                self._taken_on += 1
                return data
            await self._more()
        chunk = self._chunks.popleft()
        if len(chunk) > limit:
            self._chunks.appendleft(chunk[limit:])
            chunk = chunk[:limit]
        self._waiting -= len(chunk)
        return chunk

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            del self._parser  # which refers to this in turn
            self._chunks.clear()
            connection.host.give_back(connection, usable=self._complete and self._keeps)
            self.wake()

    # -- called by the connection

    def feed(self, data: bytes) -> None:
        try:
            if self._left:
                self.on_body(data)
            else:
                self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.fail(ConnectionAbortedError(f"an answer that is not understood: {error}"))
        connection = self._connection
        if connection is not None and self._waiting and not self._complete:
            # Who reads takes the rest from the socket, where that is possible: it saves a copy.
            raw = self._left is not None and connection.file >= 0
            if raw or self._waiting >= WAITING_BYTES:
                connection.transport.pause_reading()
        self.wake()

    def fail(self, error: OSError) -> None:
        if not self._complete and self._error is None:
            self._error = error
        self._keeps = False
        if self._connection is not None:
            self._connection.transport.abort()
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- called by the parser

    def on_message_begin(self) -> None:
        if self._begun:
            raise ValueError("nobody has asked for another answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers = {}
            return
        self._begun = True
        closes = "close" in self.headers.get("connection", "").lower()
        self._keeps = not closes and self._parser.get_http_version() == "1.1"
        if self._bodiless or self.status in _BODILESS:
            self._complete = True
        elif "transfer-encoding" not in self.headers and "content-length" in self.headers:
            self._left = int(self.headers["content-length"])
            self._complete = not self._left

    def on_body(self, body: bytes) -> None:
        if self._complete or (self._left is not None and len(body) > self._left):
            self.fail(ConnectionAbortedError("an answer that is longer than it says"))
            return
        if self._left is not None:
            self._left -= len(body)
            self._complete = not self._left
        self._chunks.append(body)
        self._waiting += len(body)

    def on_message_complete(self) -> None:
        if self._begun and self._left is None:
            self._complete = True

    # -- within

    def _taken(self, limit: int) -> bytes:
        """What lies in the socket, if the transport has nothing of its own to do with it."""
        connection = self._connection
        if connection is None or connection.file < 0 or not self._left or connection.transport.is_closing():
            return b""
        try:
            data = os.read(connection.file, min(limit, self._left))
        except BlockingIOError:
            return b""
        if not data:
            raise ConnectionResetError(f"the connection was closed with {self._left} bytes to come")
        self._left -= len(data)
        self._complete = not self._left
        return data

    async def _more(self) -> None:
        """Wait until something comes. Raises `OSError` if nothing will."""
        if self._error is not None:
            raise self._error
        if self._connection is None or self._connection.transport.is_closing():
            raise ConnectionAbortedError("the connection is closed")
        transport, loop = self._connection.transport, asyncio.get_running_loop()
        transport.resume_reading()
        self._waiter = loop.create_future()
        self._watch(transport, transport.get_write_buffer_size())
        try:
            await self._waiter
        finally:
            self._waiter = None
            if self._timer is not None:
                self._timer.cancel()

    def _watch(self, transport: asyncio.Transport, unsent: int) -> None:
        if self._connection is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._connection.host.silence, self._silent, transport, unsent)

    def _silent(self, transport: asyncio.Transport, unsent: int) -> None:
        left = 0 if transport.is_closing() else transport.get_write_buffer_size()
        if left < unsent:
            self._watch(transport, left)  # the request is still on its way
        else:
            self.fail(TimeoutError("nothing came in time"))
