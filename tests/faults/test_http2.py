"""Clients of HTTP/2 that behave badly: what they may take, and that others are served meanwhile."""

from __future__ import annotations

import pytest
from tests.faults.node import MIB, StartNode, eventually
from tests.servers import content
from tests.servers.certificate import certificate
from tests.servers.http2 import Http2
from tests.servers.serving import HTTP2_IN_CLEAR, HTTP2_OVER_TLS, Serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

over = pytest.mark.parametrize("serving", [HTTP2_IN_CLEAR, HTTP2_OVER_TLS], ids=lambda serving: serving.name)
REPOSITORY = "team/app"
STREAMS = 100
READER_BYTES = 10 * MIB
"""More than an answer may be ahead of its client."""


@over
def test_heads_are_limited(start_node: StartNode, serving: Serving) -> None:
    node = start_node(serving=serving)
    with Http2(node.host, certificate() if serving.tls else None) as client:
        headers = [(f"x-{number}", "v" * 1000) for number in range(100)]
        with pytest.raises(ConnectionResetError):
            client.request("GET", "/v2/", node.host, headers)
    with Http2(node.host, certificate() if serving.tls else None) as client:
        assert client.request("GET", "/v2/", node.host)[0] == 200


@over
def test_streams_that_stall(start_node: StartNode, serving: Serving) -> None:
    """Readers that open no window and writers that send nothing: all others are served, and all is put away."""
    node = start_node(serving=serving)
    data = content.noise("large", 8 * MIB)
    digest = content.digest_of(data)
    node.client.push_blob(REPOSITORY, digest, data)
    eventually(lambda: len(node.worker_ids()) == serving.workers, "all workers are there")
    for _ in range(8):  # until each worker has served, and has its threads
        node.client.pull_blob(REPOSITORY, digest)
    descriptors, memory = node.descriptors(), sum(node.memory().values())
    location = node.client.start_upload(REPOSITORY).location
    with Http2(node.host, certificate() if serving.tls else None) as client:
        for _ in range(STREAMS // 2):
            client.open("GET", f"/v2/{REPOSITORY}/blobs/{digest}", node.host, [("range", "bytes=1-")], end=True)
            client.open("PATCH", location, node.host, [("content-length", "1000")], end=False)
        client.socket.settimeout(10)
        client.events()
        for _ in range(8):
            assert node.client.pull_blob(REPOSITORY, digest) == data
        taken = sum(node.memory().values()) - memory
        print(f"{taken / MIB:.1f} MiB for {STREAMS} stalled streams")
        assert taken < STREAMS // 2 * READER_BYTES
    eventually(lambda: sum(node.descriptors().values()) <= sum(descriptors.values()) + 4, "all is put away")
