"""The loader for what kept tools cannot do: uploads of several requests, bodies that never repeat, large bodies.

A process for each connection, blocking sockets, no HTTP library: some 20 µs of CPU for a request. Received bodies
are dropped in the kernel (MSG_TRUNC), sent ones come from one buffer. What it costs is reported beside the result.
"""

from __future__ import annotations

import array
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.measure import Load, percentile
from bench.servers import HOST, BenchError

SOCKET_SECONDS = 120.0
DISCARD_BYTES = 1024 * 1024
START_DELAY = 0.05

_MSG_TRUNC = socket.MSG_TRUNC


class UnexpectedAnswerError(Exception):
    """The registry did not say what it should have; the text has its answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    head: bytes

    def location(self) -> str:
        """The target of the next request, without the host."""
        start = self.head.lower().index(b"\r\nlocation: ") + len(b"\r\nlocation: ")
        value = self.head[start : self.head.index(b"\r\n", start)].decode("latin-1")
        return "/" + value.split("/", 3)[3] if value.startswith("http") else value


class Wire:
    """One HTTP/1.1 connection, kept alive. Bodies of answers are dropped."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=SOCKET_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"Host: {HOST}:{port}\r\n"
        self._sink = bytearray(DISCARD_BYTES)

    def ask(
        self,
        method: str,
        target: str,
        headers: str = "",
        body: Iterable[bytes | memoryview] = (),
        size: int | None = None,
        expect: int = 200,
    ) -> Answer:
        """`headers` are whole lines. Raises `UnexpectedAnswerError`."""
        length = "" if size is None else f"Content-Length: {size}\r\n"
        head = f"{method} {target} HTTP/1.1\r\n{self._host}{headers}{length}\r\n".encode("latin-1")
        if size is not None and size <= 64 * 1024:
            self._socket.sendall(b"".join([head, *body]))
        else:
            self._socket.sendall(head)
            for piece in body:
                self._socket.sendall(piece)
        answer = self._answer(method)
        if answer.status != expect:
            raise UnexpectedAnswerError(f"{method} {target}: {answer.head.decode('latin-1')}")
        return answer

    def _answer(self, method: str) -> Answer:
        data = self._socket.recv(64 * 1024)
        while (end := data.find(b"\r\n\r\n")) < 0:
            more = self._socket.recv(64 * 1024)
            if not more:
                raise UnexpectedAnswerError(f"{method}: the connection was closed")
            data += more
        head = data[: end + 2]
        status = int(head[9:12])
        if method != "HEAD" and status not in {204, 304}:
            lower = head.lower()
            at = lower.find(b"\r\ncontent-length:")
            if at >= 0:
                self._drop(int(lower[at + 17 : lower.index(b"\r\n", at + 2)]) - (len(data) - end - 4))
            elif b"\r\ntransfer-encoding: chunked\r\n" in lower:
                self._drop_chunks(data[end + 4 :])
            else:
                raise UnexpectedAnswerError(f"{method}: a body without an end: {head!r}")
        return Answer(status, head)

    def _drop(self, left: int) -> None:
        while left:
            got = self._socket.recv_into(self._sink, min(left, DISCARD_BYTES), _MSG_TRUNC)
            if not got:
                raise UnexpectedAnswerError(f"the body broke off with {left} bytes to come")
            left -= got

    def _drop_chunks(self, data: bytes) -> None:
        """Of a page of JSON: there is no other end in it than the last chunk."""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            more = self._socket.recv(64 * 1024)
            if not more:
                raise UnexpectedAnswerError("the body broke off before its last chunk")
            data += more

    def close(self) -> None:
        self._socket.close()


Operation = Callable[[Wire, int], None]
"""One thing to be counted, done over a connection whose number is given."""


def run(port: int, operation: Operation, *, connections: int, seconds: float, at_most: int | None = None) -> Load:
    """Repeat the operation over each connection for so long, at least once, and at most so often in all."""
    share = None if at_most is None else max(1, at_most // connections)
    start_at = time.perf_counter() + START_DELAY + 0.002 * connections
    pipes: dict[int, int] = {}
    for number in range(connections):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _child(writing, port, operation, number, start_at, seconds, share)
        os.close(writing)
        pipes[reading] = pid
    try:
        reports = _collect(pipes, seconds + 2 * SOCKET_SECONDS)
    finally:
        for pid in pipes.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    latencies = sorted(value for report in reports for value in report[3:])
    if not latencies:
        raise BenchError("the load did nothing but fail; see above")
    return Load(
        operations=len(latencies),
        seconds=max(report[0] for report in reports) - start_at,
        p50=percentile(latencies, 0.5),
        p99=percentile(latencies, 0.99),
        client_cpu=sum(report[1] for report in reports),
        errors=int(sum(report[2] for report in reports)),
    )


def _child(
    report: int, port: int, operation: Operation, number: int, start_at: float, seconds: float, share: int | None
) -> None:
    """Its report: when it ended, its CPU time, its failures, and the latencies."""
    latencies = array.array("d")
    failures = 0
    cpu = 0.0
    try:
        wire = Wire(port)
        time.sleep(max(0.0, start_at - time.perf_counter()))
        before = _cpu()
        while True:
            began = time.perf_counter()
            try:
                operation(wire, number)
                latencies.append(time.perf_counter() - began)
            except (OSError, UnexpectedAnswerError) as error:
                failures += 1
                if failures == 1:
                    print(f"bench: {error}", file=sys.stderr)
                if failures > 10:
                    break
                wire.close()
                wire = Wire(port)
            now = time.perf_counter()
            if now - start_at >= seconds or (share is not None and len(latencies) + failures >= share):
                break
        cpu = _cpu() - before
    except BaseException:  # noqa: BLE001  a child must never return into the parent's code
        traceback.print_exc()
        failures += 1
    with os.fdopen(report, "wb") as pipe:
        pipe.write(array.array("d", [time.perf_counter(), cpu, failures]).tobytes() + latencies.tobytes())
    os._exit(0)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _collect(pipes: dict[int, int], patience: float) -> list[array.array[float]]:
    received = dict.fromkeys(pipes, b"")
    waiting = select.poll()
    for pipe in pipes:
        waiting.register(pipe, select.POLLIN | select.POLLHUP)
    left = len(pipes)
    deadline = time.monotonic() + patience
    while left:
        ready = waiting.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ready:
            raise BenchError("a load did not end")
        for pipe, _ in ready:
            got = os.read(pipe, 1024 * 1024)
            received[pipe] += got
            if not got:
                waiting.unregister(pipe)
                os.close(pipe)
                left -= 1
    reports = []
    for data in received.values():
        report = array.array("d")
        report.frombytes(data)
        reports.append(report)
    return reports
