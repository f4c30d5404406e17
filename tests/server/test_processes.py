"""The whole program: what its processes do with signals and with sockets that are passed to them."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from tests.server.certificates import Authority
from tests.server.serving import ask
from tests.servers.ports import free_port

LADING = str(Path(sys.executable).with_name("lading"))
SIZE = 64 * 1024 * 1024


class Running:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()

    def said(self, text: str, times: int = 1, seconds: float = 20) -> None:
        """Wait until the log has it so often."""
        with self._news:
            found = self._news.wait_for(lambda: sum(text in line for line in self.lines) >= times, seconds)
            assert found, (text, self.lines)


@contextmanager
def lading(
    folder: Path,
    http: dict[str, object],
    passed: tuple[socket.socket, ...] = (),
    workers: int = 2,
    names: str = "",
) -> Iterator[Running]:
    """`passed` become descriptors 3 and up, as systemd passes them, and `names` is what it calls them."""
    config = folder / "config.yml"
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}}
    document = {"version": "0.1", "storage": storage, "http": {"secret": "s", **http}}
    config.write_text(yaml.safe_dump(document))
    moves = "".join(f"exec {3 + number}<&{given.fileno()}; " for number, given in enumerate(passed))
    exports = f"export LISTEN_PID=$$ LISTEN_FDS={len(passed)} LISTEN_FDNAMES={names}; " if passed else ""
    command = ["bash", "-c", f"{moves}{exports}exec {LADING} serve {config} --workers {workers}"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=[given.fileno() for given in passed],
        env={name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")},
    )
    try:
        yield Running(process)
    finally:
        process.terminate()
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


def listening(family: socket.AddressFamily, address: str | tuple[str, int]) -> socket.socket:
    made = socket.socket(family)
    made.bind(address)
    made.listen()
    return made


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_a_socket_that_is_passed_is_served_by_all(tmp_path: Path, workers: int) -> None:
    with (
        listening(socket.AF_INET, ("127.0.0.1", 0)) as passed,
        lading(tmp_path, {"addr": ":1"}, (passed,), workers) as running,
    ):
        running.said("Using systemd socket activation instead of any configured network listeners")
        running.said("listening on")
        for _ in range(20):
            assert "200 OK" in ask(passed.getsockname()[1]).text


@pytest.mark.slow
def test_the_second_socket_is_the_debug_listener_s(tmp_path: Path) -> None:
    with (
        listening(socket.AF_INET, ("127.0.0.1", 0)) as first,
        listening(socket.AF_INET, ("127.0.0.1", 0)) as second,
        lading(tmp_path, {"addr": ":1"}, (first, second)) as running,
    ):
        running.said("listening on")
        assert "200 OK" in ask(first.getsockname()[1]).text
        health = urllib.request.urlopen(f"http://127.0.0.1:{second.getsockname()[1]}/debug/health", timeout=20)
        assert health.read() == b"{}"


@pytest.mark.slow
def test_a_single_socket_for_the_debug_listener(tmp_path: Path) -> None:
    port = free_port()
    http: dict[str, object] = {"addr": f"127.0.0.1:{port}", "debug": {"prometheus": {"enabled": True}}}
    with (
        listening(socket.AF_INET, ("127.0.0.1", 0)) as passed,
        lading(tmp_path, http, (passed,), 1, "debug") as running,
    ):
        running.said("listening on")
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=20).read() == b"{}"
        debug = passed.getsockname()[1]
        running.said(f"debug server listening 127.0.0.1:{debug}")
        shown = urllib.request.urlopen(f"http://127.0.0.1:{debug}/metrics", timeout=20).read().decode()
        [line] = [line for line in shown.splitlines() if 'code="200",handler="base"' in line]
        assert line.endswith(" 1.0")
        assert not any("has no effect" in line for line in running.lines)


@pytest.mark.slow
def test_a_new_certificate_while_a_download_runs_on_an_old_connection(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    tls = authority.issue()
    client = authority.client()
    blob = os.urandom(1024) * (SIZE // 1024)
    port = free_port()
    setting = {"certificate": tls.certificate, "key": tls.key}
    with lading(tmp_path, {"addr": f"127.0.0.1:{port}", "tls": setting}) as running:
        running.said("listening on")
        digest = push(port, client, blob)
        before = ask(port, client).serial
        connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=client)
        connection.request("GET", f"/v2/a/b/blobs/{digest}")
        answer = connection.getresponse()
        received = answer.read(SIZE // 4)
        authority.issue()
        running.process.send_signal(signal.SIGHUP)
        running.said("is in use as it is now", times=2)
        after = {ask(port, client).serial for _ in range(8)}
        assert len(after) == 1
        assert after != {before}
        received += answer.read()
        assert received == blob
        connection.request("GET", "/v2/")
        assert connection.getresponse().status == 200
        connection.close()
        # And without a signal.
        authority.issue()
        running.said("is in use as it is now", times=4)
        assert {ask(port, client).serial}.isdisjoint(after | {before})
        assert running.process.poll() is None


def push(port: int, client: ssl.SSLContext, blob: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=client)
    connection.request("POST", f"/v2/a/b/blobs/uploads/?digest={digest}", blob)
    created = connection.getresponse()
    created.read()
    if created.status == 202:
        location = created.headers["location"]
        connection.request("PUT", f"{location}&digest={digest}", blob)
        created = connection.getresponse()
        created.read()
    assert created.status == 201
    connection.close()
    return digest
