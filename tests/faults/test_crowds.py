"""Thousands of idle and hundreds of slow clients do not keep a fast one waiting, and leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.faults import load
from tests.faults.node import MIB, Node, StartNode, eventually
from tests.faults.wire import Wire
from tests.servers import content
from tests.servers.serving import FOUR_WORKERS, HTTP2_IN_CLEAR, ONE_WORKER, Serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("memory")]

IDLE, READERS, WRITERS = 2000, 200, 200
REPOSITORY = "team/app"
FAST_SECONDS = 4.0
TRIES = 5
BOUND_SECONDS = 0.25
IDLE_BYTES = 64 * 1024
"""What an idle connection may take of the server's memory."""


@dataclass(frozen=True)
class Speed:
    per_second: float
    median: float
    p99: float
    """In seconds, as the median."""

    def __str__(self) -> str:
        return f"{self.per_second:.0f}/s, p50 {self.median * 1000:.1f} ms, p99 {self.p99 * 1000:.1f} ms"


def measure(node: Node, targets: list[tuple[str, str]], seconds: float = FAST_SECONDS) -> Speed:
    """One client on one connection, asking for one after the other."""
    times = []
    with Wire(node.host) as wire:
        end = time.monotonic() + seconds
        while (began := time.monotonic()) < end:
            method, target = targets[len(times) % len(targets)]
            wire.exchange(method, target).expect(200)
            times.append(time.monotonic() - began)
    times.sort()
    return Speed(len(times) / seconds, times[len(times) // 2], times[int(len(times) * 0.99)])


@contextlib.contextmanager
def crowd(node: Node, idle: int, readers: int, writers: int, target: str) -> Iterator[None]:
    """All of them are there while the block runs, and none has been sent away at its end."""
    counts = {"idle": idle, "readers": readers, "writers": writers}
    command = [sys.executable, "-m", "tests.faults.crowd", node.host, *map(str, counts.values()), target]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield
            process.stdin.close()
            left = dict(line.split() for line in process.stdout)
            assert left == {kind: str(count) for kind, count in counts.items()}
        finally:
            process.kill()


def within_bounds(crowded: Speed, alone: Speed) -> bool:
    return crowded.p99 < BOUND_SECONDS and crowded.per_second > alone.per_second / 3


def prepare(node: Node) -> tuple[str, list[tuple[str, str]]]:
    """A large blob to read slowly, and what the fast client asks for."""
    image = content.image("fast")
    node.client.push(REPOSITORY, "latest", image)
    large = load.push_in_pieces(node, REPOSITORY, 64 * MIB)
    fast = [
        ("GET", f"/v2/{REPOSITORY}/manifests/latest"),
        ("HEAD", f"/v2/{REPOSITORY}/blobs/{image.blobs[0].digest}"),
    ]
    return f"/v2/{REPOSITORY}/blobs/{large}", fast


@pytest.mark.parametrize("serving", [ONE_WORKER, FOUR_WORKERS, HTTP2_IN_CLEAR], ids=lambda serving: serving.name)
def test_a_fast_client_among_slow_ones(
    start_node: StartNode, memory_path: Path, serving: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    node = start_node(serving=serving, root=memory_path / "data")
    target, fast = prepare(node)
    measure(node, fast, 1.0)
    before, alone = sum(node.memory().values()), measure(node, fast)
    descriptors = node.descriptors()
    with crowd(node, IDLE, 0, 0, target):
        each = (sum(node.memory().values()) - before) / IDLE
    eventually(lambda: node.descriptors() == descriptors, "idle clients leave no descriptor behind")
    with crowd(node, IDLE, READERS, WRITERS, target):
        # Other programs run on this machine too: one measurement within the bounds is enough.
        measured = [measure(node, fast)]
        while not within_bounds(measured[-1], alone) and len(measured) < TRIES:
            measured.append(measure(node, fast))
        crowded = measured[-1]
        taken = sum(node.memory().values()) - before
    with capsys.disabled():
        print(
            f"\n{serving.name}: alone {alone}; among {IDLE} idle, {READERS} reading, {WRITERS} writing: {crowded}"
        )
        print(f"  memory: {each / 1024:.1f} KiB for an idle connection, {taken / MIB:.0f} MiB for all of them")
    assert within_bounds(crowded, alone), f"alone {alone}; in the crowd {', '.join(map(str, measured))}"
    assert each < IDLE_BYTES
    assert taken < IDLE * IDLE_BYTES + (READERS + WRITERS) * 2 * MIB
    eventually(lambda: node.descriptors() == descriptors, "no descriptor is left behind")
    location = node.client.start_upload(REPOSITORY).location
    node.client.finish_upload(location, content.digest_of(b"still"), b"still").expect(201)


def test_all_descriptors_that_are_allowed_are_used(start_node: StartNode) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        node = start_node()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for pid in node.process_ids():
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (hard, hard)


@pytest.mark.parametrize("serving", [ONE_WORKER, HTTP2_IN_CLEAR], ids=lambda serving: serving.name)
def test_more_clients_than_descriptors(start_node: StartNode, serving: Serving) -> None:
    """When the clients have gone, others are served again: the worker neither ends nor stops listening."""
    node = start_node(serving=serving)
    eventually(lambda: len(node.worker_ids()) == serving.workers, "all workers are there")
    workers = node.worker_ids()
    for pid in workers:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 64))
    wires = [Wire(node.host) for _ in range(80 * len(workers))]
    try:
        eventually(lambda: all(count >= 60 for count in node.descriptors().values()), "none is left")
    finally:
        for wire in wires:
            wire.reset()

    def served() -> bool:
        try:
            return node.client.get("/v2/").status == 200
        except OSError:
            return False

    eventually(served, "it serves again")
    assert node.worker_ids() == workers
    for _ in range(20):
        node.client.push(REPOSITORY, "latest", content.image("again"))


def test_cut_off_clients_leave_nothing_behind(start_node: StartNode, memory_path: Path) -> None:
    """Neither connections that are reset in any state nor a worker that was killed."""
    node = start_node(workers=2, root=memory_path / "data")
    target, fast = prepare(node)
    measure(node, fast, 1.0)
    idle = {pid: _threads_and_descriptors(pid) for pid in node.worker_ids()}
    for _ in range(5):
        with crowd(node, 50, 50, 50, target):
            pass
    for pid, (_, descriptors) in idle.items():
        eventually(lambda p=pid, d=descriptors: _threads_and_descriptors(p)[1] == d, "descriptors are closed")  # type: ignore[misc]
    victim = node.worker_ids()[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(node.worker_ids()) == 2 and victim not in node.worker_ids(), "it is replaced")
    parent = Path(f"/proc/{node.pid}/fd")
    assert len(os.listdir(parent)) < 20


def _threads_and_descriptors(pid: int) -> tuple[int, int]:
    return len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))
