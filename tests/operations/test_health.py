from __future__ import annotations

import asyncio
import base64
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from lading import oversight
from lading.config.load import parse
from lading.operations import health
from lading.operations.health import Check, Checks, UnhealthyError
from lading.registry.ports import Stat, StorageError
from lading.storage.filesystem import FilesystemStorage
from lading.storage.memory import MemoryStorage


async def never() -> None:
    raise AssertionError("not probed here")


def watching(*thresholds: int) -> tuple[Checks, list[Check], list[bool]]:
    told: list[bool] = []
    checks = [Check(f"check {n}", never, 3600, threshold) for n, threshold in enumerate(thresholds)]
    return Checks(checks, told.append), checks, told


@pytest.mark.parametrize("threshold", [0, -1, 1])
def test_without_a_threshold_each_result_counts(threshold):
    state, [check], told = watching(threshold)
    assert state.state() == {"check 0": ""}
    state.note(check, "bad")
    assert (state.state(), told) == ({"check 0": "bad"}, [False])
    state.note(check, "")
    assert (state.state(), told) == ({"check 0": ""}, [False, True])


def test_a_threshold_is_of_failures_in_a_row():
    state, [check], told = watching(3)
    for complaint in ["bad", "bad", "", "bad", "bad"]:
        state.note(check, complaint)
    assert (state.state(), told) == ({"check 0": ""}, [])
    state.note(check, "worse")
    assert (state.state(), told) == ({"check 0": "worse"}, [False])
    state.note(check, "")
    assert told == [False, True]


def test_one_that_fails_is_enough_and_all_must_pass():
    state, [first, second], told = watching(0, 0)
    state.note(first, "a")
    state.note(second, "b")
    state.note(first, "")
    assert told == [False]
    state.note(second, "")
    assert told == [False, True]


def test_only_changes_are_logged(caplog):
    caplog.set_level(logging.INFO)
    state, [check], _ = watching(0)
    for complaint in ["bad", "bad", "other", "", ""]:
        state.note(check, complaint)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "health check check 0 fails: bad"),
        ("INFO", "health check check 0 passes again"),
    ]


async def test_probes_are_called_again_and_again_after_the_first_interval():
    probed = asyncio.Semaphore(0)

    async def probe() -> None:
        probed.release()

    waiting = asyncio.create_task(Checks([Check("a", probe, 0.001)], lambda healthy: None).run())
    async with asyncio.timeout(20):
        for _ in range(3):
            await probed.acquire()
    waiting.cancel()
    later = asyncio.create_task(Checks([Check("a", never, 3600)], lambda healthy: None).run())
    await asyncio.sleep(0)
    assert not later.done()
    later.cancel()


async def test_a_probe_that_hangs_fails():
    async def probe() -> None:
        await asyncio.get_running_loop().create_future()

    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    checks = Checks([Check("slow", probe, 0.001, timeout=0.01)], told.set_result)
    running = asyncio.create_task(checks.run())
    async with asyncio.timeout(20):
        assert await told is False
    assert checks.state() == {"slow": "slow: no answer within 0.01s"}
    running.cancel()


async def complaint(probe: object) -> str:
    with pytest.raises(UnhealthyError) as refusal:
        await probe()  # type: ignore[operator]
    return str(refusal.value)


async def test_storage(tmp_path):
    await health.storage_probe(MemoryStorage())()
    await health.storage_probe(FilesystemStorage(str(tmp_path / "not yet there")))()

    class Broken(MemoryStorage):
        async def stat(self, key: str) -> Stat:
            raise StorageError("inmemory", "input/output error")

    assert await complaint(health.storage_probe(Broken())) == "inmemory: input/output error"
    plain = tmp_path / "plain"
    plain.touch()
    lost = health.storage_probe(FilesystemStorage(str(plain)))
    assert await complaint(lost) == "filesystem: the root is not a directory"


async def test_file(tmp_path):
    path = tmp_path / "drain"
    probe = health.file_probe(str(path))
    await probe()
    path.touch()
    assert await complaint(probe) == "file exists"
    inside = health.file_probe(str(path / "x"))
    assert await complaint(inside) == f'error checking for file: "{path / "x"}": Not a directory'


async def test_tcp():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    probe = health.tcp_probe(f"127.0.0.1:{port}", "127.0.0.1", port)
    await probe()
    server.close()
    await server.wait_closed()
    assert (await complaint(probe)).startswith(f"127.0.0.1:{port}: connection failed: ")


class _Downstream(BaseHTTPRequestHandler):
    seen: list[tuple[str, str, str | None]]
    logins: list[str | None]

    def do_HEAD(self) -> None:
        self.seen.append((self.command, self.path, self.headers["X-Token"]))
        self.logins.append(self.headers["Authorization"])
        self.send_response({"/moved": 302, "/down": 503, "/made": 201}.get(self.path, 200))
        if self.path == "/moved":
            self.send_header("Location", "/made")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the tests look at what was asked."""


_LOGINS: list[str | None] = []


@contextmanager
def downstream() -> Iterator[tuple[str, list[tuple[str, str, str | None]]]]:
    handler = type("Handler", (_Downstream,), {"seen": [], "logins": _LOGINS})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler.seen
        finally:
            server.shutdown()
            serving.join()


async def test_http():
    with downstream() as (where, seen):
        await health.http_probe(f"{where}/up", {"X-Token": ["a", "b"]}, 200, 20.0)()
        assert seen == [("HEAD", "/up", "a, b")]
        await health.http_probe(f"{where}/moved", {}, 201, 0.0)()
        assert seen[1:] == [("HEAD", "/moved", None), ("HEAD", "/made", None)]
        await health.http_probe(f"{where}/down", {}, 503, 0.0)()
        text = await complaint(health.http_probe(f"{where}/down", {}, 200, 0.0))
        assert text == f"{where}/down: downstream service returned unexpected status: 503"
    text = await complaint(health.http_probe(f"{where}/up", {}, 200, 20.0))
    assert text.startswith(f"{where}/up: error while checking: ")


async def test_logins_are_used_and_not_shown(caplog):
    caplog.set_level(logging.INFO)
    with downstream() as (where, seen):
        secret = where.replace("//", "//user:p%40ss@") + "/moved?token=secret"
        shown = where.replace("//", "//***@") + "/moved?***"
        text = f"""
            version: 0.1
            storage: inmemory
            health: {{storagedriver: {{enabled: false}}, http: [{{uri: "{secret}", statuscode: 201}}]}}
        """
        [check] = oversight._checks(parse(text, "config.yml", {}).configuration, MemoryStorage())
        _LOGINS.clear()
        with pytest.raises(UnhealthyError) as refusal:
            await check.probe()
        assert seen[0][1] == "/moved?token=secret"
        assert [f"Basic {base64.b64encode(b'user:p@ss').decode()}"] == _LOGINS
    told = f"{caplog.text} {check.name} {refusal.value}"
    assert shown in caplog.text
    assert check.name == shown
    for part in ("p%40ss", "p@ss", "user", "secret"):
        assert part not in told
