"""The files in `examples`: what they mean, and what of it this version has not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lading.compose import maintenance, retention
from lading.compose.check import Verdict, check
from lading.config.load import load
from lading.config.models.configuration import Configuration

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ["cache", "dev", "example", "frostfs", "htpasswd", "retention"]

REFUSED = {
    "cache": [],
    "dev": [],
    "example": [],
    "frostfs": ["storage.frostfs.wallet.path"],
    "htpasswd": [],
    "retention": [],
}
"""The keys for which this version does not start. One goes when its feature comes."""


def example(name: str) -> Configuration:
    return load(str(EXAMPLES / f"config-{name}.yml"), {}).configuration


def checked(name: str) -> Verdict:
    return check(str(EXAMPLES / f"config-{name}.yml"), {})


def test_there_are_no_others():
    assert sorted(path.name for path in EXAMPLES.iterdir()) == [f"config-{name}.yml" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_what_all_have(name):
    c = example(name)
    assert c.http.addr == ":5000"
    assert c.http.headers == {"X-Content-Type-Options": ["nosniff"]}
    assert c.log.fields["service"] == "registry"
    check = c.health.storagedriver
    assert (check.enabled, check.interval, check.threshold) == (True, 10, 3)
    assert checked(name).warnings == []


def test_dev():
    c = example("dev")
    assert (c.log.level, c.storage.driver) == ("debug", "filesystem")
    assert c.storage.parameters == {"rootdirectory": "/var/lib/registry"}
    assert (c.storage.delete.enabled, c.storage.tag.concurrencylimit) == (True, 8)
    assert (c.storage.cache.blobdescriptor, c.storage.maintenance.uploadpurging.enabled) == ("inmemory", False)
    assert (c.http.debug.addr, c.http.debug.prometheus.enabled) == (":5001", True)


def test_example():
    c = example("example")
    assert (c.log.level, c.storage.delete.enabled, c.auth.type) == ("info", False, "none")
    assert (c.storage.cache.blobdescriptor, c.storage.maintenance.uploadpurging.enabled) == ("inmemory", True)


def test_htpasswd():
    auth = example("htpasswd").auth
    assert (auth.type, auth.parameters) == ("htpasswd", {"realm": "basic-realm", "path": "/etc/registry"})


def test_retention():
    made = retention.scheduled(example("retention"))
    assert made is not None
    name = "team/group/app"
    assert made.interval == 86400
    assert [(made.covers(each), made.asks_for_pulls(each)) for each in (name, "tools/a", "other")] == [
        (True, False),
        (True, True),
        (False, False),
    ]
    assert [made.immutability.has(name, tag) for tag in ("v1", "latest")] == [True, False]
    assert [(rule.last, rule.pushed_within, rule.pulled_within, rule.keeps_all) for rule in made.rules] == [
        (0, 0, 0, True),
        (10, 168 * 3600, 0, False),
        (0, 0, 720 * 3600, False),
    ]
    collects = maintenance.collecting(example("retention"))
    assert collects is not None
    assert collects.delete_untagged


def test_cache():
    c = example("cache")
    assert c.storage.parameters == {"rootdirectory": "/var/lib/registry-cache"}
    assert (c.storage.cache.blobdescriptor, c.redis.addrs, c.redis.poolsize) == ("redis", ["localhost:6379"], 64)
    assert (c.redis.dialtimeout, c.redis.connmaxidletime, c.redis.maxidleconns) == (0.01, 300, 16)
    assert all(endpoint.disabled for endpoint in c.notifications.endpoints)
    assert [endpoint.threshold for endpoint in c.notifications.endpoints] == [10, 10]
    assert (c.proxy.remoteurl, c.proxy.ttl) == ("https://upstream.example.com", 168 * 3600)


def test_frostfs():
    c = example("frostfs")
    assert (c.storage.driver, c.storage.parameters["container"]) == ("frostfs", "registry")
    assert c.storage.parameters["peers"] == {"0": {"address": "grpc://localhost:8080", "weight": 1, "priority": 1}}
    assert c.storage.parameters["wallet"]["path"] == "/etc/registry/wallet.json"


@pytest.mark.parametrize("name", NAMES)
def test_each_line_names_what_is_missing_and_its_place(name):
    found = [line.split(": ")[:2] for line in checked(name).problems]
    assert sorted(key for _, key in found) == sorted(REFUSED[name])
    for place, _ in found:
        path, line, column = place.rsplit(":", 2)
        assert path == str(EXAMPLES / f"config-{name}.yml")
        assert int(line) > 1
        assert int(column) > 1 or int(line) > 1
