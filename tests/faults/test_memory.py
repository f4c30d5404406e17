"""Memory does not grow with what is moved, nor with how slowly: 64 MiB above idle are all a process may take."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults import load
from tests.faults.load import SlowReaders, SlowWriters, Watch, wait_for_turns
from tests.faults.node import MIB, Node, StartNode
from tests.faults.wire import Wire, chunk, head
from tests.servers import content
from tests.servers.client import Client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("memory")]

REPOSITORY = "team/app"
ALLOWED = 64 * MIB
CLIENTS = 50


def warm(client: Client) -> None:
    """Idle is a registry that has served before: its modules and threads are there."""
    image = content.image("warm", layer_sizes=(3 * MIB,))
    for _ in range(3):
        client.push("warm/app", "latest", image)
        client.pull("warm/app", "latest")


@pytest.fixture
def node(start_node: StartNode, memory_path: Path) -> Node:
    started = start_node(workers=1, root=memory_path / "data")
    warm(started.client)
    return started


@pytest.fixture
def roomy_disk(full: bool) -> Iterator[Path]:
    """On a real disk; emptied at once afterwards, for pytest would keep it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        needed = (25 if full else 4) * 1024 * MIB
        if shutil.disk_usage(place).free < needed:
            pytest.skip(f"needs {needed // 1024 // MIB} GB of free disk")
        yield Path(place)


@pytest.mark.parametrize("push", [load.push_streamed, load.push_in_pieces], ids=["streamed", "in-pieces"])
def test_large_layer(
    start_node: StartNode, roomy_disk: Path, full: bool, push: Callable[[Node, str, int], str]
) -> None:
    size = (10 if full else 1) * 1024 * MIB
    node = start_node(workers=2, root=roomy_disk)
    warm(node.client)
    times = [time.monotonic()]
    with Watch(node, seconds=0.05) as pushing:
        digest = push(node, REPOSITORY, size)
    times.append(time.monotonic())
    with Watch(node, seconds=0.05) as pulling:
        assert load.pull(node, REPOSITORY, digest) == size
    times.append(time.monotonic())
    for what, watch, seconds in (
        ("push", pushing, times[1] - times[0]),
        ("pull", pulling, times[2] - times[1]),
    ):
        print(f"{what}: {watch.above_idle() / MIB:.1f} MiB above idle, {size / MIB / seconds:.0f} MiB/s")
        assert watch.above_idle() <= ALLOWED


def push_large(node: Node) -> str:
    return load.push_streamed(node, REPOSITORY, 200 * MIB)


def test_slow_readers(node: Node) -> None:
    digest = push_large(node)
    target = f"/v2/{REPOSITORY}/blobs/{digest}"
    with Watch(node) as watch, SlowReaders(node, CLIENTS, target) as slow:
        assert load.pull(node, REPOSITORY, digest) == 200 * MIB
        wait_for_turns(slow, 20)
    print(f"{watch.above_idle() / MIB:.1f} MiB above idle")
    assert watch.above_idle() <= ALLOWED


def test_slow_readers_of_ranges(node: Node) -> None:
    digest = push_large(node)
    target = f"/v2/{REPOSITORY}/blobs/{digest}"

    class Ranges(SlowReaders):
        def begin(self) -> None:
            for number, wire in enumerate(self.wires):
                wire.head("GET", self.target, {"Range": f"bytes={number}-" if number % 2 else "bytes=0-0,5-"})

    with Watch(node) as watch, Ranges(node, CLIENTS, target) as slow:
        assert load.pull(node, REPOSITORY, digest) == 200 * MIB
        wait_for_turns(slow, 20)
    print(f"{watch.above_idle() / MIB:.1f} MiB above idle")
    assert watch.above_idle() <= ALLOWED


@pytest.mark.parametrize(
    ("clients", "framing", "burst", "piece"),
    [
        pytest.param(CLIENTS, "length", b"", bytes(512), id="slow-from-the-start"),
        pytest.param(CLIENTS, "length", bytes(MIB - 1), bytes(16), id="slow-after-a-burst"),
        pytest.param(CLIENTS, "chunked", b"", chunk(b"ab") * 32, id="in-tiny-chunks"),
        pytest.param(2, "chunked", chunk(b"ab") * 500_000, chunk(b"ab") * 16, id="many-tiny-chunks"),
    ],
)
def test_slow_writers(node: Node, clients: int, framing: str, burst: bytes, piece: bytes) -> None:
    digest = push_large(node)
    with Watch(node) as watch, SlowWriters(node, clients, "slow/app", burst, piece, framing) as slow:
        assert load.pull(node, REPOSITORY, digest) == 200 * MIB
        load.push_streamed(node, "fast/app", 20 * MIB)
        wait_for_turns(slow, 20)
    print(f"{watch.above_idle() / MIB:.1f} MiB above idle")
    assert watch.above_idle() <= ALLOWED


def test_requests_that_wait_behind_a_slow_answer(node: Node) -> None:
    """A client may send many requests at once; those that must wait are not held in memory without bound."""
    digest = push_large(node)
    target = f"/v2/{REPOSITORY}/blobs/{digest}"
    more = head("GET", "/", {"Host": "x"}) * 10_000

    class Pipelining(SlowReaders):
        def begin(self) -> None:
            for wire in self.wires:
                wire.socket.setblocking(False)
                try:
                    wire.socket.send(head("GET", self.target, {"Host": "x"}) + more)
                finally:
                    wire.socket.settimeout(30)

    with Watch(node) as watch, Pipelining(node, CLIENTS, target) as slow:
        assert load.pull(node, REPOSITORY, digest) == 200 * MIB
        wait_for_turns(slow, 10)
    print(f"{watch.above_idle() / MIB:.1f} MiB above idle")
    assert watch.above_idle() <= ALLOWED


@pytest.mark.parametrize("line", [b"x-field: " + b"v" * 100 + b"\r\n", b"v" * 4096], ids=["many", "one-long"])
@pytest.mark.parametrize("where", ["head", "target", "trailer", "extension"])
def test_heads_and_trailers_without_end(node: Node, where: str, line: bytes) -> None:
    """Header fields, before a body or behind it, are not collected for ever."""
    location = node.client.start_upload(REPOSITORY).location
    start = head("PATCH", location, {"Host": "x", "Transfer-Encoding": "chunked"})
    starts = {
        "head": start.removesuffix(b"\r\n") + b"x-field: ",
        "target": b"GET /v2/",
        "trailer": start + chunk(b"data") + b"0\r\nx-field: ",
        "extension": start + b"4;x=",
    }
    with Watch(node) as watch, Wire(node.host) as wire:
        wire.send(starts[where])
        for _ in range(100):
            if not wire.send_until_refused(line * (MIB // len(line))):
                break
        node.client.get("/v2/").expect(200)
    print(f"{watch.above_idle() / MIB:.1f} MiB above idle")
    assert watch.above_idle() <= ALLOWED


def test_manifests_that_never_end(node: Node) -> None:
    """A manifest is read as a whole, up to its limit: many at once, sent up to their last byte."""
    limit = 4 * MIB

    class Manifests(SlowWriters):
        def begin(self) -> None:
            for number, wire in enumerate(self.wires):
                kind = {"Host": "x", "Content-Length": str(limit), "Content-Type": content.OCI_IMAGE}
                wire.send(head("PUT", f"/v2/slow/app/manifests/{number}", kind) + self.burst)

        def turn(self, wire: Wire) -> None:
            pass

    with Watch(node) as watch, Manifests(node, 10, "slow/app", bytes(limit - 1), b"", "length") as slow:
        load.push_streamed(node, "fast/app", 20 * MIB)
        wait_for_turns(slow, 5)
    print(f"{watch.above_idle() / MIB:.1f} MiB above idle")
    assert watch.above_idle() <= ALLOWED
