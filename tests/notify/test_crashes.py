"""Processes die, and the disk is full, while clients push: what was acknowledged arrives."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import threading
import time

import pytest
from tests.notify.receiver import Receiver, receiver, settings
from tests.notify.test_delivery import EMPTY, arrive, came, manifest, push
from tests.servers.process import Registry
from tests.servers.serving import Serving

pytestmark = pytest.mark.slow


@pytest.fixture
def serving():
    return Serving("two-workers", workers=2)


class Clients:
    """Push until they are told to stop; `acknowledged` are digests, in order for each repository."""

    def __init__(self, registry: Registry) -> None:
        self.acknowledged: dict[str, list[str]] = {f"r{number}": [] for number in range(3)}
        self._registry = registry
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._push, args=(name,)) for name in self.acknowledged]
        for name in self.acknowledged:
            registry.client.push_blob(name, EMPTY.digest, EMPTY.data)
        for thread in self._threads:
            thread.start()

    def _push(self, repository: str) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            pushed = manifest(number)
            try:
                answer = self._registry.client.put_manifest(repository, pushed.digest, pushed)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)  # nobody listens: not as fast as it can
                continue
            if answer.status == 201:
                self.acknowledged[repository].append(pushed.digest)

    def wait(self, number: int) -> None:
        target = sum(map(len, self.acknowledged.values())) + number
        deadline = time.monotonic() + 30
        while sum(map(len, self.acknowledged.values())) < target:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_each_process_in_turn_is_killed(start_lading, tmp_path):
    root = tmp_path / "data"
    with receiver() as there:
        extra = settings(there.url, ignoredmediatypes=["application/octet-stream"])
        registry = start_lading(root, extra)
        clients = Clients(registry)
        try:
            for process in registry.children():
                clients.wait(20)
                os.kill(process, signal.SIGKILL)
                deadline = time.monotonic() + 20
                while len(registry.children()) < 3:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            clients.wait(20)
            registry.kill()
        finally:
            clients.stop()
        start_lading(root, extra)
        acknowledged = {name: list(dict.fromkeys(digests)) for name, digests in clients.acknowledged.items()}
        there.wait(lambda: all(set(digests) <= set(of(there, name)) for name, digests in acknowledged.items()))
        for name, digests in acknowledged.items():
            first = list(dict.fromkeys(of(there, name)))
            assert [digest for digest in first if digest in set(digests)] == digests


def of(receiver: Receiver, repository: str) -> list[str]:
    targets = [event["target"] for event in receiver.together]
    return [target["digest"] for target in targets if target["repository"] == repository]


def test_the_disk_is_full(start_lading):
    with receiver() as there:
        registry = start_lading(extra=settings(there.url, ignoredmediatypes=["application/octet-stream"]))
        before = push(registry, range(30))
        arrive(there, before)
        ahead = registry.root / "lading/notifications/events.sqlite3-wal"
        limit = ahead.stat().st_size
        assert limit > 2 * registry.log.stat().st_size, "the log goes on"
        workers = registry.children()[:2]
        unlimited = [resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in workers]
        for pid in workers:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        pushed = manifest(31)
        answer = registry.client.put_manifest("r", "full", pushed).expect(503)
        assert b"UNAVAILABLE" in answer.body
        registry.client.get(f"/v2/r/manifests/{before[0]}").expect(200)
        for pid, limits in zip(workers, unlimited, strict=True):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        registry.client.put_manifest("r", "full", pushed).expect(201)
        arrive(there, [pushed.digest])
        assert "events are given up (1 at first): cannot write the journal" in registry.log.read_text()
        assert set(before) <= set(came(there))
