"""Requests to a store: whole answers, kept connections, and what ends them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.servers.certificate import certificate

from lading.storage.s3 import wire
from lading.storage.s3.wire import WAITING_BYTES, Answer, Host

MIB = 1024 * 1024
PACKET = 64 * 1024
ASKED = b"GET / HTTP/1.1\r\nHost: store\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

Writer = asyncio.StreamWriter


@dataclass
class Store:
    """Gives its answers in turn, each to the next request, whatever that is."""

    answers: list[bytes | Callable[[Writer], Awaitable[None]]] = field(default_factory=list)
    connections: int = 0
    asked: list[bytes] = field(default_factory=list)
    """The bodies of the requests."""
    port: int = 0
    slow: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.connections += 1
        if self.slow:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PACKET)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"Content-Length: (\d+)", head)
                self.asked.append(await self._body(reader, int(length[1]) if length else 0))
                answer = self.answers.pop(0)
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _body(self, reader: asyncio.StreamReader, length: int) -> bytes:
        body = bytearray()
        while len(body) < length:
            if self.slow:
                await asyncio.sleep(0.02)
            body += await reader.readexactly(min(length - len(body), PACKET))
        return bytes(body)


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "tls")


@pytest.fixture
async def store(tls: bool) -> AsyncIterator[Store]:
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate().file, certificate().key)
    made, serving = Store(), set[asyncio.Task[None]]()

    def accepted(reader: asyncio.StreamReader, writer: Writer) -> None:
        serving.add(asyncio.create_task(made.serve(reader, writer)))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    async with asyncio.timeout(30):
        await asyncio.gather(*serving)


@pytest.fixture
async def host(store: Store, tls: bool) -> AsyncIterator[Host]:
    context = certificate().trusting() if tls else None
    made = Host("127.0.0.1", store.port, context, connect_seconds=5, silence=5, connections=2)
    yield made
    made.close()


async def ask(host: Host, method: str = "GET") -> tuple[int, bytes]:
    answer = await host.send(method, ASKED, b"")
    try:
        return answer.status, await answer.read()
    finally:
        answer.close()


async def test_a_connection_is_used_again(store: Store, host: Host) -> None:
    chunked = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    store.answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        chunked,
        b"HTTP/1.1 100 Continue\r\nETag: 1\r\n\r\n" + EMPTY,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nETag: a\r\nContent-Length: 1\r\n\r\nz",
    ]
    got = [await ask(host, method) for method in ("GET", "GET", "PUT", "DELETE", "HEAD", "GET")]
    assert got == [(200, b"abc"), (404, b"abcde"), (200, b""), (204, b""), (200, b""), (200, b"z")]
    assert store.connections == 1


@pytest.mark.parametrize(
    "ending",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        EMPTY + b"more than was asked for",
        EMPTY + EMPTY,
    ],
)
async def test_a_connection_that_is_not_used_again(ending: bytes, store: Store, host: Host) -> None:
    store.answers = [ending, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz"]
    assert await ask(host) == (200, b"")
    assert await ask(host) == (200, b"z")
    assert store.connections == 2


async def test_an_answer_that_was_not_read_ends_its_connection(store: Store, host: Host) -> None:
    store.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", EMPTY]
    answer = await host.send("GET", ASKED, b"")
    answer.close()
    answer.close()
    with pytest.raises(ConnectionAbortedError):
        await answer.read(10)
    assert await ask(host) == (200, b"")
    assert store.connections == 2


async def test_a_large_body(store: Store, host: Host) -> None:
    body = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(MIB // 4))
    store.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), EMPTY]
    answer = await host.send("GET", ASKED, b"")
    got = bytearray()
    while piece := await answer.read(300_000):
        assert len(piece) <= 300_000
        assert answer._waiting < 2 * WAITING_BYTES
        got += piece
    answer.close()
    assert got == body
    assert await ask(host) == (200, b"")
    assert store.connections == 1


async def test_a_large_request(store: Store, host: Host) -> None:
    body = bytes(range(256)) * 4096 * 8
    store.answers = [EMPTY, EMPTY]
    answer = await host.send("PUT", b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body), body)
    answer.close()
    assert answer.status == 200
    assert await ask(host) == (200, b"")
    assert store.asked == [body, b""]
    assert store.connections == 1


async def closed(writer: Writer) -> None:
    writer.close()


async def cut(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000))
    await writer.drain()
    writer.close()


async def reset(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000))
    await writer.drain()
    writer.transport.abort()


async def cut_in_a_chunk(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc")
    writer.close()


@pytest.mark.parametrize(
    "answer",
    [
        closed,
        cut,
        reset,
        cut_in_a_chunk,
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_an_answer_that_is_none(
    answer: bytes | Callable[[Writer], Awaitable[None]], store: Store, host: Host
) -> None:
    store.answers = [answer, EMPTY]
    with pytest.raises(OSError):  # noqa: PT011  whatever the socket says
        await ask(host)
    assert await ask(host) == (200, b"")


async def test_no_more_connections_than_allowed(store: Store, host: Host) -> None:
    store.answers = [EMPTY] * 3
    held = [await host.send("GET", ASKED, b"") for _ in range(2)]
    third = asyncio.create_task(ask(host))
    await asyncio.sleep(0)
    assert len(store.asked) == 2
    held[0].close()
    assert await third == (200, b"")
    held[1].close()
    assert store.connections == 2


async def test_a_host_that_is_not_there() -> None:
    async with await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    host = Host("127.0.0.1", port, None, connect_seconds=5, silence=5, connections=1)
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011
            await ask(host)


async def test_silence(store: Store, host: Host) -> None:
    async def silent(writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")

    store.answers = [silent, EMPTY]
    host.silence = 0.05
    with pytest.raises(TimeoutError):
        await ask(host)
    host.silence = 5
    assert await ask(host) == (200, b"")


async def test_a_request_that_is_still_being_sent_is_no_silence() -> None:
    sizes = [5, 4, 3, 2, 2]
    looked: list[int] = []

    def unsent() -> int:
        looked.append(sizes.pop(0))
        return looked[-1]

    transport = SimpleNamespace(
        get_write_buffer_size=unsent, resume_reading=lambda: None, abort=lambda: None, is_closing=lambda: False
    )
    connection = SimpleNamespace(transport=transport, host=SimpleNamespace(silence=0.001), file=-1)
    answer = Answer(cast("Any", connection), bodiless=False)
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            await answer.begin()
    assert looked == [5, 4, 3, 2, 2]


async def paused(store: Store, host: Host, rest: bytes, *, more: bytes = b"", ends: bool = False) -> Answer:
    """One byte was read: another, `more` of the body and the `rest` lie in the socket, unless TLS is over it."""
    written = asyncio.Event()

    async def answered(writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\na" % (2 + len(more)))
        await written.wait()
        writer.write(b"b" + more + rest)
        if ends:
            writer.close()
            await writer.wait_closed()
        written.clear()

    store.answers.append(answered)
    answer = await host.send("GET", ASKED, b"")
    assert await answer.read(1) == b"a"
    written.set()
    while written.is_set():
        await asyncio.sleep(0)
    return answer


async def test_what_lies_behind_an_answer_is_not_that_of_the_next_request(
    store: Store, host: Host, tls: bool
) -> None:
    answer = await paused(store, host, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
    store.answers.append(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright")
    with pytest.raises(ConnectionAbortedError) if tls else contextlib.nullcontext():
        assert await answer.read(10) == b"b"
    answer.close()
    assert await ask(host) == (200, b"right")
    assert store.connections == 2


async def test_a_connection_that_the_store_has_ended_is_not_used_again(
    store: Store, host: Host, tls: bool
) -> None:
    answer = await paused(store, host, b"", ends=not tls)
    assert await answer.read(10) == b"b"
    answer.close()
    store.answers.append(EMPTY)
    assert await ask(host) == (200, b"")
    assert store.connections == (1 if tls else 2)


async def test_a_slow_upload_is_no_silence(store: Store, host: Host) -> None:
    """Whoever takes the request, however slowly, is not silent: TLS does not tell how much of it is on its way."""
    store.answers, store.slow = [EMPTY, EMPTY], True
    host.silence = 0.5
    await ask(host)
    (connection,) = host._open
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PACKET)
    body = bytes(range(256)) * 4 * 4096
    answer = await host.send("PUT", b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body), body)
    answer.close()
    assert store.asked == [b"", body]
    assert store.connections == 1


async def test_a_request_that_is_answered_before_it_was_sent(store: Store, host: Host) -> None:
    """The rest of it is not sent behind the answer, and the connection is not used again."""
    body = bytes(64 * MIB)
    store.answers = [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", EMPTY]
    answer = await host.send("PUT", b"PUT / HTTP/1.1\r\nX-Length: %d\r\n\r\n" % len(body), body)
    assert (answer.status, await answer.read()) == (403, b"no")
    answer.close()
    assert await ask(host) == (200, b"")
    assert store.connections == 2


async def test_who_reads_what_is_there_already_lets_others_run(store: Store, host: Host, tls: bool) -> None:
    answer = await paused(store, host, b"", more=b"c" * 100)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    got = [await answer.read(1) for _ in range(101)]
    task.cancel()
    answer.close()
    assert b"".join(got) == b"b" + b"c" * 100
    assert tls or turns > 10  # with TLS the loop reads


async def test_a_connection_that_is_given_up_while_it_is_made(
    store: Store, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = wire._Connection.connection_made

    def cancelled(connection: Any, transport: asyncio.BaseTransport) -> None:
        made(connection, transport)
        asking.cancel()

    with monkeypatch.context() as patched:
        patched.setattr(wire._Connection, "connection_made", cancelled)
        asking = asyncio.create_task(ask(host))
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert not host._open
    store.answers = [EMPTY, EMPTY]
    held = [await host.send("GET", ASKED, b"") for _ in range(2)]
    for answer in held:
        answer.close()
