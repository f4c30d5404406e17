"""Lading as these tests need it: with several workers, its processes' ids and memory, and a hard stop."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from tests.faults.wire import Wire
from tests.servers.process import STOP_SECONDS, Registry, lading
from tests.servers.serving import Serving

T = TypeVar("T")

POLL_SECONDS = 0.01
MIB = 1024 * 1024


def eventually(ask: Callable[[], T | None], what: str, seconds: float = 30.0) -> T:
    """The first answer of `ask` that is true."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := ask():
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(POLL_SECONDS)


class Node(Registry):
    def __init__(self, folder: Path, root: Path, serving: Serving, extra: Mapping[str, Any] | None = None) -> None:
        self.workers = serving.workers
        super().__init__(lading(serving), folder, root, extra or {})

    def child_ids(self) -> list[int]:
        """The processes that serve requests or keep house: children of the one that was started."""
        return sorted(pid for pid, found in _processes().items() if found.parent == self._process.pid)

    def process_ids(self) -> list[int]:
        """All processes of the registry: the one that was started and whatever it has started in turn."""
        everything = _processes()
        found = [self._process.pid] if self._process.pid in everything else []
        for pid in found:
            found += sorted(child for child, its in everything.items() if its.parent == pid)
        return found

    def worker_ids(self) -> list[int]:
        """The processes that serve requests: they hold a listening socket, and have no children."""
        everything = _processes()
        parents = {its.parent for its in everything.values()}
        listening = _listening(self.port)
        return [
            pid
            for pid in self.process_ids()
            if pid not in parents and any(_holds(pid, f"socket:[{inode}]") for inode in listening)
        ]

    def signal(self, number: signal.Signals) -> None:
        """To the process that was started, as an operator sends it."""
        self._process.send_signal(number)

    def wait_for_end(self, seconds: float) -> int:
        """The exit status; fails if the registry runs on for longer."""
        return self._process.wait(seconds)

    def descriptors(self) -> dict[int, int]:
        """How many files, sockets and pipes each worker has open."""
        return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in self.worker_ids()}

    def memory(self) -> dict[int, int]:
        """Bytes that belong to each process alone: resident, less the pages of files and shared memory."""
        found = {}
        for pid in self.process_ids():
            with contextlib.suppress(OSError):
                _, resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[:3]
                found[pid] = (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
        return found

    def restart(self) -> None:
        """Start again on the same port and directory, after `terminate` or `kill`."""
        self._process = self._spawn()
        self.wait_until_ready()

    def terminate(self) -> None:
        """SIGTERM, and wait; `restart` starts it again."""
        self._process.terminate()
        self._process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """`kill -9` of the whole process group; returns when no process of it runs any more."""
        super().kill()
        eventually(lambda: not _group_runs(self._process.pid), "the killed processes are gone")

    def kill_main(self) -> None:
        """`kill -9` of the process that was started, and of it alone."""
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def worker_of(self, connection: socket.socket) -> int | None:
        """The worker that serves a connection of ours, once one has accepted it."""
        port = connection.getsockname()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(f":{self.port:04X}") and fields[2].endswith(f":{port:04X}"):
                holders = [pid for pid in self.worker_ids() if _holds(pid, f"socket:[{fields[9]}]")]
                return holders[0] if holders else None
        return None

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])


@contextlib.contextmanager
def one_connection_to_each_worker(node: Node) -> Iterator[Callable[[], Wire]]:
    """Gives the connections in turn."""
    opened: list[Wire] = []
    by_worker: dict[int, Wire] = {}

    def connect() -> bool:
        wire = Wire(node.host)
        opened.append(wire)
        wire.exchange("GET", "/v2/").expect(200)
        worker = eventually(lambda: node.worker_of(wire.socket), "a worker has accepted")
        by_worker.setdefault(worker, wire)
        return len(by_worker) == node.workers

    try:
        eventually(connect, "every worker has a connection")
        turns = itertools.cycle(by_worker.values())
        yield lambda: next(turns)
    finally:
        for wire in opened:
            wire.socket.close()


class StartNode(Protocol):
    """Starts a Lading. `root` is its storage directory (default: a new one); `serving` is more than `workers`."""

    def __call__(
        self,
        *,
        workers: int = 1,
        root: Path | None = None,
        extra: Mapping[str, Any] | None = None,
        serving: Serving | None = None,
    ) -> Node: ...


@contextlib.contextmanager
def nodes(folder: Path) -> Iterator[StartNode]:
    started: list[Node] = []

    def start(
        *,
        workers: int = 1,
        root: Path | None = None,
        extra: Mapping[str, Any] | None = None,
        serving: Serving | None = None,
    ) -> Node:
        place = folder / f"node-{len(started)}"
        node = Node(place, root or place / "data", serving or Serving(f"{workers}-workers", workers), extra)
        started.append(node)
        node.wait_until_ready()
        return node

    try:
        yield start
    finally:
        for node in started:
            print(f"--- log of {node.host}\n{node.log.read_text(errors='replace')[-4000:]}")
            node.stop()


class _Process(NamedTuple):
    parent: int
    group: int


def _processes() -> dict[int, _Process]:
    """Every process there is, by its id, but for those that have ended."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{entry}/stat").read_text()
                state, parent, group = status.rpartition(")")[2].split()[:3]
                if state not in {"Z", "X"}:
                    found[int(entry)] = _Process(int(parent), int(group))
    return found


def _listening(port: int) -> list[str]:
    """The inodes of the sockets that listen on a port of 127.0.0.1."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    table = [line.split() for line in lines]
    return [fields[9] for fields in table if fields[1].endswith(f":{port:04X}") and fields[3] == "0A"]


def _holds(pid: int, what: str) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") == what:
                    return True
    return False


def _group_runs(group: int) -> bool:
    """Whether a process of the group is left that is more than a name waiting to be struck off."""
    return any(found.group == group for found in _processes().values())
