"""A cache in a bucket, where others cannot read what is still being written."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pullthrough.conftest import NAME
from tests.pullthrough.upstream import Between, Fault
from tests.servers import content
from tests.servers.process import Registry, StartRegistry
from tests.servers.serving import ONE_WORKER, Serving
from tests.servers.versitygw import Gateway, gateway

pytestmark = [pytest.mark.peer, pytest.mark.timeout(90)]

SIZE = 12_000_000
HALF = 9_000_000


@pytest.fixture
def serving() -> Serving:
    return ONE_WORKER


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path / "s3") as made:
        yield made


def test_one_download_for_all_in_a_process(
    start_lading: StartRegistry, upstream: Between, origin: Registry, bucket: Gateway
) -> None:
    data = content.noise("in a bucket", SIZE)
    digest = content.digest_of(data)
    origin.client.push_blob(NAME, digest, data)
    storage = {"filesystem": None, "s3": bucket.parameters(), "redirect": {"disable": True}}
    cache = start_lading(extra={"storage": storage, "proxy": {"remoteurl": f"http://{upstream.host}"}})
    target, gate = f"/v2/{NAME}/blobs/{digest}", threading.Event()
    upstream.fault(digest, Fault(after=HALF, gate=gate))
    with contextlib.ExitStack() as stack:
        answers = []
        for _ in range(2):
            connection = stack.enter_context(contextlib.closing(cache.client.connect()))
            connection.request("GET", target)
            answers.append(stack.enter_context(connection.getresponse()))
            # The second comes when the beginning is no longer in memory.
            assert answers[-1].read(HALF - 100_000) == data[: HALF - 100_000]
        gate.set()
        for answer in answers:
            assert answer.read() == data[HALF - 100_000 :]
    assert upstream.sent[target] == SIZE
    upstream.requests.clear()
    assert cache.client.pull_blob(NAME, digest) == data
