"""What a process can tell of itself while it runs: where it stands, what it holds, how it spends its time."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType

SAMPLE_SECONDS = 0.01
"""Between two looks of a profile."""

MAX_PROFILE_SECONDS = 60.0

_TOP = 25
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def stacks(loop: asyncio.AbstractEventLoop | None) -> str:
    """Where each thread is, and each task of `loop`."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():
        parts.append(f'thread "{names.get(ident, "?")}" ({ident})\n{"".join(traceback.format_stack(frame))}')
    for task in asyncio.all_tasks(loop) if loop is not None else ():
        frames = "".join(
            f'  File "{frame.f_code.co_filename}", line {frame.f_lineno}, in {frame.f_code.co_name}\n'
            for frame in task.get_stack()
        )
        parts.append(f'task "{task.get_name()}" {getattr(task.get_coro(), "__qualname__", "?")}\n{frames}')
    return "\n".join(parts)


def memory() -> dict[str, object]:
    """Counts of the garbage collector; where memory was taken too, if Python was told to trace that."""
    found: dict[str, object] = {
        "gc": {"counts": gc.get_count(), "tracked": len(gc.get_objects()), "generations": gc.get_stats()}
    }
    if tracemalloc.is_tracing():
        top = tracemalloc.take_snapshot().statistics("lineno")[:_TOP]
        found["tracemalloc"] = [f"{line.traceback}: {line.size} bytes in {line.count}" for line in top]
    return found


def profile(seconds: float) -> dict[str, int]:
    """How often each stack was seen, of all threads but this one, in so many seconds of the clock.

    Stacks are written as flame graph tools read them: outermost first, with semicolons between.
    """
    own = threading.get_ident()
    seen: Counter[str] = Counter()
    until = time.monotonic() + min(seconds, MAX_PROFILE_SECONDS)
    while time.monotonic() < until:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            if ident != own:
                seen[";".join([names.get(ident, "?"), *_collapsed(frame)])] += 1
        time.sleep(SAMPLE_SECONDS)
    return dict(seen)


def _collapsed(innermost: FrameType) -> list[str]:
    frames = []
    frame: FrameType | None = innermost
    while frame is not None:
        frames.append(f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_name}".replace(";", ","))
        frame = frame.f_back
    return frames[::-1]


@dataclass(frozen=True, slots=True)
class Usage:
    """What the kernel knows of a process. Sizes in bytes, times in seconds; `pss` is its fair share of memory."""

    name: str
    cpu: float
    resident: int
    virtual: int
    pss: int
    open_fds: int
    max_fds: int
    started: float


def processes(root: int) -> dict[int, Usage]:
    """A process and all below it, by their ids."""
    found: dict[int, Usage] = {}
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        try:
            found[pid] = _usage(pid)
            children = _read(f"/proc/{pid}/task/{pid}/children")
        except OSError:
            continue  # it has just ended
        waiting += map(int, children.split())
    return found


def _usage(pid: int) -> Usage:
    # The name, in brackets, may hold anything.
    name, _, rest = _read(f"/proc/{pid}/stat").partition("(")[2].rpartition(")")
    fields = rest.split()
    try:
        shares = _keyed(_read(f"/proc/{pid}/smaps_rollup"))
    except PermissionError:
        shares = {}
    limits = _keyed(_read(f"/proc/{pid}/limits").replace("Max open files", "Max-open-files:"))
    boot = float(_keyed(_read("/proc/stat").replace("btime", "btime:"))["btime"].split()[0])
    return Usage(
        name=name,
        cpu=(int(fields[11]) + int(fields[12])) / _CLOCK_TICKS,
        resident=int(fields[21]) * _PAGE,
        virtual=int(fields[20]),
        pss=int(shares.get("Pss", "0").split()[0]) * 1024,
        open_fds=len(os.listdir(f"/proc/{pid}/fd")),
        max_fds=int(limits["Max-open-files"].split()[0].replace("unlimited", "-1")),
        started=boot + int(fields[19]) / _CLOCK_TICKS,
    )


def _keyed(text: str) -> Mapping[str, str]:
    return {key: value for key, colon, value in (line.partition(":") for line in text.splitlines()) if colon}


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
