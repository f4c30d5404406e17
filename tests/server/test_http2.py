from __future__ import annotations

import asyncio
import hashlib
import ssl
from dataclasses import replace
from typing import Any, cast

import pytest
from h2 import events
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import ContinuationFrame, HeadersFrame
from tests.server.certificates import Authority
from tests.server.http2client import Client, connected
from tests.server.serving import Serving, ask, serving

from lading.server import http2_limits
from lading.server.exchange import ClientGoneError
from lading.server.http2 import Connection
from lading.server.http2_exchange import STREAM_WINDOW
from lading.server.http2_frames import go_away
from lading.server.listener import Listener
from lading.server.listening import Deadlines

MIB = 1024 * 1024
H2C = Listener(http2=True)
CONTENT = hashlib.shake_128(b"content").digest(5 * MIB)


class Application:
    """Paths say what to do; `held` are those that wait to be let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.gone = asyncio.Event()
        self.reached = asyncio.Event()
        self.received = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        status, body = 200, b""
        match scope["path"]:
            case "/held":
                self.reached.set()
                await self.go.wait()
                body = b"GET /held"
            case "/until-gone":
                self.reached.set()
                while (await receive())["type"] != "http.disconnect":
                    pass
                self.gone.set()
                return
            case "/hash":
                await self.go.wait()
                digest = hashlib.sha256()
                more = True
                while more:
                    message = await receive()
                    assert message["type"] == "http.request", message
                    digest.update(message["body"])
                    self.received += len(message["body"])
                    more = message["more_body"]
                body = digest.hexdigest().encode()
            case "/content":
                await self._content(send)
                return
            case "/one":
                body = CONTENT[:100_000]
            case "/refused":
                status, body = 401, b"who are you?"
            case "/endless":
                await self._endless(send)
                return
            case "/broken":
                raise ValueError("broken")
            case _:
                body = f"{scope['method']} {scope['path']} {dict(scope['headers'])[b'host'].decode()}".encode()
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": status, "headers": [length, (b"connection", b"x")]})
        await send({"type": "http.response.body", "body": body})

    async def _content(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for start in range(0, len(CONTENT), MIB):
            await send({"type": "http.response.body", "body": CONTENT[start : start + MIB], "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _endless(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.reached.set()
        try:
            while True:
                await send({"type": "http.response.body", "body": bytes(MIB), "more_body": True})
        except ClientGoneError:
            self.gone.set()


@pytest.fixture
def application() -> Application:
    return Application()


async def soon(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 10)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("protocols", [("h2", "http/1.1"), ("http/1.1",)])
async def test_what_is_negotiated(
    authority: Authority, application: Application, version: ssl.TLSVersion, protocols: tuple[str, ...]
) -> None:
    context = authority.client()
    context.maximum_version = version
    settings = replace(authority.issue(), protocols=protocols)
    async with serving(Listener(tls=settings), application) as running:
        old = await asyncio.to_thread(ask, running.port, context)
        assert (old.protocol, "200 OK" in old.text) == (None, True)
        context.set_alpn_protocols(["h2", "http/1.1"])
        if "h2" in protocols:
            async with connected(running.port, context) as client:
                assert (await client.answer(client.ask()))[1] == b"GET / registry.test"
        else:
            assert (await asyncio.to_thread(ask, running.port, context)).protocol == "http/1.1"


async def test_without_tls_both_are_spoken(application: Application) -> None:
    async with serving(H2C, application) as running:
        assert "200 OK" in (await asyncio.to_thread(ask, running.port)).text
        async with connected(running.port) as client:
            head, body = await client.answer(client.ask("GET", "/a%20b?c"))
            assert (head[":status"], body) == ("200", b"GET /a b registry.test")
            assert "date" in head
            assert "connection" not in head
            head, body = await client.answer(client.ask("HEAD", "/"))
            assert (head["content-length"], body) == ("20", b"")


async def test_without_h2c_the_preface_is_no_request(application: Application) -> None:
    async with serving(Listener(), application) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()


@pytest.mark.parametrize("frame", [1, 16384, 20000, MIB])
async def test_a_download(application: Application, frame: int) -> None:
    async with serving(H2C, application) as running, connected(running.port) as client:
        sizes = {SettingCodes.MAX_FRAME_SIZE: max(frame, 16384), SettingCodes.INITIAL_WINDOW_SIZE: 100_000}
        client.state.update_settings(sizes)
        client.state.increment_flow_control_window(MIB)
        client.flush()
        while not (await client.until(events.SettingsAcknowledged)).changed_settings:
            pass
        head, body = await client.answer(client.ask("GET", "/content"))
        assert (head[":status"], body == CONTENT) == ("200", True)


async def test_a_body_in_one_message_is_sent_in_frames_the_client_takes(application: Application) -> None:
    async with serving(H2C, application) as running, connected(running.port) as client:
        client.state.increment_flow_control_window(MIB)
        client.state.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: MIB})
        _, body = await client.answer(client.ask("GET", "/one"))
        assert body == CONTENT[:100_000]
        frames = [event for event in client.seen if isinstance(event, events.DataReceived)]
        assert max(len(event.data or b"") for event in frames) <= 16384


async def test_an_answer_without_a_body_waits_for_its_reader(application: Application) -> None:
    async with serving(H2C, application) as running, connected(running.port) as client:
        await client.answer(client.ask())
        [connection] = running.server.connections
        cast("Connection", connection).pause_writing()  # as the transport does when its client does not read
        await client.answer(client.ask("HEAD", "/"))
        [waiting] = running.server.tasks
        cast("Connection", connection).resume_writing()
        async with asyncio.timeout(10):
            await waiting


class TestUploads:
    @pytest.mark.parametrize("padding", [None, 0, 200])
    @pytest.mark.parametrize("length", [True, False])
    async def test_arrive_whole(self, application: Application, padding: int | None, length: bool) -> None:
        application.go.set()
        fields = [("content-length", str(len(CONTENT)))] if length else []
        async with serving(H2C, application) as running, connected(running.port) as client:
            stream = client.ask("PUT", "/hash", *fields, end=False)
            await client.send(stream, CONTENT, padding=padding)
            _, body = await client.answer(stream)
            assert body.decode() == hashlib.sha256(CONTENT).hexdigest()

    async def test_a_stalled_one_holds_back_itself_only(self, application: Application) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            stalled = client.ask("PUT", "/hash", end=False)
            other = client.ask("PUT", "/until-gone", end=False)
            while client.state.local_flow_control_window(stalled) == 65535:
                await client.read()
            await client.send(stalled, bytes(STREAM_WINDOW), end=False)
            assert client.state.local_flow_control_window(stalled) <= 0
            await client.send(other, CONTENT)
            application.go.set()
            await client.send(stalled, b"end")
            assert (await client.answer(stalled))[1].decode() == hashlib.sha256(bytes(MIB) + b"end").hexdigest()

    @pytest.mark.parametrize("flags", [0, 1], ids=["goes-on", "last"])
    async def test_a_frame_that_is_too_large_is_refused_when_it_is_announced(
        self, application: Application, flags: int
    ) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            stream = client.ask("PUT", "/hash", end=False)
            size = http2_limits.FRAME_BYTES + 1
            client.write(size.to_bytes(3, "big") + bytes([0, flags]) + stream.to_bytes(4, "big"))
            ended = await client.until(events.ConnectionTerminated)
            assert ended.error_code == ErrorCodes.FRAME_SIZE_ERROR

    @pytest.mark.parametrize("extra", [1, MIB // 2])
    async def test_past_the_window_the_connection_ends(self, application: Application, extra: int) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            stream = client.ask("PUT", "/hash", end=False)
            while client.state.local_flow_control_window(stream) == 65535:
                await client.read()
            await client.send(stream, bytes(STREAM_WINDOW), end=False)
            header = extra.to_bytes(3, "big") + b"\0\0" + stream.to_bytes(4, "big")
            client.write(header + bytes(extra))
            ended = await client.until(events.ConnectionTerminated)
            assert ended.error_code == ErrorCodes.FLOW_CONTROL_ERROR

    @pytest.mark.parametrize("size", [5, 40_000])
    async def test_more_than_was_said(self, application: Application, size: int) -> None:
        application.go.set()
        async with serving(H2C, application) as running, connected(running.port) as client:
            stream = client.ask("PUT", "/hash", ("content-length", "4"), end=False)
            await client.send(stream, bytes(size), end=False)
            with pytest.raises(ConnectionError):
                await client.answer(stream)

    async def test_less_than_was_said(self, application: Application) -> None:
        application.go.set()
        async with serving(H2C, application) as running, connected(running.port) as client:
            stream = client.ask("PUT", "/hash", ("content-length", "30000"), end=False)
            await client.send(stream, bytes(20_000))
            with pytest.raises(ConnectionError):
                await client.answer(stream)

    async def test_continue_is_sent_when_the_body_is_wanted(self, application: Application) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            stream = client.ask("PUT", "/hash", ("expect", "100-continue"), end=False)
            application.go.set()
            informed = await client.until(events.InformationalResponseReceived, stream)
            assert dict(informed.headers)[":status"] == "100"
            await client.send(stream, b"body")
            assert (await client.answer(stream))[1].decode() == hashlib.sha256(b"body").hexdigest()

    async def test_an_early_answer_stops_them(self, application: Application) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            stream = client.ask("PUT", "/refused", ("expect", "100-continue"), end=False)
            reset = await client.until(events.StreamReset, stream)
            assert reset.error_code == ErrorCodes.NO_ERROR
            assert (await client.answer(stream))[1] == b"who are you?"
            assert not any(isinstance(event, events.InformationalResponseReceived) for event in client.seen)
            assert (await client.answer(client.ask()))[0][":status"] == "200"

    async def test_trailers_end_them(self, application: Application) -> None:
        application.go.set()
        async with serving(H2C, application) as running, connected(running.port) as client:
            stream = client.ask("PUT", "/hash", end=False)
            await client.send(stream, b"body", end=False)
            client.state.send_headers(stream, [("x-checksum", "1")], end_stream=True)
            client.flush()
            assert (await client.answer(stream))[1].decode() == hashlib.sha256(b"body").hexdigest()


class TestEnds:
    async def test_a_reset_stream_is_a_client_that_has_gone(self, application: Application) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            stream = client.ask("PUT", "/until-gone", end=False)
            await soon(application.reached)
            client.state.reset_stream(stream)
            client.flush()
            await soon(application.gone)
            assert (await client.answer(client.ask()))[0][":status"] == "200"

    @pytest.mark.parametrize("how", ["reset", "close"])
    async def test_in_mid_answer(self, application: Application, how: str) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            stream = client.ask("GET", "/endless")
            await soon(application.reached)
            if how == "reset":
                client.state.reset_stream(stream)
                client.flush()
            else:
                client.writer.transport.abort()
            await soon(application.gone)

    async def test_an_application_that_fails_resets_its_stream(self, application: Application) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            with pytest.raises(ConnectionResetError, match=str(int(ErrorCodes.INTERNAL_ERROR))):
                await client.answer(client.ask("GET", "/broken"))
            assert (await client.answer(client.ask()))[0][":status"] == "200"

    async def test_draining(self, application: Application) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            stream = client.ask("GET", "/held")
            await soon(application.reached)
            running.stop.set()
            ended = await client.until(events.ConnectionTerminated)
            assert (ended.error_code, ended.last_stream_id) == (ErrorCodes.NO_ERROR, stream)
            application.go.set()
            assert b"GET /held" in await asyncio.wait_for(client.reader.read(), 10)

    async def test_a_client_that_will_ask_no_more_is_answered(self, application: Application) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            upload = client.ask("PUT", "/hash", end=False)
            held = client.ask("GET", "/held")
            await soon(application.reached)
            client.write(go_away(0, ErrorCodes.NO_ERROR))
            await client.send(upload, b"the rest of a body")
            application.go.set()
            assert (await client.answer(held))[1] == b"GET /held"
            assert (await client.answer(upload))[1].decode() == hashlib.sha256(b"the rest of a body").hexdigest()

    async def test_a_drain_with_a_connection_that_has_failed(self, application: Application) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            client.write(b"\0\0\1\4\0\0\0\0\0\0")  # SETTINGS of one byte
            while not client.closed:
                await client.read()
            assert len(running.server.connections) == 1, "it may still say why"
            running.stop.set()
            async with asyncio.timeout(10):
                await running.task

    async def test_a_connection_that_cannot_be_closed_is_ended(self, application: Application) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            await client.answer(client.ask())
            [connection] = running.server.connections
            connection.transport.write(bytes(64 * MIB))  # more than a client that does not read lets through
            connection.transport.close()
            now, longest = running.server.clock.now, running.server.deadlines.idle + http2_limits.LINGER_SECONDS
            assert not connection.expired(now + longest - 1)
            assert connection.expired(now + longest + 1)
            connection.abort()

    async def test_an_idle_connection_is_closed(self, application: Application) -> None:
        async with serving(H2C, application, Deadlines(idle=0.5)) as running, connected(running.port) as client:
            await client.answer(client.ask())
            ended = await client.until(events.ConnectionTerminated)
            assert ended.error_code == ErrorCodes.NO_ERROR
            while not client.closed:
                await client.read()

    async def test_a_client_that_takes_nothing_of_its_answer(self, application: Application) -> None:
        deadlines = Deadlines(stalled=0.5)
        async with serving(H2C, application, deadlines) as running, connected(running.port) as client:
            stream = client.ask("GET", "/endless")
            reset = await client.until(events.StreamReset, stream)
            assert reset.error_code == ErrorCodes.CANCEL
            await soon(application.gone)

    @pytest.mark.parametrize("sent", [b"", b"PRI * HTTP", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"])
    async def test_half_a_beginning(self, application: Application, sent: bytes) -> None:
        async with serving(H2C, application, Deadlines(head=0.5, idle=0.5)) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(sent)
            await asyncio.wait_for(reader.read(), 10)
            writer.close()


class TestFloods:
    async def refused(self, client: Client) -> ErrorCodes | int | None:
        code: ErrorCodes | int | None = None
        try:
            while not client.closed:
                for event in await client.read():
                    if isinstance(event, events.ConnectionTerminated):
                        code = event.error_code
        except ConnectionError:
            pass
        return code

    async def serve_on(self, running: Serving) -> None:
        async with connected(running.port) as client:
            assert (await client.answer(client.ask()))[0][":status"] == "200"

    async def test_rapid_resets(self, application: Application) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            for _ in range(2 * http2_limits.MAX_CHORES):
                client.state.reset_stream(client.ask("GET", "/held"))
            client.flush()
            assert await self.refused(client) == ErrorCodes.ENHANCE_YOUR_CALM
            assert len(running.server.tasks) <= http2_limits.MAX_STREAMS
            await self.serve_on(running)

    @pytest.mark.parametrize(
        "frame",
        [
            b"\0\0\x08\x06\0\0\0\0\0" + bytes(8),  # PING
            b"\0\0\0\x04\0\0\0\0\0",  # SETTINGS
            b"\0\0\x05\x02\0\0\0\0\x03" + bytes(5),  # PRIORITY
            b"\0\0\0\0\0\0\0\0\x01",  # DATA, empty
        ],
        ids=["ping", "settings", "priority", "empty-data"],
    )
    async def test_chores(self, application: Application, frame: bytes) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            client.ask("PUT", "/until-gone", end=False)
            client.write(frame * (3 * http2_limits.MAX_CHORES))
            assert await self.refused(client) == ErrorCodes.ENHANCE_YOUR_CALM
            await self.serve_on(running)

    async def test_requests_that_cannot_be_read(self, application: Application) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            for _ in range(2 * http2_limits.MAX_CHORES):
                client.state.reset_stream(client.ask("GET", "http://["))
            client.flush()
            assert await self.refused(client) == ErrorCodes.ENHANCE_YOUR_CALM
            await self.serve_on(running)

    @pytest.mark.parametrize("size", [10, 16_000])
    async def test_continuations(self, application: Application, size: int) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            first = HeadersFrame(1, b"\x82")
            more = ContinuationFrame(1, bytes(size))
            client.write(first.serialize() + more.serialize() * 200)
            assert await self.refused(client) in {ErrorCodes.ENHANCE_YOUR_CALM, ErrorCodes.PROTOCOL_ERROR}
            await self.serve_on(running)

    async def test_a_head_that_unfolds(self, application: Application) -> None:
        """Small on the wire, by the dynamic table, and large when it is read."""
        async with serving(H2C, application) as running, connected(running.port) as client:
            client.ask("GET", "/", *[("x-large", "a" * 2000)] * 100)
            assert await self.refused(client) is not None
            await self.serve_on(running)

    async def test_too_many_streams(self, application: Application) -> None:
        async with serving(H2C, application) as running, connected(running.port) as client:
            while client.state.remote_settings.max_concurrent_streams != http2_limits.MAX_STREAMS:
                await client.read()
            client.state.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
            client.state.remote_settings.acknowledge()
            for _ in range(http2_limits.MAX_STREAMS + 1):
                client.ask("GET", "/held")
            assert await self.refused(client) is not None
            assert len(running.server.tasks) <= http2_limits.MAX_STREAMS
            await self.serve_on(running)
