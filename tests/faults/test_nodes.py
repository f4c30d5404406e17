"""Two nodes on one bucket behind a plain round-robin: any request on any node, and one of them is killed.

Chance begins from `LADING_NODES_SEED`, if that is set.
"""

from __future__ import annotations

import http.client
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.ledger import Ledger, check
from tests.faults.roundrobin import round_robin
from tests.faults.workload import Workload
from tests.servers import content
from tests.servers.client import Client
from tests.servers.process import StartRegistry
from tests.servers.serving import ONE_WORKER
from tests.servers.versitygw import Gateway, gateway

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.parametrize("serving", [ONE_WORKER]),
]

SEED = int(os.environ.get("LADING_NODES_SEED", "7"))
CLIENTS, STEPS = 3, 12
DATA = content.noise("in turns", 12 * 1024 * 1024)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path / "store") as running:
        yield running


def test_one_of_two_is_killed_while_clients_push_and_delete(store: Gateway, start_lading: StartRegistry) -> None:
    print(f"LADING_NODES_SEED={SEED}")
    parameters = store.parameters(chunksize=5 * 1024 * 1024)
    storage = {"filesystem": None, "s3": parameters, "delete": {"enabled": True}, "redirect": {"disable": True}}
    settings = {"storage": storage, "health": {"storagedriver": {"enabled": False}}}
    nodes = [start_lading(extra=settings) for _ in range(2)]
    with round_robin([node.host for node in nodes]) as proxy:
        client, ledger = Client(proxy.host), Ledger()
        _push_in_turns(client)
        assert min(proxy.turns.values()) >= 2, "each request of an upload went to another node"

        at_work = [threading.Event() for _ in range(CLIENTS)]
        failures: list[BaseException] = []

        def work(number: int) -> None:
            rng, life, steps = random.Random(SEED + number), 0, 0
            # One that loses its connection begins anew in another repository: it cannot know what was done.
            workload = Workload(client, ledger, f"client-{number}/life-{life}")
            try:
                while steps < STEPS:
                    steps += 1
                    if steps > STEPS // 3:
                        at_work[number].set()
                    try:
                        workload.run(rng, 1)
                    except (OSError, http.client.HTTPException):
                        life += 1
                        workload = Workload(client, ledger, f"client-{number}/life-{life}")
            except BaseException as error:  # noqa: BLE001  to be raised in the test's own thread
                failures.append(error)
                at_work[number].set()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for event in at_work:
            assert event.wait(120)
        nodes[SEED % 2].kill()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        assert any(len(values) == 1 for _, values in ledger.known("tag"))
        # Through the proxy there is one node left; it shows all that either has acknowledged.
        check(client, ledger, whole_catalog=False)
        _push_in_turns(client)


def _push_in_turns(client: Client) -> None:
    location = client.start_upload("turns").location
    for start in range(0, len(DATA), 5_000_000):
        location = client.patch(location, DATA[start : start + 5_000_000]).expect(202).location
    digest = content.digest_of(DATA)
    client.finish_upload(location, digest).expect(201)
    assert client.pull_blob("turns", digest) == DATA
