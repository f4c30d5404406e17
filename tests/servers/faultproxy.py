"""A proxy before an HTTP server that counts requests, and answers chosen ones otherwise than the server."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from typing import Literal

Fault = Literal["500", "503", "reset", "cut", "hang", "stall", "trickle"]
"""`hang` never asks the server, `cut` and `stall` give half of its answer; `trickle` gives all of it, slowly."""

_TRICKLES, _PAUSE_SECONDS = 5, 0.1

_UPLOADS = re.compile(r"GET \S*[?&]uploads\b")
_NO_UPLOADS = b"<ListMultipartUploadsResult/>"

_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class FaultProxy:
    """`requests` are the first lines seen. While `lagging`, S3 lists no unfinished upload.

    Requests of the method `refused` are answered with 503.
    """

    def __init__(self, target: str) -> None:
        self.requests: list[str] = []
        self.lagging = False
        self.refused = ""
        self.host = ""
        self.stopping = False
        self._target = target.split(":")
        self._fault: Fault | None = None
        self._first = self._last = 0

    def reset(self, fault: Fault | None = None, first: int = 0, times: int = 1) -> None:
        """Count from zero; the request `first` and those up to `times` in all go wrong."""
        self.requests = []
        self._fault, self._first, self._last = fault, first, first + times

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while (head := await reader.readuntil(b"\r\n\r\n")) and await self._exchange(head, reader, writer):
                    pass
        finally:
            writer.transport.abort() if self.stopping else writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if b"100-continue" in head.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = re.sub(rb"\r\nexpect: 100-continue", b"", head, flags=re.IGNORECASE)
        body = await reader.readexactly(_length(head))
        number = len(self.requests)
        self.requests.append(head.partition(b" HTTP/")[0].decode())
        fault = self._fault if self._first <= number < self._last else None
        if self.refused and head.startswith(self.refused.encode()):
            fault = "503"
        if fault == "reset":
            writer.transport.abort()
            return False
        if self.lagging and _UPLOADS.match(self.requests[-1]):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(_NO_UPLOADS), _NO_UPLOADS))
            await writer.drain()
            return True
        if fault in ("500", "503"):
            writer.write(f"HTTP/1.1 {fault} Fault\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return True
        if fault == "hang":
            await reader.read()  # until the client has had enough
            return False
        answer, payload = await self._forward(head, body)
        whole = answer + payload
        if fault == "cut":
            # The request was carried out; its answer is lost half-way.
            writer.write(whole[: len(answer) + len(payload) // 2])
            await writer.drain()
            writer.transport.abort()
            return False
        if fault == "stall":
            # Without a body, the head itself is not finished.
            writer.write(whole[: len(answer) + len(payload) // 2 if payload else len(answer) - 4])
            await writer.drain()
            await reader.read()
            return False
        if fault == "trickle":
            step = -(-len(whole) // _TRICKLES)
            for start in range(0, len(whole), step):
                writer.write(whole[start : start + step])
                await writer.drain()
                await asyncio.sleep(_PAUSE_SECONDS)
            return True
        writer.write(whole)
        await writer.drain()
        return True

    async def _forward(self, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        upstream, sending = await asyncio.open_connection(self._target[0], int(self._target[1]))
        try:
            sending.write(head + body)
            answer = await upstream.readuntil(b"\r\n\r\n")
            # Where a session goes on is here, too.
            answer = answer.replace(b"://%b/" % ":".join(self._target).encode(), b"://%b/" % self.host.encode())
            if head.startswith(b"HEAD ") or answer.split()[1] in (b"204", b"304"):
                return answer, b""
            if _CHUNKED.search(answer):
                return answer, await _chunks(upstream)
            return answer, await upstream.readexactly(_length(answer))
        finally:
            sending.close()
            with contextlib.suppress(OSError):
                await sending.wait_closed()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = await reader.readline()
        data = await reader.readexactly(int(size, 16) + 2)
        body += size + data
        if not int(size, 16):
            return body


def _length(head: bytes) -> int:
    found = _LENGTH.search(head)
    return int(found[1]) if found else 0


@contextlib.contextmanager
def faultproxy(target: str) -> Iterator[FaultProxy]:
    """In a thread of its own."""
    proxy, loop, listening = FaultProxy(target), asyncio.new_event_loop(), threading.Event()

    async def run() -> None:
        # What is accepted is to be closed before the loop is: else it is found open by whatever test runs then.
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        proxy.host = f"{address[0]}:{address[1]}"
        listening.set()
        with contextlib.suppress(asyncio.CancelledError):
            await stop.wait()
        server.close()
        proxy.stopping = True
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert listening.wait(10)
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
