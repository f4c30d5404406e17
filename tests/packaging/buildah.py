"""Containers without an engine: buildah, and a Debian to start from."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import peers
from tests.servers.client import Client

BUILD_SECONDS = 600


class Buildah:
    def __init__(self, folder: Path) -> None:
        # chroot: no container runtime is asked for, only the right to change the root directory.
        self._command = [
            peers.executable("buildah"),
            "--storage-driver=vfs",
            f"--root={folder / 'storage'}",
            f"--runroot={folder / 'run'}",
        ]

    def __call__(self, *arguments: str | Path) -> str:
        run = subprocess.run(
            [*self._command, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        assert run.returncode == 0, f"buildah {arguments[0]}: {run.stdout}{run.stderr}"
        return run.stdout.strip()

    def run(self, container: str, *command: str) -> str:
        """What the command prints; the container has the machine's network."""
        return self("run", "--isolation=chroot", "--network=host", container, "--", *command)

    def start(self, container: str, *command: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        given = [f"--env={name}={value}" for name, value in environment.items()]
        run = ["run", "--isolation=chroot", *given, container, "--", *command]
        return subprocess.Popen([*self._command, *run], start_new_session=True)


@contextmanager
def running(buildah: Buildah, image: str, *command: str) -> Iterator[Client]:
    container = buildah("from", image)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    process = buildah.start(container, *command, environment={"REGISTRY_HTTP_ADDR": host})
    client = Client(host)
    try:
        deadline = time.monotonic() + 30
        while not _answers(client):
            assert process.poll() is None, "the registry in the container has ended"
            assert time.monotonic() < deadline, "the registry in the container does not answer"
            time.sleep(0.05)
        yield client
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        buildah("rm", container)


def _answers(client: Client) -> bool:
    try:
        return client.request("GET", "/v2/").status == 200
    except OSError:
        return False
