"""Everybody at once while garbage is collected without a pause, and processes die: nothing that is needed is lost.

Two registries with two workers each serve one storage, and collect in it; so do commands, some of which are
killed. `LADING_STORM_SECONDS` is how long it blows, `LADING_STORM_SEED` what chance begins from: every decision of
clients and of those that kill comes from it, while the order in which processes run is the machine's. So a seed
that failed is to be run more than once; the act that failed is told with its number.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.faults.storming import NAMES, Pusher
from tests.servers.client import Client
from tests.servers.process import Registry, StartRegistry, lading
from tests.servers.serving import Serving
from tests.servers.versitygw import gateway

SECONDS = float(os.environ.get("LADING_STORM_SECONDS", "12"))
SEED = int(os.environ.get("LADING_STORM_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
ROUND_SECONDS = 600.0
"""No round takes longer, on a machine that has much else to do."""
COLLECTORS = 2
"""Commands that run besides the registries' own."""

COLLECTION = {
    "enabled": True,
    "interval": "2s",
    "grace": "1ms",
    "quarantine": "5m",
    "rate": 2000,
    "deleteuntagged": True,
}


@dataclass(frozen=True)
class Nodes:
    registries: Sequence[Registry]
    folder: Path
    """In which the storage keeps its files."""

    def blobs(self) -> list[str]:
        """The SHA-256 of all that is stored as a blob, by whatever digest it is known."""
        return [hashlib.sha256(data.read_bytes()).hexdigest() for data in self.folder.glob("blobs/*/*/*/data")]


@pytest.fixture
def serving() -> Serving:
    return Serving("two-workers", workers=2)


@pytest.fixture(params=["filesystem", pytest.param("s3", marks=pytest.mark.peer)])
def nodes(request: pytest.FixtureRequest, start_lading: StartRegistry, tmp_path: Path) -> Iterator[Nodes]:
    maintenance = {"garbagecollection": COLLECTION}
    if request.param == "filesystem":
        root = tmp_path / "data"
        started = [start_lading(root, {"storage": {"maintenance": maintenance}}) for _ in range(2)]
        yield Nodes(started, root / "docker/registry/v2")
        return
    with gateway(tmp_path / "s3") as bucket:
        storage = {"filesystem": None, "s3": bucket.parameters(), "maintenance": maintenance}
        extra = {"storage": {**storage, "redirect": {"disable": True}}}
        yield Nodes([start_lading(extra=extra) for _ in range(2)], tmp_path / "s3/bucket/docker/registry/v2")


def collect(registry: Registry, chance: random.Random, until: threading.Event) -> int:
    """Without a pause; one in three rounds is killed."""
    rounds = 0
    while not until.is_set():
        command = [lading().executable, "garbage-collect", "--online", "--quiet", str(registry.config)]
        running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        if chance.randrange(3) == 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(chance.uniform(0.5, 3.0))
            running.kill()
            running.communicate()
        else:
            said = running.communicate(timeout=ROUND_SECONDS)[1]
            assert running.returncode == 0, said
            rounds += 1
    return rounds


def kill_now_and_then(registries: Sequence[Registry], chance: random.Random, until: threading.Event) -> int:
    """Workers, and the process that keeps house."""
    killed = 0
    while not until.wait(chance.uniform(1.0, 4.0)):
        pid = chance.choice(registries)._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        place = chance.random()
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(children[int(place * len(children))]), signal.SIGKILL)
                killed += 1
    return killed


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 2 * ROUND_SECONDS)
def test_nothing_is_lost(nodes: Nodes) -> None:
    print(f"LADING_STORM_SEED={SEED} LADING_STORM_SECONDS={SECONDS:.0f}")
    clients = [Client(registry.host) for registry in nodes.registries]
    pushers = [Pusher(clients, name, SEED + number) for number, name in enumerate(NAMES)]
    until, failures = threading.Event(), list[BaseException]()
    rounds, killed = list[int](), list[int]()

    def running(work: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as failure:  # noqa: BLE001  raised again where it is seen
                failures.append(failure)
                until.set()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def push(pusher: Pusher) -> None:
        while not until.is_set():
            pusher.act()

    def collecting(number: int) -> None:
        rounds.append(collect(nodes.registries[number], random.Random(SEED - 1 - number), until))

    threads = [running(lambda pusher=pusher: push(pusher)) for pusher in pushers]
    threads += [running(lambda number=number: collecting(number)) for number in range(COLLECTORS)]
    chance = random.Random(SEED - 1 - COLLECTORS)
    threads.append(running(lambda: killed.append(kill_now_and_then(nodes.registries, chance, until))))
    until.wait(SECONDS)
    until.set()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    counts = sum((Counter(pusher.counts) for pusher in pushers), Counter[str]())
    print(f"{counts.total()} acts, {sum(rounds)} rounds of commands, {killed[0]} processes killed; {dict(counts)}")
    check(nodes, pushers)


def check(nodes: Nodes, pushers: Sequence[Pusher]) -> None:
    """Now that nobody pushes, what is not needed goes, and all else is where it belongs."""
    check_tags(pushers)
    for pusher in pushers:
        pusher.forget_signatures()
    time.sleep(0.01)
    config = str(nodes.registries[0].config)
    for _ in range(2):
        command = [lading().executable, "garbage-collect", "--online", "--quiet", config]
        subprocess.run(command, check=True, timeout=ROUND_SECONDS)
    left = subprocess.run(
        [lading().executable, "garbage-collect", "--dry-run", "--json", "--delete-untagged", config],
        check=True,
        capture_output=True,
        timeout=ROUND_SECONDS,
    )
    plan = json.loads(left.stdout)
    assert (plan["blobs"], plan["manifests"]) == ([], [])
    needed = {hashlib.sha256(data).hexdigest() for pusher in pushers for data in pusher.needed().values()}
    assert set(nodes.blobs()) == needed
    check_tags(pushers)


def check_tags(pushers: Sequence[Pusher]) -> None:
    for pusher in pushers:
        for tag in pusher.tags:
            for client in pusher.clients:
                pusher.check(client, tag)


def test_a_seed_does_the_same_again() -> None:
    def acts(seed: int) -> list[str]:
        pusher, told = Pusher([Client(""), Client("")], NAMES[0], seed), []
        for _ in range(300):
            act = pusher.decide()
            told.append(str(act))
            pusher.remember(act)
        return told

    assert acts(5) == acts(5) != acts(6)
