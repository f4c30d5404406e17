"""What a tree of processes costs, as the kernel counts it: CPU time and memory."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.2


class Tree:
    """A process and all its descendants."""

    def __init__(self, root: int) -> None:
        self.root = root

    def processes(self) -> list[int]:
        found = [self.root]
        for pid in found:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += map(int, (task / "children").read_text().split())
        return found

    def cpu_seconds(self) -> float:
        """User and system time; of dead descendants too, where their parent has waited for them."""
        ticks = 0
        for pid in self.processes():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
        return ticks * TICK

    def memory(self) -> int:
        """Bytes by proportional set size: a page that several processes share is counted once."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
        return total


class Peak:
    """The largest memory of a tree while it was watched."""

    def __init__(self) -> None:
        self.bytes = 0


@contextlib.contextmanager
def watched(tree: Tree) -> Iterator[Peak]:
    """By a process, not a thread: what is measured may fork."""
    peak = Peak()
    stop_reading, stop_writing = os.pipe()
    told_reading, told_writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _watch(tree, stop_reading, told_writing)
    os.close(stop_reading)
    os.close(told_writing)
    try:
        yield peak
    finally:
        os.write(stop_writing, b".")
        os.close(stop_writing)
        with os.fdopen(told_reading) as told:
            peak.bytes = int(told.read() or 0)
        os.waitpid(pid, 0)


def _watch(tree: Tree, stop: int, tell: int) -> NoReturn:
    peak = 0
    try:
        stopped = False
        while not stopped:
            stopped = bool(select.select([stop], [], [], SAMPLE_SECONDS)[0])
            peak = max(peak, tree.memory())
        os.write(tell, str(peak).encode())
    finally:
        os._exit(0)
