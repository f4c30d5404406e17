"""Requests that are answered where they are read, and those that have to wait after all."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lading.server.heads import MAX_BYTES, MAX_ENTRIES, Heads
from lading.server.http1 import Connection
from lading.server.listening import Server

App = Callable[[Any, Any, Any], Awaitable[None]]
Open = Callable[[App], Awaitable["Wire"]]

GET = b"GET /thing HTTP/1.1\r\nHost: here\r\n\r\n"


class Wire:
    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer

    async def answer(self) -> bytes:
        """The body of one answer."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
        return await self.reader.readexactly(int(length.split()[1]))

    async def ask(self, request: bytes = GET) -> bytes:
        self.writer.write(request)
        return await self.answer()

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 10)


@pytest.fixture
async def open_wire() -> AsyncIterator[Open]:
    opened: list[tuple[asyncio.Server, asyncio.StreamWriter]] = []

    async def open_(app: App) -> Wire:
        server = Server(app)
        listening = await asyncio.get_running_loop().create_server(lambda: Connection(server), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        opened.append((listening, writer))
        return Wire(server, reader, writer)

    yield open_
    for listening, writer in opened:
        listening.close()
        writer.close()


async def reply(send: Any, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "lading.response.whole", "status": 200, "headers": headers, "body": body})


async def test_an_application_that_never_waits_needs_no_task_of_its_own(open_wire: Open) -> None:
    tasks = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tasks.append(asyncio.current_task())
        async with asyncio.timeout(10):
            await reply(send, b"")

    wire = await open_wire(app)
    for _ in range(5):
        await wire.ask()
    assert None not in tasks
    assert len(set(tasks[1:])) == 1
    assert asyncio.current_task() not in tasks


async def test_one_that_waits_goes_on_in_a_task(open_wire: Open) -> None:
    waits = asyncio.Event()
    opened = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        waits.set()
        await opened.wait()
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
        await reply(send, b"waited")

    wire = await open_wire(app)
    wire.writer.write(GET + GET)
    await asyncio.wait_for(waits.wait(), 10)
    assert len(wire.server.tasks) == 1
    opened.set()
    assert [await wire.answer(), await wire.answer()] == [b"waited", b"waited"]
    assert not wire.server.tasks


@pytest.mark.parametrize("seconds", [-1, 0, 0.001])
async def test_a_timeout_that_begins_before_the_wait_ends_it(open_wire: Open, seconds: float) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            async with asyncio.timeout(seconds):
                await asyncio.Event().wait()
        except TimeoutError:
            await reply(send, b"too late")

    wire = await open_wire(app)
    assert [await wire.ask() for _ in range(5)] == [b"too late"] * 5


@pytest.mark.parametrize("waits", [False, True])
async def test_an_application_may_cancel_itself(open_wire: Open, waits: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        if scope["path"] == "/cancels":
            task.cancel()
            if waits:
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.Event().wait()
                task.uncancel()
        await reply(send, b"answer")

    wire = await open_wire(app)
    for path in (b"/", b"/cancels", b"/", b"/cancels", b"/", b"/"):
        assert await wire.ask(b"GET %b HTTP/1.1\r\nHost: here\r\n\r\n" % path) == b"answer"


async def test_pipelined_requests_are_answered_in_order_and_not_one_within_the_other(open_wire: Open) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/7":
            await asyncio.sleep(0)
        await reply(send, scope["path"].encode())

    wire = await open_wire(app)
    wire.writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: here\r\n\r\n" % number for number in range(120)))
    assert [await wire.answer() for _ in range(120)] == [b"/%d" % number for number in range(120)]


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError, OSError])
async def test_one_that_fails_costs_its_own_connection_alone(
    open_wire: Open, error: type[BaseException], waiting: bool
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if waiting:
            await asyncio.sleep(0)
        raise error("it failed")

    wire = await open_wire(app)
    wire.writer.write(GET)
    with contextlib.suppress(ConnectionResetError):
        assert await wire.rest() == b""
    assert not wire.server.tasks
    assert not wire.server.connections


async def test_one_that_waits_is_told_that_the_client_has_gone(open_wire: Open) -> None:
    waits, told = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        waits.set()
        both = await asyncio.gather(receive(), receive())
        assert [message["type"] for message in both] == ["http.disconnect"] * 2
        told.set()

    wire = await open_wire(app)
    wire.writer.write(GET)
    await asyncio.wait_for(waits.wait(), 10)
    # Closed with a reset: a client that only ends its half still gets its answer.
    wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.writer.transport.abort()
    await asyncio.wait_for(told.wait(), 10)


async def test_requests_do_not_share_context(open_wire: Open) -> None:
    variable: contextvars.ContextVar[bytes] = contextvars.ContextVar("variable", default=b"unset")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found = variable.get()
        token = variable.set(b"set")
        if scope["path"] == "/waits":
            await asyncio.sleep(0)
        variable.reset(token)
        variable.set(b"left behind")
        await reply(send, found)

    wire = await open_wire(app)
    for path in (b"/", b"/waits", b"/"):
        assert await wire.ask(b"GET %b HTTP/1.1\r\nHost: here\r\n\r\n" % path) == b"unset"


async def test_a_request_that_comes_again_is_the_same_to_the_application(open_wire: Open) -> None:
    scopes: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append({**scope, "headers": list(scope["headers"])})
        scope["headers"].append((b"added", b"by the application"))
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        await reply(send, b"")

    wire = await open_wire(app)
    request = b"GET /a%20b?c=%64 HTTP/1.1\r\nHost: here\r\nAccept:  one\r\nACCEPT: two\r\n\r\n"
    for _ in range(3):
        await wire.ask(request)
    assert wire.server.heads.get(request) is not None
    assert scopes[0] == scopes[1] == scopes[2]
    assert scopes[0]["path"] == "/a b"
    # What stands in the way of parsing is parsed.
    wire.writer.write(request[:20])
    wire.writer.write(request[20:] + request)
    for _ in range(2):
        await wire.answer()
    assert scopes[3] == scopes[4] == scopes[0]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\nAuthorization:  Basic c2VjcmV0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nAuthorization: Basic a\r\nauthorization: Basic a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nAuthorization: Basic %b\r\n\r\n" % (b"x" * 8192),
        b"GET / HTTP/1.1\r\nHost: here\r\nCookie: a=b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
        b"DELETE / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody",
        b"GET / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\n\r\n",
        GET + GET,
        GET + b"GET",
        b"GET / HTTP/1.1\r\nHost: here\r\nX: %b\r\n\r\n" % (b"x" * MAX_BYTES),
    ],
)
async def test_what_is_not_to_be_remembered(open_wire: Open, request_: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"answer")

    wire = await open_wire(app)
    assert await wire.ask(request_) == b"answer"
    assert wire.server.heads.get(request_) is None


async def test_a_file_that_became_shorter_cuts_the_connection(open_wire: Open, tmp_path: Path) -> None:
    """The client sees that something is missing, instead of waiting for it."""
    path = tmp_path / "file"
    path.write_bytes(b"ten bytes.")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"100")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        with path.open("rb") as file:
            await send({"type": "http.response.zerocopysend", "file": file, "offset": 0, "count": 100})

    wire = await open_wire(app)
    wire.writer.write(GET)
    with contextlib.suppress(ConnectionResetError):
        assert len(await wire.rest()) < 1000
    assert not wire.server.connections


async def test_a_head_behind_others_has_a_time_of_its_own(open_wire: Open) -> None:
    opened, waits = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        waits.set()
        await opened.wait()
        await reply(send, b"answer")

    wire = await open_wire(app)
    wire.writer.write(GET + GET + b"GET /third HTTP/1.1\r\n")
    await asyncio.wait_for(waits.wait(), 10)
    [connection] = wire.server.connections
    clock, longest = wire.server.clock, wire.server.deadlines.head
    clock.now += longest + 1
    assert not connection.expired(clock.now), "it is held back"
    opened.set()
    assert [await wire.answer(), await wire.answer()] == [b"answer", b"answer"]
    assert not connection.expired(clock.now + longest - 1)
    assert connection.expired(clock.now + longest + 1)


async def test_requests_that_differ_in_their_credentials_are_parsed_once(open_wire: Open) -> None:
    seen: list[list[tuple[bytes, bytes]]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(sorted(scope["headers"]))
        await reply(send, b"answer")

    wire = await open_wire(app)
    bare = b"GET / HTTP/1.1\r\nHost: here\r\nAccept: a\r\n\r\n"
    shown = [None, b"Basic b25l", b"Bearer two", None]
    for value in shown:
        line = b"" if value is None else b"Authorization: %b\r\n" % value
        await wire.ask(bare.replace(b"Accept", line + b"Accept"))
    host = [(b"accept", b"a"), (b"host", b"here")]
    assert seen == [sorted([*host, *([(b"authorization", value)] if value else [])]) for value in shown]
    [remembered] = wire.server.heads._found.items()
    assert remembered[0] == bare
    assert remembered[1]["headers"] == host[::-1]


@pytest.mark.parametrize("repeated", [False, True])
async def test_what_is_broken_behind_a_request_is_refused_once(open_wire: Open, repeated: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"answer")

    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    wire = await open_wire(app)
    await wire.ask()
    if repeated:
        await wire.ask()
    wire.writer.write(GET + b"broken\r\n\r\n")
    assert await wire.answer() == b"answer"
    refusal = await wire.rest()
    assert refusal.startswith(b"HTTP/1.1 400 ")
    assert refusal.count(b"HTTP/1.1") == 1
    assert failures == []


def test_the_oldest_heads_give_way() -> None:
    heads = Heads()
    requests = [b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(MAX_ENTRIES + 1)]
    for request in requests:
        heads.put(request, {"headers": []})
    assert heads.get(requests[0]) is None
    assert all(heads.get(request) is not None for request in requests[1:])
