"""Everybody at once while garbage is collected without a pause, and processes die: nothing that is needed is lost.

`LADING_STORM_SECONDS` is how long it blows, `LADING_STORM_SEED` what chance begins from.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from tests.servers import content
from tests.servers.client import Answer, Client
from tests.servers.content import Package
from tests.servers.process import Registry, StartRegistry, lading
from tests.servers.serving import FOUR_WORKERS, Serving
from tests.servers.versitygw import gateway

T = TypeVar("T")

SECONDS = float(os.environ.get("LADING_STORM_SECONDS", "12"))
SEED = int(os.environ.get("LADING_STORM_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
NAMES = ("storm/one", "storm/two", "storm/three")
# Images of one name have layers in common.
IMAGES = [
    content.image(name, layer_sizes=sizes) for name in "abc" for sizes in ((900,), (900, 3000), (900, 3000, 200))
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 120)]


@pytest.fixture
def serving() -> Serving:
    return FOUR_WORKERS


@pytest.fixture(params=["filesystem", pytest.param("s3", marks=pytest.mark.peer)])
def registry(request: pytest.FixtureRequest, start_lading: StartRegistry, tmp_path: Path) -> Iterator[Registry]:
    rules = {"enabled": True, "grace": "1ms", "quarantine": "5m", "rate": 2000, "deleteuntagged": True}
    maintenance = {"garbagecollection": rules}
    if request.param == "filesystem":
        yield start_lading(extra={"storage": {"maintenance": maintenance}})
        return
    with gateway(tmp_path / "s3") as bucket:
        storage = {"filesystem": None, "s3": bucket.parameters(), "maintenance": maintenance}
        yield start_lading(extra={"storage": {**storage, "redirect": {"disable": True}}})


class Pusher:
    """Has a repository of its own, and layers in common with the others'."""

    def __init__(self, host: str, name: str, seed: int) -> None:
        self.client = Client(host)
        self.name = name
        self.chance = random.Random(seed)
        self.tags: dict[str, Package] = {}
        self.acts = 0

    def act(self) -> None:
        package, tag = self.chance.choice(IMAGES), self.chance.choice("xyz")
        self.acts += 1
        match self.chance.randrange(6):
            case 0 | 1:
                again(lambda: self._push(tag, package))
                self.tags[tag] = package
            case 2:
                blob, source = self.chance.choice(package.blobs).digest, self.chance.choice(NAMES)
                target = f"/v2/{self.name}/blobs/uploads/?mount={blob}&from={source}"
                again(lambda: self.client.request("POST", target), {201, 202})
            case 3 if tag in self.tags:
                del self.tags[tag]
                again(lambda: self.client.request("DELETE", f"/v2/{self.name}/manifests/{tag}"), {202, 404})
            case 4 if tag in self.tags:
                gone = self.tags[tag].manifest.digest
                self.tags = {t: p for t, p in self.tags.items() if p.manifest.digest != gone}
                again(lambda: self.client.request("DELETE", f"/v2/{self.name}/manifests/{gone}"), {202, 404})
            case _ if tag in self.tags:
                self.check(tag)

    def check(self, tag: str) -> None:
        assert again(lambda: self.client.pull(self.name, tag)) == self.tags[tag].everything()

    def _push(self, tag: str, package: Package) -> None:
        """As clients do: what is there is not sent."""
        for blob in package.blobs:
            if self.client.request("HEAD", f"/v2/{self.name}/blobs/{blob.digest}").status == 404:
                self.client.push_blob(self.name, blob.digest, blob.data)
        self.client.put_manifest(self.name, tag, package.manifest).expect(201)


def again(work: Callable[[], T], statuses: set[int] | None = None) -> T:
    """Until no process dies meanwhile."""
    for _ in range(20):
        with contextlib.suppress(OSError, http.client.HTTPException):
            got = work()
            if statuses is not None:
                assert isinstance(got, Answer)
                assert got.status in statuses, str(got)
            return got
        time.sleep(0.05)
    raise AssertionError("nobody answers")


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
            said = running.communicate(timeout=60)[1]
            assert running.returncode == 0, said
            rounds += 1
    return rounds


def kill_now_and_then(registry: Registry, chance: random.Random, until: threading.Event) -> None:
    while not until.wait(chance.uniform(1.0, 4.0)):
        children = Path(f"/proc/{registry._process.pid}/task/{registry._process.pid}/children").read_text().split()
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(chance.choice(children)), signal.SIGKILL)


def test_nothing_is_lost(registry: Registry) -> None:
    print(f"LADING_STORM_SEED={SEED}")
    pushers = [Pusher(registry.host, name, SEED + number) for number, name in enumerate(NAMES)]
    until, failures, rounds = threading.Event(), [], []

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

    threads = [running(lambda pusher=pusher: push(pusher)) for pusher in pushers]
    threads.append(running(lambda: rounds.append(collect(registry, random.Random(SEED - 1), until))))
    threads.append(running(lambda: kill_now_and_then(registry, random.Random(SEED - 2), until)))
    until.wait(SECONDS)
    until.set()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    print(f"{sum(pusher.acts for pusher in pushers)} acts, {rounds[0]} rounds")
    for pusher in pushers:
        for tag in pusher.tags:
            pusher.check(tag)
    # Now that nobody pushes, what is not needed goes, and all else is where it belongs.
    time.sleep(0.01)
    collector = [lading().executable, "garbage-collect"]
    for _ in range(2):
        subprocess.run([*collector, "--online", "--quiet", str(registry.config)], check=True, timeout=120)
    left = subprocess.run(
        [*collector, "--dry-run", "--json", "--delete-untagged", str(registry.config)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    plan = json.loads(left.stdout)
    kept = {digest for pusher in pushers for package in pusher.tags.values() for digest in package.everything()}
    assert (plan["blobs"], plan["manifests"], plan["marked"]) == ([], [], len(kept))
    for pusher in pushers:
        for tag in pusher.tags:
            pusher.check(tag)
