"""The registries that are compared: how each is found, configured, started and stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.procfs import Tree

HOST = "127.0.0.1"
PORTS = range(5400, 5500)
START_SECONDS = 30.0
STOP_SECONDS = 20.0
IDLE_AFTER = 0.3
"""How long after its first answer a registry's idle memory is looked at."""

PEERS = Path(os.environ.get("LADING_PEERS", Path.home() / ".cache/lading/peers")) / "bin"

_CONFIGURATION = """\
version: 0.1
log: {{fields: {{service: registry}}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  {storage}
  delete: {{enabled: true}}
{maintenance}http:
  addr: {host}:{port}
  secret: a secret that both registries are given
  headers: {{X-Content-Type-Options: [nosniff]}}
  debug: {{addr: "{host}:{debug}", prometheus: {{enabled: true, path: /metrics}}}}
"""

NOTES = (
    "Configuration: the same file for both, that of the `registry:3` image (filesystem storage, or s3 in rows of"
    " that name; descriptor cache in memory, log level info, access log) with deletes on; without its health"
    " check.",
    "Logs: standard output and error of each go to one file. At level info Distribution writes a line `response"
    " completed` for every request beside the access log; Lading writes the access log alone.",
    "Metrics are on for both: the debug listener with Prometheus, as in the image.",
    "Durability: each as it is by default; both sync a blob and its directory before they acknowledge it.",
)


class BenchError(Exception):
    """The comparison cannot be made; the text tells why."""


@dataclass(frozen=True)
class System:
    """A registry program. `name` is `lading` or `distribution`, `title` has the version."""

    name: str
    title: str
    executable: str


def lading() -> System:
    program = Path(sys.executable).with_name("lading")
    if not program.exists():
        raise BenchError(f"{program} is not installed: run make setup")
    return System("lading", _version(str(program)), str(program))


def distribution() -> System:
    """The pinned build of tests/peers.sh, or else Debian's, which is older."""
    found = shutil.which("registry", path=str(PEERS))
    if found is not None:
        return System("distribution", f"Distribution {_version(found).split()[-1]}", found)
    found = shutil.which("docker-registry")
    if found is None:
        raise BenchError("no Distribution to compare with: run tests/peers.sh")
    return System("distribution", f"Distribution (Debian's docker-registry) {_version(found).split()[-1]}", found)


SYSTEMS = {"lading": lading, "distribution": distribution}


def _version(program: str) -> str:
    run = subprocess.run(  # noqa: S603
        [program, "--version"], capture_output=True, text=True, check=False, timeout=30
    )
    return run.stdout.strip() or run.stderr.strip()


@dataclass(frozen=True)
class Running:
    """A registry that answers. `idle` is its memory before any load, `started_in` are seconds."""

    system: System
    port: int
    tree: Tree
    started_in: float
    start_cpu: float
    idle: int

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"


@contextlib.contextmanager
def serving(
    system: System, storage: str, folder: Path, section: str = "", *, maintenance: str = ""
) -> Iterator[Running]:
    """`folder` takes the configuration and the log; `storage` is the driver's section.

    `section` is joined to the configuration, `maintenance` to what it says of the storage.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / f"{system.name}.yml"
    if maintenance:
        maintenance = f"  maintenance: {maintenance}\n"
    text = _CONFIGURATION.format(
        storage=storage, host=HOST, port=port, debug=free_port(besides=port), maintenance=maintenance
    )
    config.write_text(text + section)
    log_path = folder / f"{system.name}.log"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    with log_path.open("wb") as log:
        spawned = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603
            [system.executable, "serve", str(config)],
            cwd=folder,
            env=kept | {"OTEL_TRACES_EXPORTER": "none"},  # as in the image; else it looks for a collector
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, port, log_path)
        started_in = time.perf_counter() - spawned
        tree = Tree(process.pid)
        start_cpu = tree.cpu_seconds()
        time.sleep(IDLE_AFTER)
        yield Running(system, port, tree, started_in, start_cpu, tree.memory())
    finally:
        _stop(process)


def directory(root: Path) -> str:
    """The storage section for a directory of the disk."""
    root.mkdir(parents=True, exist_ok=True)
    return f"filesystem: {{rootdirectory: {root}}}"


def free_port(besides: int = 0) -> int:
    for port in PORTS:
        if port == besides:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise BenchError(f"no free port in {PORTS}")


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"{process.args!r} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.002)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=5) as wire:
            wire.sendall(b"GET /v2/ HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            return wire.recv(64).startswith((b"HTTP/1.1 200", b"HTTP/1.1 401"))
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.terminate()
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)
