"""The processes of a registry: one of them is killed, all are told to stop, and what its clients see of it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import random
import signal
import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.faults import load
from tests.faults.ledger import Ledger, check
from tests.faults.node import MIB, Node, StartNode, eventually, one_connection_to_each_worker
from tests.faults.workload import Workload
from tests.servers import content
from tests.servers.client import with_query
from tests.servers.serving import FOUR_WORKERS, HTTP2_IN_CLEAR, HTTP2_OVER_TLS, Serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

WAYS = [FOUR_WORKERS, HTTP2_IN_CLEAR, HTTP2_OVER_TLS]
IN_CLEAR = [FOUR_WORKERS, HTTP2_IN_CLEAR]
REPOSITORY = "team/app"

over = pytest.mark.parametrize("serving", WAYS, ids=lambda serving: serving.name)
over_in_clear = pytest.mark.parametrize("serving", IN_CLEAR, ids=lambda serving: serving.name)


class Crowd:
    """Clients that push, pull and delete. One that loses its connection begins anew in another repository."""

    def __init__(self, node: Node, ledger: Ledger, count: int = 4) -> None:
        self.node = node
        self.ledger = ledger
        self.lost = 0
        self._over = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(count)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _work(self, number: int) -> None:
        rng, life = random.Random(number), 0
        while not self._over.is_set() and not self._failures:
            life += 1
            workload = Workload(self.node.client, self.ledger, f"client-{number}/life-{life}")
            try:
                while not self._over.is_set():
                    workload.run(rng, 1)
                    for tag, image in workload.tags.items():
                        assert self.node.client.pull(workload.repository, tag) == image.everything()
            except (OSError, http.client.HTTPException):
                self.lost += 1
            except BaseException as error:  # noqa: BLE001  to be raised in the test's own thread
                self._failures.append(error)

    def acknowledged(self) -> int:
        if self._failures:
            raise self._failures[0]
        kinds = ("blob", "manifest", "tag")
        return sum(len(values) == 1 for kind in kinds for _, values in self.ledger.known(kind))


@over
def test_workers_are_killed_in_turn(start_node: StartNode, memory_path: Path, serving: Serving) -> None:
    """Nothing that was acknowledged is lost, the others go on meanwhile, and each is replaced."""
    node = start_node(serving=serving, root=memory_path / "data")
    rng, ledger = random.Random(5), Ledger()
    eventually(lambda: len(node.worker_ids()) == serving.workers, "all workers are there")
    with Crowd(node, ledger) as crowd:
        for _ in range(4):
            victim = rng.choice(node.worker_ids())
            before = crowd.acknowledged()
            os.kill(victim, signal.SIGKILL)
            eventually(lambda n=before: crowd.acknowledged() > n + 10, "work goes on")  # type: ignore[misc]
            eventually(lambda: len(node.worker_ids()) == serving.workers, "the worker is replaced")
        enough = crowd.acknowledged()
        eventually(lambda: crowd.acknowledged() > enough + 10, "work goes on")
    crowd.acknowledged()
    check(node.client, ledger)


def test_a_session_outlives_the_worker_of_each_of_its_requests(start_node: StartNode) -> None:
    node = start_node(workers=4)
    pieces = [content.noise(f"piece {number}", size) for number, size in enumerate([70_000, 1, 2 * MIB])]
    data = b"".join(pieces)
    with one_connection_to_each_worker(node) as turns:
        wire = turns()
        location = wire.exchange("POST", f"/v2/{REPOSITORY}/blobs/uploads/").expect(202).location
        for piece in pieces:
            victim = eventually(lambda w=wire: node.worker_of(w.socket), "a worker has the connection")  # type: ignore[misc]
            os.kill(victim, signal.SIGKILL)
            wire = turns()
            location = wire.exchange("PATCH", location, piece).expect(202).location
        digest = content.digest_of(data)
        wire.exchange("PUT", with_query(location, digest=digest)).expect(201)
    assert node.client.pull_blob(REPOSITORY, digest) == data


@over
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_the_others_follow_a_parent_that_is_killed(start_node: StartNode, serving: Serving, busy: bool) -> None:
    """Housekeeping too; and the port is free as soon as the parent is gone, though a request may finish."""
    node = start_node(serving=serving, extra={"http": {"draintimeout": "3s"}})
    eventually(lambda: len(node.worker_ids()) == serving.workers, "all workers are there")
    followers = set(node.process_ids()) - {node.pid}
    assert len(followers) > serving.workers  # housekeeping is one of them
    connection = node.client.connect()
    if busy:
        location = node.client.start_upload(REPOSITORY).location
        connection.putrequest("PATCH", location)
        connection.putheader("Content-Length", "1000000")
        connection.endheaders(b"some of it")
    node.kill_main()
    eventually(lambda: _bindable(node.port), "the port is free", seconds=3)
    eventually(lambda: not any(map(alive, followers)), "they have followed", seconds=10)
    connection.close()
    node.restart()


def _bindable(port: int) -> bool:
    """As a registry finds out: no other socket listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Transfers:
    """A large upload and a large download, each stopped halfway until told to go on."""

    def __init__(self, node: Node, size: int) -> None:
        self.node = node
        self.size = size
        self.go = threading.Event()
        self.digest = load.push_in_pieces(node, REPOSITORY, size)
        self.location = node.client.start_upload("new/app").location
        self._halfway = threading.Barrier(3)
        self._pool = ThreadPoolExecutor(2)
        self._running: list[Future[None]] = [self._pool.submit(self._up), self._pool.submit(self._down)]

    def wait_until_halfway(self) -> None:
        self._halfway.wait(60)

    def finish(self) -> None:
        """Go on to the end; raises if either breaks off."""
        self.go.set()
        for future in self._running:
            future.result(90)
        self._pool.shutdown()

    def failures(self) -> list[BaseException | None]:
        self.go.set()
        return [future.exception(30) for future in self._running]

    def _up(self) -> None:
        with contextlib.closing(self.node.client.connect(60)) as connection:
            connection.putrequest("PATCH", self.location)
            connection.putheader("Content-Length", str(self.size))
            connection.endheaders()
            for number, block in enumerate(load.blocks(self.size)):
                if number == self.size // MIB // 2:
                    self._pause()
                connection.send(block)
            response = connection.getresponse()
            assert response.status == 202
            assert response.headers["Range"] == f"0-{self.size - 1}"

    def _down(self) -> None:
        running, received, waited = hashlib.sha256(), 0, False
        with contextlib.closing(self.node.client.connect(60)) as connection:
            connection.request("GET", f"/v2/{REPOSITORY}/blobs/{self.digest}")
            with connection.getresponse() as response:
                while data := response.read(MIB):
                    running.update(data)
                    received += len(data)
                    if not waited and received >= self.size // 2:
                        waited = True
                        self._pause()
        assert f"sha256:{running.hexdigest()}" == self.digest

    def _pause(self) -> None:
        self._halfway.wait(60)
        assert self.go.wait(60)


@over
def test_requests_under_way_finish_after_sigterm(
    start_node: StartNode, memory_path: Path, serving: Serving
) -> None:
    """A gigabyte each way; new clients are turned away from the first moment."""
    node = start_node(serving=serving, root=memory_path / "data", extra={"http": {"draintimeout": "30s"}})
    transfers = Transfers(node, 1024 * MIB)
    idle = node.client.connect()
    idle.request("GET", "/v2/")
    idle.getresponse().read()
    transfers.wait_until_halfway()
    node.signal(signal.SIGTERM)
    eventually(lambda: _bindable(node.port), "nobody listens any more", seconds=3)
    with contextlib.closing(idle):
        assert idle.sock is None or idle.sock.recv(1) == b"", "idle connections are closed"
    transfers.finish()
    assert node.wait_for_end(5) == 0


@over
@pytest.mark.parametrize("again", [True, False], ids=["second-signal", "time-is-up"])
def test_requests_that_do_not_finish_are_cut_off(start_node: StartNode, serving: Serving, again: bool) -> None:
    drain = "60s" if again else "1s"
    node = start_node(serving=serving, extra={"http": {"draintimeout": drain}})
    transfers = Transfers(node, 64 * MIB)
    transfers.wait_until_halfway()
    node.signal(signal.SIGTERM)
    if again:
        eventually(lambda: _bindable(node.port), "it has begun to stop")
        told = time.monotonic()
        node.signal(signal.SIGTERM)  # as from somebody who stops the whole group, and means it once
        eventually(lambda: time.monotonic() - told > 1.2, "a signal that follows is meant")
        assert alive(node.pid), "which the one before was not"
        node.signal(signal.SIGTERM)
    assert node.wait_for_end(4) == 1
    assert all(transfers.failures())
    node.restart()
    stored = node.client.get(transfers.location).expect(204).header("Range")
    assert int(stored.partition("-")[2]) > 16 * MIB, "what was sent before is kept"


@over
def test_sighup_ends_nothing(start_node: StartNode, serving: Serving) -> None:
    node = start_node(serving=serving)
    eventually(lambda: len(node.worker_ids()) == serving.workers, "all workers are there")
    before = node.process_ids()
    node.signal(signal.SIGHUP)
    eventually(lambda: "reading certificates" in node.log.read_text(), "it is said what it does")
    node.client.get("/v2/").expect(200)
    assert node.process_ids() == before
