"""Clients, workers and servers that go away in the middle of an upload; the client comes back and goes on."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable

import pytest
from tests.faults import directory
from tests.faults.node import MIB, Node, StartNode, eventually
from tests.faults.wire import Wire, chunk
from tests.servers import content
from tests.servers.client import Answer, Client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

REPOSITORY = "team/app"
DATA = content.noise("layer", 3 * MIB + 11)
DIGEST = content.digest_of(DATA)


def offset(answer: Answer) -> int:
    """Where a session is. "0-0" says nothing or one byte; these tests never store one."""
    last = int(answer.header("Range").partition("-")[2])
    return last + 1 if last else 0


def upload_id(location: str) -> str:
    return location.partition("?")[0].rpartition("/")[2]


def resume(client: Client, location: str, data: bytes = DATA, step: int = MIB) -> None:
    """As a client does that has lost its connection: ask where the session is, and go on from there.

    The server may still be busy with what it received before; then it says 416 and is asked again.
    """

    def append() -> Answer | None:
        status = client.get(location).expect(204)
        at = offset(status)
        if at == len(data):
            return status
        answer = client.patch(status.location, data[at : at + step])
        assert answer.status in {202, 416}, str(answer)
        return None

    status = eventually(append, "the upload is complete")
    client.finish_upload(status.location, content.digest_of(data)).expect(201)


def check(node: Node) -> None:
    assert node.client.pull_blob(REPOSITORY, DIGEST) == DATA
    # A request of a client that is gone may find only now that its session has ended, and clear up behind itself.
    eventually(lambda: directory.sessions(node.root) == [], "no session is left")


def send_half(wire: Wire, location: str, framing: str, size: int) -> None:
    """The start of a PATCH with the whole of DATA, `size` bytes of it."""
    kind = {"Content-Type": "application/octet-stream"}
    if framing == "length":
        wire.head("PATCH", location, kind | {"Content-Length": str(len(DATA))})
        wire.send(DATA[:size])
        return
    wire.head("PATCH", location, kind | {"Transfer-Encoding": "chunked"})
    for start in range(0, size, 65536):
        wire.send(chunk(DATA[start : min(start + 65536, size)]))
    # … and the beginning of a piece that never ends.
    wire.send(b"ffff\r\n")


@pytest.mark.parametrize("workers", [1, 3])
def test_client_disappears_and_resumes(start_node: StartNode, workers: int) -> None:
    node = start_node(workers=workers)
    for framing in ("length", "chunked"):
        for leave in (Wire.finish, Wire.reset):
            for size in (0, 2, 70_000, MIB, 2 * MIB + 5):
                location = node.client.start_upload(REPOSITORY).location
                with Wire(node.host) as wire:
                    send_half(wire, location, framing, size)
                    leave(wire)
                    resume(node.client, location)
                check(node)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_everything_that_arrived_before_a_fin_is_kept(start_node: StartNode, framing: str) -> None:
    node = start_node()
    for size in (2, 70_000, MIB, 2 * MIB + 5):
        location = node.client.start_upload(REPOSITORY).location
        with Wire(node.host) as wire:
            send_half(wire, location, framing, size)
            wire.finish()
            eventually(lambda at=location, s=size: offset(node.client.get(at)) == s, "all bytes are stored")  # type: ignore[misc]


def test_client_disappears_again_and_again(start_node: StartNode) -> None:
    """Every piece breaks off somewhere, by a seed."""
    node = start_node(workers=2)
    rng = random.Random(20)
    location = node.client.start_upload(REPOSITORY).location
    for _ in range(30):
        status = node.client.get(location).expect(204)
        at = offset(status)
        with Wire(node.host) as wire:
            length = {"Content-Length": str(len(DATA) - at)}
            wire.head("PATCH", status.location, length)
            wire.send_until_refused(DATA[at : at + rng.randrange(400_000)])
            rng.choice([Wire.finish, Wire.reset])(wire)
    resume(node.client, location)
    check(node)


def test_client_that_is_silent_does_not_lock_out_its_successor_for_long(start_node: StartNode) -> None:
    """A client whose network is gone says no goodbye. A status tells the truth meanwhile; nothing hangs."""
    node = start_node()
    location = node.client.start_upload(REPOSITORY).location
    with Wire(node.host) as silent:
        send_half(silent, location, "length", 2 * MIB)
        eventually(lambda: offset(node.client.get(location)) > 0, "bytes arrive")
        status = node.client.get(location).expect(204)
        answer = node.client.patch(status.location, DATA[offset(status) :])
        assert answer.status in {202, 416}, str(answer)
        silent.reset()
        resume(node.client, location)
    check(node)


def flow(node: Node, location: str, framing: str) -> tuple[threading.Thread, Wire]:
    """A client that sends all but the last byte of its body, or until its connection breaks."""
    wire = Wire(node.host)

    def send() -> None:
        with contextlib.suppress(OSError):
            send_half(wire, location, framing, len(DATA) - 1)

    thread = threading.Thread(target=send)
    thread.start()
    return thread, wire


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("stop", [Node.terminate, Node.kill], ids=["sigterm", "sigkill"])
def test_server_restarts_while_data_flows(
    start_node: StartNode, workers: int, stop: Callable[[Node], None]
) -> None:
    node = start_node(workers=workers, extra={"http": {"draintimeout": "1s"}})
    for framing in ("length", "chunked"):
        location = node.client.start_upload(REPOSITORY).location
        thread, wire = flow(node, location, framing)
        with wire:
            eventually(
                lambda at=location: directory.stored_bytes(node.root, REPOSITORY, upload_id(at)) > 0,  # type: ignore[misc]
                "bytes arrive",
            )
            stop(node)
            thread.join()
        node.restart()
        assert offset(node.client.get(location).expect(204)) > 0
        resume(node.client, location)
        check(node)


def test_worker_is_killed_while_data_flows(start_node: StartNode) -> None:
    """The others go on, the upload can be resumed through any of them, and the worker comes back."""
    node = start_node(workers=2)
    before = node.child_ids()
    location = node.client.start_upload(REPOSITORY).location
    thread, wire = flow(node, location, "length")
    with wire:
        eventually(lambda: directory.stored_bytes(node.root, REPOSITORY, upload_id(location)) > 0, "bytes arrive")
        victim = eventually(lambda: node.worker_of(wire.socket), "a worker has the connection")
        os.kill(victim, signal.SIGKILL)
        thread.join()
    eventually(lambda: _tolerant_get(node.client, location), "the session can be asked for")
    resume(node.client, location)
    check(node)
    eventually(lambda: len(node.child_ids()) >= len(before) and victim not in node.child_ids(), "it is replaced")


def test_parts_of_a_session_come_from_before_and_after_restarts(start_node: StartNode) -> None:
    node = start_node(workers=2)
    location = node.client.start_upload(REPOSITORY).location
    stops: list[Callable[[Node], None]] = [Node.terminate, Node.kill, Node.terminate]
    for number, stop in enumerate(stops):
        at = number * MIB // 2
        location = node.client.patch(location, DATA[at : at + MIB // 2]).expect(202).location
        stop(node)
        node.restart()
    # The location of before the restart is still good: it is signed with the configured secret.
    location = node.client.patch(location, DATA[3 * MIB // 2 :]).expect(202).location
    node.client.finish_upload(location, DIGEST).expect(201)
    check(node)


def test_main_process_is_killed(start_node: StartNode) -> None:
    """The others must not live on behind its successor's back, nor keep it from listening."""
    node = start_node(workers=2)
    children = node.child_ids()
    node.kill_main()
    eventually(lambda: not any(map(_alive, children)), "they have followed", seconds=5)
    node.restart()


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as status:
            return status.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _tolerant_get(client: Client, location: str) -> bool:
    try:
        return client.get(location).status == 204
    except OSError:
        return False
