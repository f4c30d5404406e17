"""The store fails at each request in turn: clients see a retry or a clean error, never other content."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers import content
from tests.servers.client import Client
from tests.servers.faultproxy import Fault, FaultProxy, faultproxy
from tests.servers.process import StartRegistry
from tests.servers.versitygw import BUCKET, Gateway, gateway

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(240)]

REPOSITORY = "team/app"
DATA = content.noise("blob", 6 * 1024 * 1024)
DIGEST = content.digest_of(DATA)
FOREVER = 1_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path / "store") as running:
        yield running


@pytest.fixture
def proxy(store: Gateway) -> Iterator[FaultProxy]:
    with faultproxy(store.host) as running:
        yield running


def through(proxy: FaultProxy, store: Gateway) -> dict[str, Any]:
    parameters = store.parameters(proxy.host, chunksize=5 * 1024 * 1024)
    quiet = {"storagedriver": {"enabled": False}}
    storage = {"filesystem": None, "s3": parameters, "delete": {"enabled": True}, "redirect": {"disable": True}}
    return {"storage": storage, "health": quiet}


def push(client: Client, repository: str) -> list[int]:
    """The statuses up to the first that is none of success."""
    answer = client.start_upload(repository)
    statuses = [answer.status]
    if answer.status == 202:
        answer = client.patch(answer.location, DATA)
        statuses.append(answer.status)
    if statuses == [202, 202]:
        statuses.append(client.finish_upload(answer.location, DIGEST).status)
    return statuses


@pytest.mark.parametrize("fault", ["503", "500", "reset", "cut"])
def test_one_fault_at_each_request(
    fault: Fault, proxy: FaultProxy, store: Gateway, start_lading: StartRegistry
) -> None:
    client = start_lading(extra=through(proxy, store)).client
    proxy.reset()
    assert push(client, REPOSITORY) == [202, 202, 201]
    for number in range(len(proxy.requests)):
        proxy.reset(fault, number)
        repository = f"{fault}/{number}"
        statuses = push(client, repository)
        assert set(statuses) <= {202, 201, 503}, f"request {number}: {statuses}"
        proxy.reset()
        if statuses[-1] == 201:
            assert client.pull_blob(repository, DIGEST) == DATA
    proxy.reset()
    assert client.pull_blob(REPOSITORY, DIGEST) == DATA
    for number in range(len(proxy.requests)):
        proxy.reset(fault, number)
        assert pulled(client) in (None, DATA), f"request {number}"


def test_a_store_that_is_down(proxy: FaultProxy, store: Gateway, start_lading: StartRegistry) -> None:
    client = start_lading(extra=through(proxy, store)).client
    assert push(client, REPOSITORY) == [202, 202, 201]
    proxy.reset("503", 0, FOREVER)
    for method, path in [("GET", f"blobs/{DIGEST}"), ("HEAD", f"blobs/{DIGEST}"), ("POST", "blobs/uploads/")]:
        client.request(method, f"/v2/{REPOSITORY}/{path}").expect(503)
    proxy.reset()
    assert client.pull_blob(REPOSITORY, DIGEST) == DATA
    left = [path for path in (store.folder / BUCKET).rglob("*") if path.is_file() and "_uploads" in str(path)]
    assert left == []


def test_requests_compared_with_the_original(
    proxy: FaultProxy, store: Gateway, start_lading: StartRegistry, start_distribution: StartRegistry
) -> None:
    """For the push of an image and its pull."""
    counted: dict[str, tuple[int, int]] = {}
    for start in (start_distribution, start_lading):
        node = start(extra=through(proxy, store))
        repository = node.program.name
        package = content.image(f"counted {repository}")
        proxy.reset()
        node.client.push(repository, "1.0", package)
        pushed = len(proxy.requests)
        assert node.client.pull(repository, "1.0") == package.everything()
        counted[repository] = (pushed, len(proxy.requests) - pushed)
        print(repository, counted[repository], *proxy.requests, sep="\n")
    print(f"requests to the store for a push and a pull: {counted}")
    (pushed, pulled_), (push_of_original, pull_of_original) = counted["lading"], counted["distribution"]
    assert pulled_ <= pull_of_original / 2
    assert pushed <= push_of_original * 0.82


def pulled(client: Client) -> bytes | None:
    """None for an error that the client notices."""
    try:
        answer = client.get(f"/v2/{REPOSITORY}/blobs/{DIGEST}")
    except (http.client.IncompleteRead, OSError):
        return None
    assert answer.status in (200, 503), str(answer)[:500]
    return answer.body if answer.status == 200 else None


def test_a_deletion_is_noticed_by_all_processes_at_once(store: Gateway, start_lading: StartRegistry) -> None:
    """Also where a cache is asked for, with which they believe what they saw a moment ago."""
    storage = {
        "filesystem": None,
        "s3": store.parameters(store.host),
        "delete": {"enabled": True},
        "redirect": {"disable": True},
        "cache": {"blobdescriptor": "inmemory"},
    }
    node = start_lading(extra={"storage": storage})
    package = content.image("to be deleted")
    node.client.push(REPOSITORY, "1.0", package)
    named = f"/v2/{REPOSITORY}/manifests/{package.manifest.digest}"

    def answered(path: str) -> set[int]:
        """By all processes: each connection is given to one by chance."""
        return {Client(node.client.host).get(path).status for _ in range(32)}

    layer = f"/v2/{REPOSITORY}/blobs/{package.blobs[0].digest}"
    assert answered(named) == answered(layer) == {200}
    for path in (named, layer):
        node.client.request("DELETE", path).expect(202)
        assert answered(path) == {404}
