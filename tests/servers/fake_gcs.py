"""fake-gcs-server, an emulator of Google Cloud Storage that keeps its objects in memory."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.servers.peers import executable


class FakeGcs(NamedTuple):
    url: str

    def make_bucket(self, name: str) -> str:
        request = urllib.request.Request(
            f"{self.url}/storage/v1/b?project=test",
            data=json.dumps({"name": name}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            assert response.status == 200
        return name


@contextlib.contextmanager
def fake_gcs(folder: Path) -> Iterator[FakeGcs]:
    program = executable("fake-gcs-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    log = folder / "fake-gcs-server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(program, "-backend", "memory", "-scheme", "http", "-log-level", "warn"),
                *("-host", "127.0.0.1", "-port", str(port)),
                *("-external-url", url, "-public-host", f"127.0.0.1:{port}"),
            ],
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{url}/storage/v1/b?project=test", timeout=5),
            ):
                break
            time.sleep(0.05)
        else:
            raise AssertionError(log.read_text())
        yield FakeGcs(url)
    finally:
        process.kill()
        process.wait()
