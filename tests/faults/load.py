"""Clients that move a lot, or very slowly, without keeping any of it."""

from __future__ import annotations

import hashlib
import http.client
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType

from tests.faults.node import MIB, Node
from tests.faults.wire import Wire, head
from tests.servers import content
from tests.servers.client import with_query

_BLOCK = content.noise("block", MIB - 8)


def blocks(size: int, start: int = 0) -> Iterator[bytes]:
    """The bytes `start` to `size` of a layer that never repeats, in pieces of 1 MiB: it has only whole ones."""
    for number in range(start // MIB, size // MIB):
        yield number.to_bytes(8, "big") + _BLOCK


def digest(size: int) -> str:
    running = hashlib.sha256()
    for block in blocks(size):
        running.update(block)
    return f"sha256:{running.hexdigest()}"


def push_streamed(node: Node, repository: str, size: int) -> str:
    """In one PATCH; returns the digest."""
    location = node.client.start_upload(repository).location
    running = hashlib.sha256()
    with Wire(node.host) as wire:
        wire.head("PATCH", location, {"Content-Length": str(size)})
        for block in blocks(size):
            running.update(block)
            wire.send(block)
        wire.socket.settimeout(300)
        answer = wire.answer("PATCH")
    assert answer is not None
    found = f"sha256:{running.hexdigest()}"
    node.client.finish_upload(answer.expect(202).location, found).expect(201)
    return found


def push_in_pieces(node: Node, repository: str, size: int, piece: int = 64 * MIB) -> str:
    """In PATCHes of `piece` bytes on connections of their own, which any worker may get; returns the digest."""
    location = node.client.start_upload(repository).location
    running = hashlib.sha256()
    for start in range(0, size, piece):
        end = min(start + piece, size)
        connection = node.client.connect(300)
        connection.putrequest("PATCH", location)
        connection.putheader("Content-Length", str(end - start))
        connection.endheaders()
        for block in blocks(end, start):
            running.update(block)
            connection.send(block)
        response = connection.getresponse()
        assert response.status == 202
        location = response.headers["Location"]
        connection.close()
    found = f"sha256:{running.hexdigest()}"
    connection = node.client.connect(300)  # a worker may have to read it all again
    connection.request("PUT", with_query(location, digest=found))
    assert connection.getresponse().status == 201
    connection.close()
    return found


def pull(node: Node, repository: str, name: str) -> int:
    """Returns the size; the bytes are what the digest says."""
    running, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(MIB))
    connection = http.client.HTTPConnection(node.host, timeout=60)
    connection.request("GET", f"/v2/{repository}/blobs/{name}")
    response = connection.getresponse()
    assert response.status == 200
    while received := response.readinto(buffer):
        running.update(buffer[:received])
        size += received
    connection.close()
    assert f"sha256:{running.hexdigest()}" == name
    return size


@dataclass
class Watch:
    """The memory of all processes of a registry, above what they had when it was idle. Looked at all the time."""

    node: Node
    seconds: float = 0.02
    idle: dict[int, int] = field(default_factory=dict)
    most: dict[int, int] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self.idle = self.node.memory()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, where: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._over.wait(self.seconds):
            self._look()

    def _look(self) -> None:
        for pid, size in self.node.memory().items():
            self.most[pid] = max(self.most.get(pid, 0), size)

    def above_idle(self) -> int:
        """In bytes, of the process that needed most."""
        assert set(self.most) <= set(self.idle), "a process was started anew"
        return max(self.most[pid] - self.idle[pid] for pid in self.most)


class Slow:
    """Many connections that send or read a few bytes in turn, from one thread, until told to stop."""

    def __init__(self, node: Node, count: int) -> None:
        self.node = node
        self.wires = [Wire(node.host, receive_buffer=4096) for _ in range(count)]
        self.turns = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Slow:
        self.begin()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for wire in self.wires:
            wire.reset()

    def _run(self) -> None:
        while not self._over.wait(0.1):
            for wire in self.wires:
                self.turn(wire)
            self.turns += 1

    def begin(self) -> None: ...

    def turn(self, wire: Wire) -> None: ...


class SlowReaders(Slow):
    """5 KB a second each."""

    def __init__(self, node: Node, count: int, target: str) -> None:
        super().__init__(node, count)
        self.target = target

    def begin(self) -> None:
        for wire in self.wires:
            wire.head("GET", self.target, {})

    def turn(self, wire: Wire) -> None:
        assert wire.socket.recv(512)


class SlowWriters(Slow):
    """Each sends `burst` at once and then 5 KB a second of a body that has no end."""

    def __init__(self, node: Node, count: int, repository: str, burst: bytes, piece: bytes, framing: str) -> None:
        super().__init__(node, count)
        self.repository = repository
        self.burst = burst
        self.piece = piece
        self.framing = framing

    def begin(self) -> None:
        for wire in self.wires:
            location = self.node.client.start_upload(self.repository).location
            kind = {"Content-Length": str(200 * MIB)}
            if self.framing == "chunked":
                kind = {"Transfer-Encoding": "chunked"}
            wire.send(head("PATCH", location, {"Host": self.node.host, **kind}) + self.burst)

    def turn(self, wire: Wire) -> None:
        wire.send(self.piece)


def wait_for_turns(slow: Slow, turns: int, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while slow.turns < turns:
        assert time.monotonic() < deadline, "the slow clients are stuck"
        time.sleep(0.05)
