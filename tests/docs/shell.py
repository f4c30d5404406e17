"""Runs what pages show: blocks of commands, and servers beside them."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.servers.process import START_SECONDS


@contextlib.contextmanager
def server(
    command: list[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A program that is to listen on the port."""
    log = folder / f"log-{port}"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"nobody listens: {log.read_text()}"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def run(block: str, folder: Path, environment: Mapping[str, str]) -> None:
    """The lines after `$` or `#`, in one shell; what stands below one, if anything does, is what it prints."""
    steps = re.findall(r"(?m)^[$#] (.*)\n((?:(?![$#] ).*\n)*)", block)
    assert steps
    script = "\n".join(f"{command}\necho '--- end of step'" for command, _ in steps)
    shell = ["bash", "-e", "-c", script]
    done = subprocess.run(
        shell, cwd=folder, env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    for (command, expected), printed in zip(steps, done.stdout.split("--- end of step\n"), strict=False):
        assert not expected or printed == expected, command
