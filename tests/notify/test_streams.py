"""Events in a stream of a real redis: single, with TLS, a cluster, a sentinel's master; away, or full."""

from __future__ import annotations

import contextlib
import json
import signal
from typing import Any

import pytest
from redis.exceptions import MovedError
from tests.notify.test_delivery import EMPTY, eventually, manifest, push
from tests.servers.redis import Servers, wait_for
from tests.servers.serving import Serving

pytestmark = pytest.mark.peer

KEY = "events of lading"


@pytest.fixture
def serving():
    return Serving("two-workers", workers=2)


def settings(servers: Servers, stream: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    endpoint = {"name": "bus", "redis": {"stream": KEY} | (stream or {}), "backoff": "50ms", **more}
    ignoring = {"ignore": {"mediatypes": ["application/octet-stream"]}}
    return {"redis": servers.section, "notifications": {"endpoints": [ignoring | endpoint]}}


def entries(servers: Servers) -> list[dict[str, str]]:
    found: list[tuple[str, dict[str, str]]] = []
    for node in servers.nodes:
        # In a cluster it is in one of them.
        with node.client(servers.section.get("db", 0)) as client, contextlib.suppress(MovedError):
            found += client.xrange(KEY)
    return [fields for _, fields in found]


def digests(servers: Servers) -> list[str]:
    return [json.loads(fields["body"])["events"][0]["target"]["digest"] for fields in entries(servers)]


@pytest.mark.parametrize("kind", ["single", "password", "tls", "unix", "cluster", "sentinel"])
def test_events_arrive(starter, start_lading, kind):
    servers = getattr(starter, kind)()
    registry = start_lading(extra=settings(servers))
    registry.client.push_blob("r", EMPTY.digest, EMPTY.data)
    pushed = []
    for number in range(5):
        each = manifest(number)
        registry.client.put_manifest("r", "latest", each).expect(201)
        pushed.append(each.digest)
    wait_for(lambda: len(entries(servers)) >= 5)
    assert digests(servers) == pushed
    assert entries(servers)[0]["contenttype"] == "application/vnd.docker.distribution.events.v2+json"
    assert "secret" not in registry.log.read_text()


def test_cloudevents_and_the_length_of_a_stream(starter, start_lading):
    servers = starter.single()
    extra = settings(servers, {"maxlen": 100}, format="cloudevents", batch={"events": 3})
    registry = start_lading(extra=extra)
    pushed = push(registry, range(400))

    def last() -> str:
        found = entries(servers)
        return json.loads(found[-1]["body"])["subject"] if found else ""

    eventually(lambda: last() in {f"r@{digest}" for digest in pushed} and len(entries(servers)) < 300)
    [fields, *_] = entries(servers)
    assert fields["contenttype"] == "application/cloudevents+json"
    assert json.loads(fields["body"])["type"] == "io.lading.registry.push"


def test_a_redis_that_goes_away_gets_all_when_it_is_back(starter, start_lading):
    servers = starter.single()
    [server] = servers.nodes
    registry = start_lading(extra=settings(servers, timeout="300ms"))
    first = push(registry, range(5))
    wait_for(lambda: len(entries(servers)) == 5)
    server.signal(signal.SIGSTOP)
    second = push(registry, range(5, 20))
    server.signal(signal.SIGCONT)
    wait_for(lambda: set(first + second) <= set(digests(servers)))
    before = digests(servers)
    server.kill()
    third = push(registry, range(20, 40))
    server.start()
    wait_for(lambda: set(third) <= set(digests(servers)))
    assert set(before) == set(first + second)


def test_a_stream_that_cannot_be_written_parks_nothing(starter, start_lading):
    servers = starter.single()
    with servers.nodes[0].client(servers.section["db"]) as client:
        client.set(KEY, "not a stream")
        registry = start_lading(extra=settings(servers, threshold=2, maxattempts=3))
        pushed = push(registry, range(4))
        eventually(lambda: "does not take events: redis: WRONGTYPE" in registry.log.read_text())
        client.delete(KEY)
        wait_for(lambda: set(pushed) <= set(digests(servers)))
        client.config_set("maxmemory", "1")
        more = push(registry, range(10, 14))
        eventually(lambda: "does not take events: redis: OutOfMemory" in registry.log.read_text())
        client.config_set("maxmemory", "0")
        wait_for(lambda: set(more) <= set(digests(servers)))
    assert len(digests(servers)) == len(set(digests(servers)))
