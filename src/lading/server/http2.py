"""HTTP/2 on asyncio (RFC 9113): h2 keeps the state of the connection, and most of a body does not pass through it.

Frames are found here. Those of bodies are handed on as they arrive, and made where they leave; for them h2 costs
more than all the rest together. Everything else, and the first and last of each stream, is h2's.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import H2Error, InvalidBodyLengthError
from h2.settings import SettingCodes, Settings

from lading.server import http2_frames as frames
from lading.server.exchange import WHOLE
from lading.server.http2_exchange import STREAM_WINDOW, Exchange, Headers, Stream, request
from lading.server.http2_fields import new_state
from lading.server.http2_limits import (
    CONNECTION_BYTES,
    FRAME_BYTES,
    LINGER_SECONDS,
    MAX_DISCARDED_BYTES,
    MAX_HEAD_BYTES,
    MAX_SENT_FRAME_BYTES,
    MAX_STREAMS,
    Chores,
)
from lading.server.listening import Server
from lading.server.target import MalformedRequestError, address

_WINDOW = 2 * STREAM_WINDOW
_EXTENSIONS: dict[str, Any] = {WHOLE: {}}
_CHORES = (events.StreamReset, events.PingReceived, events.RemoteSettingsChanged, events.PriorityUpdated)


class Connection(asyncio.Protocol):
    """Called by the event loop. Requests go to `Exchange`s, which run the application."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport = cast("asyncio.Transport", None)
        self.writable = asyncio.Event()
        self.writable.set()
        self.since = server.clock.now
        """When the last request began or ended."""
        self._h2 = new_state()
        self._exchanges: dict[int, Exchange] = {}
        """By stream: those whose body is arriving or whose answer is not finished."""
        self._running: set[Exchange] = set()
        self._out: list[bytes | memoryview] = []
        self._tail = b""
        self._greeted = False
        self._waiting_since = server.clock.now
        """Since when something is half received, or the preface missing; 0 if nothing is."""
        self._head_bytes = 0
        """Of a header block that is not complete."""
        self._data_left = 0
        self._padding_left = 0
        self._padding_known = True
        self._data_exchange: Exchange | None = None
        self._credit = _WINDOW
        """What the client may still send in frames of bodies, all streams together."""
        self._returned = 0
        self._buffered = 0
        self._chores = Chores()
        self._batching = False
        self._last_stream = 0
        self._closing = False
        self._lingering = 0.0
        self._discarded = 0

    # -- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.server.connections.add(self)
        encrypted = transport.get_extra_info("sslcontext") is not None
        self._fixed = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "2",
            "root_path": "",
            "scheme": "https" if encrypted else "http",
            "client": address(transport.get_extra_info("peername")),
            "server": address(transport.get_extra_info("sockname")),
            "extensions": _EXTENSIONS,
        }
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD_BYTES,
                SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            },
        )
        self._h2.max_inbound_frame_size = FRAME_BYTES
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW - 65535)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.server.connections.discard(self)
        self.writable.set()
        for exchange in {*self._exchanges.values(), *self._running}:
            self._lose(exchange)
        self._exchanges.clear()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            self._discarded += len(data)
            if self._discarded > MAX_DISCARDED_BYTES:
                self.transport.abort()
            return
        self._batching = True
        try:
            self._tail = self._take(self._tail + data if self._tail else data)
        except H2Error as error:
            self._fail(int(getattr(error, "error_code", ErrorCodes.PROTOCOL_ERROR)))
        finally:
            self._batching = False
            self.flush()
        if not self._tail and not self._head_bytes and self._greeted:
            self._waiting_since = 0.0
        elif not self._waiting_since:
            self._waiting_since = self.server.clock.now

    # -- called by exchanges

    def send_head(self, stream: Stream, head: Headers, *, last: bool) -> None:
        self._h2.send_headers(stream.number, head, end_stream=last)
        self._sent(stream, last=last)

    def send_body(self, stream: Stream, body: memoryview, *, last: bool) -> int:
        """Returns how much of it the client's windows let through; `last` ends the stream with the last byte."""
        state = stream.state
        size = min(len(body), self._h2.outbound_flow_control_window, state.outbound_flow_control_window)
        if size <= 0:
            return 0
        last = last and size == len(body)
        self._collect()
        largest = min(self._h2.max_outbound_frame_size, MAX_SENT_FRAME_BYTES)
        shown = min(size, largest) if last else 0
        if size > shown:
            self._out += frames.data_frames(stream.number, body[: size - shown], largest)
            self._h2.outbound_flow_control_window -= size - shown
            state.outbound_flow_control_window -= size - shown
        if last:
            self._h2.send_data(stream.number, bytes(body[size - shown : size]), end_stream=True)
        self._sent(stream, last=last)
        return size

    def end(self, stream: Stream) -> None:
        self._h2.end_stream(stream.number)
        self._sent(stream, last=True)

    def open_window(self, stream: Stream, size: int) -> None:
        """The client may send so much more of a body."""
        if not stream.closed:
            self._out.append(frames.window_update(stream.number, size))
            stream.unseen -= size
            self.flush()

    def taken(self, stream: Stream, size: int) -> None:
        """The application has taken so much of a body."""
        size = min(size, stream.waiting)
        stream.waiting -= size
        self._buffered -= size
        self._give_credit()

    def finished(self, exchange: Exchange) -> None:
        """The application is done with it."""
        self._running.discard(exchange)
        self.since = self.server.clock.now
        stream = exchange.stream
        if not stream.closed and not exchange.complete:
            # The answer is complete, the request is not, and nobody reads it any more (section 8.1).
            self.reset(stream, ErrorCodes.NO_ERROR)
        self._forget(stream)
        self._close_if_drained()

    def reset(self, stream: Stream, code: ErrorCodes = ErrorCodes.INTERNAL_ERROR) -> None:
        if not stream.closed and not self.transport.is_closing():
            self._h2.reset_stream(stream.number, code)
            self._forget(stream)
            self.flush()

    def flush(self) -> None:
        if self._batching:
            return
        self._collect()
        if self._out:
            out, self._out = self._out, []
            if not self._lingering and not self.transport.is_closing():
                self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    # -- called by the server

    def close_when_idle(self) -> None:
        """Take no more requests; those under way are answered."""
        self._out.append(frames.go_away(self._last_stream, ErrorCodes.NO_ERROR))
        self.flush()
        self._close_if_drained()

    def expired(self, now: float) -> bool:
        """Whether the client has had its time. A stream whose client takes nothing of it is reset alone."""
        deadlines = self.server.deadlines
        if self._lingering:
            return now - self._lingering > LINGER_SECONDS
        if self.transport.is_closing():
            return now - self.since > deadlines.idle + LINGER_SECONDS
        if self._waiting_since and now - self._waiting_since > deadlines.head:
            # Between the frames of a body, the application judges.
            return not self._running
        if not self._running and now - self.since > deadlines.idle:
            self._out.append(frames.go_away(self._last_stream, ErrorCodes.NO_ERROR))
            self.flush()
            self.transport.close()
            return False
        for exchange in list(self._running):
            blocked = exchange.stream.blocked_since
            if blocked and now - blocked > deadlines.stalled:
                if not self.writable.is_set():
                    return True
                self.reset(exchange.stream, ErrorCodes.CANCEL)
                self._lose(exchange)
        return False

    def abort(self) -> None:
        self.transport.abort()

    # -- receiving

    def _take(self, data: bytes) -> bytes:
        """Take in whole frames, and the beginning of one of a body; returns what is neither."""
        at, end = 0, len(data)
        if not self._greeted:
            if end < len(frames.PREFACE):
                if not frames.PREFACE.startswith(data):
                    self._fail(ErrorCodes.PROTOCOL_ERROR)
                return data
            at = len(frames.PREFACE)
            self._greeted = True
            self._h2.receive_data(data[:at])
        while not self._closing:
            if self._data_left or self._padding_left:
                at = self._take_body(data, at)
            if end - at < frames.HEADER_BYTES:
                break
            header = frames.parse(data, at)
            if header.kind == frames.DATA and self._begin_body(header):
                at += frames.HEADER_BYTES
                self._padding_known = not header.flags & frames.PADDED
                continue
            self._check_frame(header)
            after = at + frames.HEADER_BYTES + header.length
            if after > end or self._closing:
                break
            if header.kind in {frames.HEADERS, frames.CONTINUATION}:
                whole = header.flags & frames.END_HEADERS
                self._head_bytes = 0 if whole else self._head_bytes + header.length
            if header.kind == frames.GO_AWAY and not header.stream and header.length >= 8 and not self._head_bytes:
                # h2 would take the connection for closed, and no longer answer what is under way.
                self._leave(int.from_bytes(data[at + 13 : at + 17], "big"))
            else:
                for event in self._h2.receive_data(data[at:after]):
                    self._handle(event)
            at = after
        return data[at:]

    def _begin_body(self, header: frames.FrameHeader) -> bool:
        """Whether a frame may pass h2 by: not the last, of a stream whose body is awaited, within its windows."""
        if header.flags & frames.END_STREAM or self._head_bytes:
            return False
        exchange = self._exchanges.get(header.stream)
        if exchange is None or exchange.complete or not 0 < header.length <= FRAME_BYTES:
            return False
        stream = exchange.stream
        if stream.unseen + header.length > STREAM_WINDOW or header.length > self._credit:
            self._fail(ErrorCodes.FLOW_CONTROL_ERROR)
            return False
        stream.unseen += header.length
        self._credit -= header.length
        self._data_left, self._data_exchange = header.length, exchange
        if not header.flags & frames.PADDED:
            self._track(header.length)
        return True

    def _track(self, size: int) -> None:
        """h2 compares with the stated length at the end; past it, the stream is over at once."""
        exchange = self._data_exchange
        if exchange is None or exchange.stream.closed:
            return
        try:
            exchange.stream.state._track_content_length(size, False)
        except InvalidBodyLengthError:
            self.reset(exchange.stream, ErrorCodes.PROTOCOL_ERROR)
            self._lose(exchange)

    def _take_body(self, data: bytes, at: int) -> int:
        """What there is of the frame that `_begin_body` has let pass; returns where it ends."""
        if not self._padding_known and at < len(data):
            self._padding_known = True
            self._padding_left = data[at]
            self._data_left -= 1 + data[at]
            at += 1
            if self._data_left < 0:
                self._fail(ErrorCodes.PROTOCOL_ERROR)
                return at
            self._track(self._data_left)
            self._skip(1 + self._padding_left)
        size = min(self._data_left, len(data) - at)
        if size and self._padding_known:
            self._data_left -= size
            if self._data_exchange is not None:
                self._feed(self._data_exchange, data[at : at + size])
            self._return_credit(size)
            at += size
        if self._padding_left and not self._data_left:
            size = min(self._padding_left, len(data) - at)
            self._padding_left -= size
            at += size
        return at

    def _skip(self, size: int) -> None:
        """Padding counts as body, and is taken at once."""
        if self._data_exchange is not None:
            self.open_window(self._data_exchange.stream, size)
        self._return_credit(size)

    def _feed(self, exchange: Exchange, data: bytes) -> None:
        stream = exchange.stream
        if not stream.closed and not exchange.answered:
            stream.waiting += len(data)
            self._buffered += len(data)
            exchange.feed(data)

    def _return_credit(self, size: int) -> None:
        self._returned += size
        self._give_credit()

    def _give_credit(self) -> None:
        """A slow stream holds up itself; only when much waits in all of them the connection is held back."""
        if self._returned >= _WINDOW // 4 and self._buffered < CONNECTION_BYTES:
            self._out.append(frames.window_update(0, self._returned))
            self._credit += self._returned
            self._returned = 0
            self.flush()

    def _check_frame(self, header: frames.FrameHeader) -> None:
        """Of what must be received whole: that it is not too large."""
        if header.kind in {frames.HEADERS, frames.CONTINUATION}:
            size = self._head_bytes + header.length
            if size > MAX_HEAD_BYTES:
                self._fail(ErrorCodes.ENHANCE_YOUR_CALM)
        elif header.length > (FRAME_BYTES if header.kind == frames.DATA else 16384):
            self._fail(ErrorCodes.FRAME_SIZE_ERROR)

    def _handle(self, event: events.Event) -> None:
        if isinstance(event, events.RequestReceived):
            self._begin(event)
        elif isinstance(event, events.DataReceived):
            self._take_shown(event)
        elif isinstance(event, events.StreamEnded):
            exchange = self._exchanges.get(event.stream_id or 0)
            if exchange is not None and not exchange.complete:
                exchange.feed_end()
        elif isinstance(event, events.WindowUpdated):
            self._wake(event.stream_id or 0)
        elif isinstance(event, _CHORES):
            self._count_chore()
            if isinstance(event, events.StreamReset) and (lost := self._exchanges.get(event.stream_id or 0)):
                self._forget(lost.stream)
                self._lose(lost)
            elif isinstance(event, events.RemoteSettingsChanged):
                self._wake(0)

    def _leave(self, code: int) -> None:
        """The client will ask no more. What is under way is still answered."""
        self._closing = code != ErrorCodes.NO_ERROR
        self._close_if_drained()

    def _begin(self, event: events.RequestReceived) -> None:
        number = event.stream_id or 0
        if len(self._running) >= MAX_STREAMS or self.server.draining:
            self._h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            self._count_chore()
            return
        self._last_stream = number
        try:
            scope, length, expects = request(self._fixed, event.headers)
        except MalformedRequestError:
            self._h2.reset_stream(number, ErrorCodes.PROTOCOL_ERROR)
            self._count_chore()
            return
        if self.server.proxies is not None:
            scope["client"], scope["headers"] = self.server.proxies.judge(scope["client"], scope["headers"])
        self._run(Exchange(Stream(self, number, self._h2.streams[number]), scope, length, expects=expects), event)

    def _run(self, exchange: Exchange, event: events.RequestReceived) -> None:
        self.since = self.server.clock.now
        self._running.add(exchange)
        self._exchanges[exchange.stream.number] = exchange
        if event.stream_ended is not None:
            exchange.feed_end()
        if exchange.run():
            self.finished(exchange)

    def _take_shown(self, event: events.DataReceived) -> None:
        """A frame that h2 has seen: the last of a body, or an empty one."""
        number, size = event.stream_id or 0, event.flow_controlled_length or 0
        exchange = self._exchanges.get(number)
        if exchange is not None and event.data:
            self._feed(exchange, event.data)
        if size:
            self._h2.acknowledge_received_data(size, number)
        elif event.stream_ended is None:
            self._count_chore()

    # -- within

    def _wake(self, number: int) -> None:
        """The client has opened the window of one stream, or of all."""
        if number:
            if (exchange := self._exchanges.get(number)) is not None:
                exchange.stream.window.set()
        else:
            for exchange in self._exchanges.values():
                exchange.stream.window.set()

    def _sent(self, stream: Stream, *, last: bool) -> None:
        if last and stream.number in self._exchanges and self._exchanges[stream.number].complete:
            self._forget(stream)
        self.flush()

    def _forget(self, stream: Stream) -> None:
        """Nothing more comes or goes by this stream."""
        stream.closed = True
        self._exchanges.pop(stream.number, None)
        self._buffered -= stream.waiting
        stream.waiting = 0
        self._give_credit()

    @staticmethod
    def _lose(exchange: Exchange) -> None:
        exchange.stream.closed = True
        exchange.client_gone()
        exchange.stream.window.set()

    def _count_chore(self) -> None:
        if self._chores.too_many(self.server.clock.now):
            self._fail(ErrorCodes.ENHANCE_YOUR_CALM)

    def _fail(self, code: int) -> None:
        """The connection is of no more use: say why, and close it."""
        if self._closing:
            return
        self._closing = True
        self._collect()
        self._out.append(frames.go_away(self._last_stream, code))
        for exchange in list(self._exchanges.values()):
            self._lose(exchange)
        self._exchanges.clear()
        batching, self._batching = self._batching, False
        self.flush()
        self._batching = batching
        if self.transport.can_write_eof():
            # A reset, because the client still sends, would take from it why.
            self.transport.write_eof()
            self._lingering = self.server.clock.now
        else:
            self.transport.close()

    def _close_if_drained(self) -> None:
        if (self.server.draining or self._closing) and not self._running:
            self.flush()
            self.transport.close()

    def _collect(self) -> None:
        """What h2 has to say, in its order with what is said past it."""
        if said := self._h2.data_to_send():
            self._out.append(said)
