"""The access log: lines that are written together, and none that is lost or torn apart."""

from __future__ import annotations

import asyncio
import io
from typing import Any

from tests.servers.process import Registry

from lading.api.request import Message, Request
from lading.operations.accesslog import HELD_BYTES, AccessLog


class Written(io.RawIOBase):
    """What each system call would have written."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.arrived = asyncio.Event()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.pieces.append(bytes(data))
        self.arrived.set()
        return len(data)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def request(path: str = "/v2/", agent: bytes = b"agent") -> Request:
    return Request(
        {
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [(b"user-agent", agent)],
            "http_version": "1.1",
            "client": ("192.0.2.7", 40000),
        },
        _nothing,
    )


async def test_lines_that_come_together_are_written_together() -> None:
    for unbuffered in (True, False):
        written = Written()
        stream = io.TextIOWrapper(io.BufferedWriter(written), write_through=unbuffered)
        log = AccessLog(stream)
        for _ in range(3):
            log.write(request(), 200, 2, 0.0)
        assert written.pieces == []
        await asyncio.wait_for(written.arrived.wait(), 10)
        assert len(written.pieces) == 1
        assert written.pieces[0].count(b"\n") == 3


async def test_no_write_ends_within_a_line_nor_exceeds_what_a_pipe_takes() -> None:
    written = Written()
    log = AccessLog(io.TextIOWrapper(io.BufferedWriter(written)))
    for number in range(500):
        log.write(request(f"/v2/{'a' * (number % 200)}"), 200, number, 0.0)
    log.flush()
    assert len(written.pieces) > 1
    assert all(piece.endswith(b"\n") and len(piece) <= HELD_BYTES for piece in written.pieces)
    assert b"".join(written.pieces).count(b"\n") == 500


async def test_a_line_longer_than_that_is_written_whole() -> None:
    written = Written()
    log = AccessLog(io.TextIOWrapper(io.BufferedWriter(written)))
    log.write(request(), 200, 0, 0.0)
    log.write(request("/" + "a" * 60_000), 404, 0, 0.0)
    log.flush()
    assert [piece.count(b"\n") for piece in written.pieces] == [1, 1]


async def test_what_clients_send_cannot_forge_a_line() -> None:
    written = Written()
    log = AccessLog(io.TextIOWrapper(io.BufferedWriter(written)))
    log.write(request("/\n\u00e9", b'a"b\\c\x00'), 404, 0, 0.0)
    log.flush()
    line = b"".join(written.pieces)
    assert line.endswith(rb'"GET /\u000a\u00e9 HTTP/1.1" 404 0 "" "a\"b\\c\u0000"' + b"\n")


def test_a_registry_that_is_stopped_has_written_every_line(lading: Registry) -> None:

    for number in range(100):
        assert lading.client.request("GET", f"/v2/app/manifests/number-{number}").status == 404
    lading.stop()
    logged = lading.log.read_text()
    assert [logged.count(f"/v2/app/manifests/number-{number} HTTP") for number in range(100)] == [1] * 100
