"""`kill -9` of all processes at random moments, while several clients push and delete: seeded, but never the same.

`test_crash_points.py` proves the same for every single step; this is the whole server, with many requests at once.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from pathlib import Path

import pytest
from tests.faults import directory
from tests.faults.ledger import Ledger, check
from tests.faults.node import Node, StartNode, eventually
from tests.faults.workload import Workload
from tests.servers.serving import FOUR_WORKERS, HTTP2_OVER_TLS, Serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CLIENTS = 4
STEPS = 1000


class Clients:
    """Some threads, each with a repository and a seed of its own, working until the server is gone."""

    def __init__(self, node: Node, ledger: Ledger, round_number: int) -> None:
        self.ledger = ledger
        self.failures: list[BaseException] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(node, f"round-{round_number}/client-{number}"))
            for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, node: Node, repository: str) -> None:
        try:
            Workload(node.client, self.ledger, repository).run(random.Random(repository), STEPS)
        except (OSError, http.client.HTTPException) as error:
            if not self._over.is_set():
                self.failures.append(error)
        except BaseException as error:  # noqa: BLE001  to be raised in the test's own thread
            self.failures.append(error)

    def acknowledged(self) -> int:
        return sum(
            len(values) == 1 for kind in ("blob", "manifest", "tag") for _, values in self.ledger.known(kind)
        )

    def over(self) -> None:
        """From now on it is no failure that the server does not answer."""
        self._over.set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
        if self.failures:
            raise self.failures[0]


@pytest.mark.parametrize(
    ("serving", "rounds"), [(FOUR_WORKERS, 20), (HTTP2_OVER_TLS, 5)], ids=["four-workers", "tls-h2"]
)
def test_killed_again_and_again(
    start_node: StartNode, memory_path: Path, full: bool, serving: Serving, rounds: int
) -> None:
    node = start_node(serving=serving, root=memory_path / "data")
    rng = random.Random(2)
    for number in range(10 * rounds if full else rounds):
        ledger = Ledger()
        clients = Clients(node, ledger, number)
        enough = rng.randrange(1, 60)
        eventually(lambda c=clients, n=enough: c.failures or c.acknowledged() >= n, "some work is done")  # type: ignore[misc]
        clients.over()
        time.sleep(rng.random() * 0.02)  # the moment of the fault: anywhere within a few requests
        node.kill()
        clients.join()
        node.restart()
        check_round(node, ledger)
    assert directory.purge_everything(node.root).errors == 0
    assert directory.sessions(node.root) == []
    assert [name for name in node.client.catalog() if name.endswith(".tmp")] == []


def check_round(node: Node, ledger: Ledger) -> None:
    """Also that every session can be asked for and carried on, or is not known at all."""
    check(node.client, ledger, whole_catalog=False)
    for fact, values in ledger.known("session"):
        status = node.client.get(fact.name)
        assert status.status in {204, 404}, str(status)
        assert status.status == 204 or None in values, f"lost: {fact}"
        if status.status == 204:
            upload_id = fact.name.partition("?")[0].rpartition("/")[2]
            stored = directory.stored_bytes(node.root, fact.repository, upload_id)
            assert status.header("Range") == f"0-{max(stored - 1, 0)}"
            later = node.client.patch(status.location, b"more").expect(202)
            assert later.header("Range") == f"0-{stored + 3}"
            node.client.request("DELETE", later.location).expect(204)
