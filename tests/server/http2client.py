"""A client of HTTP/2 that can be told to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection

SECONDS = 10.0


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.state = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.seen: list[events.Event] = []
        self.closed = False
        self.state.initiate_connection()
        self.flush()

    def flush(self) -> None:
        if (data := self.state.data_to_send()) and not self.writer.is_closing():
            self.writer.write(data)

    def write(self, raw: bytes) -> None:
        self.flush()
        self.writer.write(raw)

    def ask(
        self, method: str = "GET", path: str = "/", *fields: tuple[str, str], end: bool = True, stream: int = 0
    ) -> int:
        stream = stream or self.state.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":authority", "registry.test"), (":path", path)]
        self.state.send_headers(stream, [*head, *fields], end_stream=end)
        self.flush()
        return stream

    async def send(self, stream: int, body: bytes, *, end: bool = True, padding: int | None = None) -> None:
        """As much as the windows let through, then more of it as they open."""
        while body:
            room = self.state.local_flow_control_window(stream) - (256 if padding is not None else 0)
            size = min(len(body), room, self.state.max_outbound_frame_size - 300)
            if size <= 0:
                await self.until(events.WindowUpdated)
                continue
            self.state.send_data(stream, body[:size], end_stream=end and size == len(body), pad_length=padding)
            self.flush()
            await self.writer.drain()
            body = body[size:]

    async def read(self) -> list[events.Event]:
        """What comes next; `closed` if nothing does."""
        data = await asyncio.wait_for(self.reader.read(1 << 20), SECONDS)
        self.closed = not data
        found = self.state.receive_data(data)
        self.seen += found
        self.flush()
        return found

    async def until(self, kind: type[events.Event], stream: int | None = None) -> Any:
        """The next event of a kind, of one stream if given. Those seen before do not count."""
        while not self.closed:
            for event in await self.read():
                if isinstance(event, kind) and stream in (None, getattr(event, "stream_id", None)):
                    return event
        raise ConnectionError(f"closed before {kind.__name__}; seen: {self.seen}")

    async def answer(self, stream: int, *, acknowledge: bool = True) -> tuple[dict[str, str], bytes]:
        while not self._ended(stream):
            for event in await self.read():
                if isinstance(event, events.DataReceived) and acknowledge:
                    self.state.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
                if isinstance(event, events.StreamReset) and event.stream_id == stream:
                    raise ConnectionResetError(event.error_code)
            self.flush()
            if self.closed:
                raise ConnectionError("closed in mid-answer")
        head: dict[str, str] = {}
        body = b""
        for event in self.seen:
            if getattr(event, "stream_id", None) != stream:
                continue
            if isinstance(event, events.ResponseReceived):
                head = dict(event.headers or [])  # type: ignore[arg-type]
            elif isinstance(event, events.DataReceived):
                body += event.data or b""
        return head, body

    def _ended(self, stream: int) -> bool:
        return any(isinstance(event, events.StreamEnded) and event.stream_id == stream for event in self.seen)


@contextlib.asynccontextmanager
async def connected(port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    if context is not None:
        context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1 << 22)
    client = Client(reader, writer)
    try:
        yield client
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
