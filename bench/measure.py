"""One measurement: a load on a running registry, and what it cost on both sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.procfs import watched
from bench.servers import Running


@dataclass(frozen=True)
class Load:
    """What a load generator did. Latencies are in seconds; `client_cpu` is its own cost, in CPU seconds."""

    operations: int
    seconds: float
    p50: float
    p99: float
    client_cpu: float
    errors: int = 0


@dataclass(frozen=True)
class Sample:
    """One load on one registry, as it goes into the report. Memory is in bytes."""

    operations: int
    seconds: float
    p50: float
    p99: float
    cpu: float
    client_cpu: float
    idle: int
    peak: int
    errors: int
    requests: int = 0
    """What an object store was asked, if that was counted."""

    @property
    def rate(self) -> float:
        return self.operations / self.seconds if self.seconds else 0.0


def measure(running: Running, load: Callable[[], Load]) -> Sample:
    before = running.tree.cpu_seconds()
    with watched(running.tree) as peak:
        done = load()
    cpu = running.tree.cpu_seconds() - before
    return Sample(
        operations=done.operations,
        seconds=done.seconds,
        p50=done.p50,
        p99=done.p99,
        cpu=cpu,
        client_cpu=done.client_cpu,
        idle=running.idle,
        peak=peak.bytes,
        errors=done.errors,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of an ordered sequence; the largest where there are too few to tell."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
