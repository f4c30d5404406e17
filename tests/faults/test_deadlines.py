"""Clients that are slow on purpose are cut off at their deadlines, and their descriptors come back.

The server runs in this process, with deadlines of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from tests.faults.inprocess import application
from tests.faults.node import MIB, eventually
from tests.faults.wire import Wire
from tests.servers import content
from tests.servers.certificate import certificate
from tests.servers.client import Client

from lading.api import request as api_request
from lading.server.http1 import Connection
from lading.server.listening import Deadlines, Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

DEADLINES = Deadlines(head=1.0, idle=1.0, stalled=1.0)
SECONDS = 8.0
"""By then a client is gone: its deadline, the clock's second, and a busy machine."""

DATA = content.noise("large", 16 * MIB)
DIGEST = content.digest_of(DATA)
BLOB = f"/v2/team/app/blobs/{DIGEST}"


class OneCertificate:
    """A source of certificates that never changes."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    async def choose(self, accepted: socket.socket) -> ssl.SSLContext:
        return self._context

    def reload(self) -> None:
        raise AssertionError("nobody asked for it")

    async def watch(self) -> None:
        await asyncio.Event().wait()


class Here:
    """The server on an event loop in a thread of its own."""

    def __init__(self, root: Path, tls: ssl.SSLContext | None, deadlines: Deadlines = DEADLINES) -> None:
        self._tls = tls
        listening = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{listening.getsockname()[1]}"
        self.client = Client(self.host, certificate().trusting() if tls else None)
        self.server = Server(application(root), deadlines)
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve(listening)))

    async def _serve(self, listening: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        source = None if self._tls is None else OneCertificate(self._tls)
        await self.server.serve(Connection, listening, source, self._stop, 1.0)

    def __enter__(self) -> Here:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def connect(self) -> Wire:
        wire = Wire(self.host, receive_buffer=4096)
        if self._tls is not None:
            wire.socket = certificate().trusting().wrap_socket(wire.socket, server_hostname="127.0.0.1")
        return wire


@pytest.fixture(params=[False, True], ids=["clear", "tls"])
def here(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    monkeypatch.setattr(api_request, "BODY_IDLE_SECONDS", 1.0)
    context = None
    if request.param:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate().file, certificate().key)
    with Here(tmp_path / "data", context) as started:
        started.client.push_blob("team/app", DIGEST, DATA)
        eventually(lambda: not started.server.connections, "the first client is gone")
        before = len(os.listdir("/proc/self/fd"))
        yield started
        eventually(lambda: not started.server.connections and not started.server.tasks, "all is put away")
        assert len(os.listdir("/proc/self/fd")) <= before


def dribble(wire: Wire, data: bytes) -> None:
    """A byte every tenth of a second, over and over, until the server has had enough."""
    over = threading.Event()

    def send() -> None:
        with contextlib.suppress(OSError):
            for byte in data * 1000:
                if over.wait(0.1):
                    return
                wire.send(bytes([byte]))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with contextlib.suppress(ssl.SSLError):
            wire.rest()
    finally:
        over.set()
        sender.join()


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Field: ",
        b"GET /v2/",
        b"HEAD /v2/ HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/",
    ],
    ids=["from-the-start", "in-a-field", "in-the-target", "in-the-second-head"],
)
def test_heads_that_come_a_byte_at_a_time(here: Here, start: bytes) -> None:
    with here.connect() as wire:
        wire.socket.settimeout(SECONDS)
        wire.send(start)
        dribble(wire, b"GET")


def test_a_client_that_says_nothing(here: Here) -> None:
    with here.connect() as wire:
        wire.socket.settimeout(SECONDS)
        assert wire.rest() == b""


def test_a_client_that_does_not_finish_its_handshake(here: Here) -> None:
    with Wire(here.host) as wire:
        wire.socket.settimeout(SECONDS)
        assert wire.rest() == b"", "nothing is said to it"


def test_a_client_that_has_no_more_to_ask(here: Here) -> None:
    with here.connect() as wire:
        wire.socket.settimeout(SECONDS)
        wire.head("HEAD", "/v2/", {})
        assert wire.rest().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("framing", [{"Content-Length": "1000000"}, {"Transfer-Encoding": "chunked"}])
def test_a_body_that_stalls(here: Here, framing: dict[str, str]) -> None:
    location = here.client.start_upload("team/app").location
    with here.connect() as wire:
        wire.socket.settimeout(SECONDS)
        wire.head("PATCH", location, framing)
        wire.send(b"5\r\nbytes\r\n")
        answer = wire.rest()
    assert answer.startswith(b"HTTP/1.1 408")
    here.client.get(location).expect(204)


@pytest.mark.parametrize("times", [1, 20], ids=["one", "pipelined"])
def test_a_client_that_reads_nothing_of_its_answer(here: Here, times: int) -> None:
    with here.connect() as wire:
        for _ in range(times):
            wire.head("GET", BLOB, {})
        eventually(lambda: here.server.tasks, "it is served")
        eventually(lambda: not here.server.connections and not here.server.tasks, "it is cut off", seconds=SECONDS)


def test_slow_is_not_stalled(here: Here) -> None:
    """Whoever goes on sending and reading, however slowly, is served to the end."""
    location = here.client.start_upload("team/app").location
    with here.connect() as wire:
        wire.head("PATCH", location, {"Content-Length": "12"})
        pause = threading.Event()
        for number in range(12):
            pause.wait(0.3)
            wire.send(b"%x" % number)
        answer = wire.answer("PATCH")
    assert answer is not None
    assert answer.expect(202).header("Range") == "0-11"
