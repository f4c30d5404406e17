from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path
from typing import cast

import pytest
from tests.server.serving import ask, serving

from lading import build
from lading.config.activation import Activation, ActivationError, take
from lading.config.load import parse
from lading.config.models.configuration import Configuration
from lading.server.listener import Listener, ServerError


def configuration(http: str) -> Configuration:
    return parse(f"version: 0.1\nstorage: inmemory\nhttp: {http}", "config.yml", {}).configuration


def listener(http: str, passed: Activation | None = None) -> Listener:
    return build.listener(configuration(http), passed or Activation())


async def over_unix(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


class TestUnixSockets:
    @pytest.mark.parametrize(("setting", "mode"), [("0660", 0o660), ("'0600'", 0o600), ("0o777", 0o777)])
    async def test_mode(self, tmp_path: Path, setting: str, mode: int) -> None:
        path = tmp_path / "socket"
        async with serving(listener(f"{{net: unix, addr: {path}, socketmode: {setting}}}")):
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert (await over_unix(path)).endswith(b"\r\n\r\n- ")
        assert not path.exists()

    async def test_without_a_mode_the_umask_decides(self, tmp_path: Path) -> None:
        path = tmp_path / "socket"
        async with serving(listener(f"{{net: unix, addr: {path}}}")):
            assert stat.S_IMODE(path.stat().st_mode) == 0o777 & ~_umask()

    async def test_a_stale_one_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        async with serving(Listener(socket_path=str(path))):
            assert b"200 OK" in await over_unix(path)

    async def test_one_in_use_is_not(self, tmp_path: Path) -> None:
        path = tmp_path / "socket"
        async with serving(Listener(socket_path=str(path))):
            with pytest.raises(ServerError, match=r"Address already in use$"):
                Listener(socket_path=str(path)).check()
            assert b"200 OK" in await over_unix(path)

    def test_another_file_is_not(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"precious")
        with pytest.raises(ServerError, match=f"^http.addr: file {path} exists and is not a socket$"):
            Listener(socket_path=str(path)).check()
        assert path.read_bytes() == b"precious"


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


class Leaving:
    """A connection whose last answer is written, and not yet read."""

    def __init__(self) -> None:
        self.transport = cast("asyncio.Transport", self)
        self.asked = asyncio.Event()
        self.aborted = False

    def is_closing(self) -> bool:
        self.asked.set()
        return True

    def close_when_idle(self) -> None:
        """It is closing already."""

    def expired(self, _: float) -> bool:
        return False

    def abort(self) -> None:
        self.aborted = True


async def test_a_drain_waits_for_answers_that_are_still_read() -> None:
    async with serving(drain=60.0) as running:
        leaving = Leaving()
        running.server.connections.add(leaving)
        running.stop.set()
        async with asyncio.timeout(10):
            await leaving.asked.wait()
            running.server.connections.discard(leaving)
            assert await running.task
        assert not leaving.aborted
    async with serving(drain=0.1) as running:
        running.server.connections.add(leaving)
        running.stop.set()
        async with asyncio.timeout(10):
            await running.task
        assert leaving.aborted, "but not longer than the drain"


async def test_no_host_is_both_families() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    async with serving(listener("{addr: ':0'}")) as running:
        assert "127.0.0.1 " in (await asyncio.to_thread(ask, running.port)).text
        reader, writer = await asyncio.open_connection("::1", running.port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\n::1 ")
        writer.close()


def test_keep_alive_probes_every_three_minutes() -> None:
    [listening] = Listener("127.0.0.1").bind(1)
    with listening, socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 180
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 180


class TestActivation:
    @pytest.mark.parametrize(
        ("count", "names", "expected"),
        [
            (1, "", Activation(3)),
            (1, "registry.socket", Activation(3)),
            (1, "debug", Activation(None, 3)),
            (2, "", Activation(3, 4)),
            (2, "http:debug", Activation(3, 4)),
            (2, "debug:http", Activation(4, 3)),
            (0, "", Activation()),
        ],
    )
    def test_what_is_passed(self, count: int, names: str, expected: Activation) -> None:
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": names, "HOME": "/"}
        assert take(environ) == expected
        assert environ == {"HOME": "/"}

    @pytest.mark.parametrize(("pid", "count"), [("1", "1"), ("", "1"), ("own", "x"), ("x", "")])
    def test_what_is_meant_for_others(self, pid: str, count: str) -> None:
        pid = str(os.getpid()) if pid == "own" else pid
        assert take({"LISTEN_PID": pid, "LISTEN_FDS": count}) == Activation()

    def test_too_many(self) -> None:
        with pytest.raises(ActivationError, match=r"^found 3 socket-activation listeners, only expected 1 or 2$"):
            take({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "3"})

    def test_the_second_is_the_debug_listener_s(self) -> None:
        found = build.debug_listener(configuration("{}"), Activation(3, 4))
        assert found is not None
        assert found.inherited == 4

    @pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
    async def test_it_comes_before_the_configuration(self, tmp_path: Path, family: socket.AddressFamily) -> None:
        passed = socket.socket(family)
        path = str(tmp_path / "socket")
        passed.bind(path if family == socket.AF_UNIX else ("127.0.0.1", 0))
        passed.listen()
        name = passed.getsockname()
        async with serving(listener("{net: unix, addr: /nowhere/at/all}", Activation(passed.detach()))) as running:
            if family == socket.AF_UNIX:
                assert b"200 OK" in await over_unix(Path(path))
            else:
                assert running.port == name[1]
                assert "200 OK" in (await asyncio.to_thread(ask, running.port)).text
        assert (family == socket.AF_UNIX) == Path(path).exists()

    @pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
    def test_a_socket_of_no_use(self, kind: socket.SocketKind) -> None:
        with socket.socket(socket.AF_INET, kind) as passed:
            complaint = f"^socket activation: descriptor {passed.fileno()} is not a stream socket that listens$"
            with pytest.raises(ServerError, match=complaint):
                listener("{}", Activation(passed.fileno())).check()

    def test_a_descriptor_that_is_closed(self) -> None:
        with pytest.raises(ServerError, match=r"^socket activation: descriptor 1000 cannot be used: "):
            listener("{}", Activation(1000)).check()


def test_permissions_and_networks_that_are_none() -> None:
    for setting, complaint in {
        "socketmode: 0888": "http.socketmode: must be permissions in octal",
        "socketmode: '1777'": "http.socketmode: must be permissions in octal",
        "trustedproxies: [10.0.0.1/8]": "10.0.0.1/8 has host bits set",
        "trustedproxies: [proxy.example]": "does not appear to be an IPv4 or IPv6 network",
    }.items():
        with pytest.raises(Exception, match=complaint):
            listener(f"{{addr: ':0', {setting}}}")
