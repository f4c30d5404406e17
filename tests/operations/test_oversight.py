"""Whole registries, with what watches them."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from tests.operations.watched import STOCK
from tests.servers import content
from tests.servers.peers import executable

from lading.operations.housekeeping import give_way


def test_the_image_s_configuration_starts_and_is_watched(watched):
    watched.client.request("GET", "/v2/").expect(200)
    health = watched.debug.request("GET", "/debug/health").expect(200)
    assert (health.body, health.header("Content-Type")) == (b"{}", "application/json")
    assert watched.debug.request("POST", "/debug/health").expect(404).body == b"404 page not found\n"
    assert watched.debug.request("GET", "/nothing").status == 404
    watched.until(lambda: watched.metrics()["lading_workers{}"], 2)
    values = watched.metrics()
    assert values['lading_health_check_failing{"check": "storagedriver_filesystem"}'] == 0
    assert values["lading_worker_restarts_total{}"] == 0
    assert watched.debug.request("GET", "/metrics").header("Content-Type").startswith("text/plain; version=0.0.4")


def test_figures_are_of_all_workers_and_outlive_them(watched):
    watched.until(lambda: watched.metrics()["lading_workers{}"], 2)
    before = watched.requests()
    for _ in range(40):
        watched.client.request("GET", "/v2/").expect(200)
    watched.until(watched.requests, before + 40)
    for worker in watched.workers():
        os.kill(worker, signal.SIGKILL)
    watched.until(lambda: watched.metrics()["lading_worker_restarts_total{}"], 2)
    watched.until(lambda: watched.metrics()["lading_workers{}"], 2)
    assert watched.requests() == before + 40
    watched.client.request("GET", "/v2/").expect(200)
    watched.until(watched.requests, before + 41)


RETENTION = """\
immutable:
  - {repositories: [team/*], tags: [v*]}
retention:
  enabled: true
  interval: 1s
  rules:
    - {repositories: [team/*], tags: [pr-*], last: 1}
"""


def test_retention_runs_in_the_housekeeping_process_and_is_counted(start):
    watched = start(STOCK + RETENTION)
    image = content.image("one")
    for tag in ("v1", "pr-1", "pr-2", "pr-3"):
        watched.client.push("team/app", tag, image)
    watched.client.push("other/app", "pr-1", image)
    watched.until(lambda: watched.client.tags("team/app"), ["pr-3", "v1"])
    watched.until(lambda: watched.metrics()["lading_retention_deleted_tags_total{}"], 2)
    watched.until(lambda: watched.metrics()["lading_retention_kept_tags{}"], 2)
    assert watched.metrics()["lading_retention_timestamp_seconds{}"] == pytest.approx(time.time(), abs=60)
    assert watched.client.tags("other/app") == ["pr-1"]
    told = watched.log.read_text()
    assert told.count("retention: deleting tag pr-") == told.count("audit: retention") == 2


def test_collection_has_a_process_of_its_own_that_waits_for_others_and_is_counted(start):
    maintenance = {"garbagecollection": {"enabled": True, "interval": "100ms", "grace": "1ms"}}
    watched = start(STOCK, REGISTRY_STORAGE_MAINTENANCE=json.dumps(maintenance))
    blob = content.image("one").blobs[0]
    watched.client.push_blob("team/app", blob.digest, blob.data)
    put_away = [len(blob.data), 1]
    names = ("lading_garbage_put_away_bytes_total{}", "lading_garbage_put_away_total{}")
    watched.until(lambda: [watched.metrics()[name] for name in names], put_away)
    assert watched.metrics()["lading_workers{}"] == 2
    parent = watched.process.pid
    children = map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    policies = [os.sched_getscheduler(child) for child in children]
    assert sorted(policies) == [os.sched_getscheduler(0)] * 3 + [os.SCHED_IDLE]


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EINVAL, errno.ENOSYS])
def test_where_a_sandbox_refuses_to_wait_for_others_collection_is_nice(monkeypatch, refusal):
    def refuse(*_: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    nice: list[int] = []
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "nice", nice.append)
    give_way()
    assert nice == [19]


def test_a_worker_that_is_stopped_does_not_stop_the_scrape(watched):
    watched.until(lambda: watched.metrics()["lading_workers{}"], 2)
    watched.client.request("GET", "/v2/").expect(200)
    counted = watched.requests()
    [first, _] = watched.workers()
    os.kill(first, signal.SIGSTOP)
    try:
        watched.until(lambda: watched.metrics()["lading_workers_silent{}"], 1)
        assert watched.requests() == counted
    finally:
        os.kill(first, signal.SIGCONT)
    watched.until(lambda: watched.metrics()["lading_workers_silent{}"], 0)


def test_variables(watched):
    answer = watched.debug.request("GET", "/debug/vars").expect(200)
    assert answer.header("Content-Type") == "application/json; charset=utf-8"
    variables = answer.json()
    assert {"cmdline", "memstats", "registry"} <= variables.keys()
    assert variables["cmdline"][-1] == "2"
    nothing = {"Requests": 0, "Hits": 0, "Misses": 0, "BytesPulled": 0, "BytesPushed": 0}
    assert variables["registry"] == {
        "notifications": {"endpoints": None},
        "proxy": {"blobs": nothing, "manifests": nothing},
    }
    assert variables["lading"]["configuration"]["http"]["secret"] == "***"
    assert variables["lading"]["configuration"]["storage"]["cache"]["blobdescriptor"] == "inmemory"
    assert variables["lading"]["configuration"]["http"]["headers"] == {"X-Content-Type-Options": ["nosniff"]}


def test_the_debug_listener_is_named(watched):
    named = re.compile(r"debug server listening (127\.0\.0\.1:\d+)\D")
    watched.until(lambda: named.findall(watched.log.read_text()), [watched.debug.host])
    watched.debug.request("GET", "/debug/health").expect(200)


def test_what_the_caches_are_asked_for_is_counted(watched):
    watched.until(lambda: watched.metrics()["lading_workers{}"], 2)
    before = watched.metrics()["registry_storage_cache_requests_total{}"]
    watched.client.request("GET", f"/v2/a/blobs/sha256:{'0' * 64}").expect(404)
    watched.until(lambda: watched.metrics()["registry_storage_cache_requests_total{}"], before + 1)


def test_introspection(watched):
    watched.until(lambda: watched.metrics()["lading_workers{}"], 2)
    stacks = watched.debug.request("GET", "/debug/stacks").expect(200).body.decode()
    assert stacks.count('thread "agent"') == 2
    assert stacks.count("Server._sweep") == 3
    memory = watched.debug.request("GET", "/debug/memory").json()
    assert len(memory) == 4
    assert all(process["rss"] >= process["pss"] > 1_000_000 for process in memory)
    profile = watched.debug.request("GET", "/debug/profile?seconds=1").expect(200).body.decode()
    stack, _, count = profile.splitlines()[0].rpartition(" ")
    assert stack.startswith("process ")
    assert int(count) > 0
    for seconds in ["0", "61", "x", "1.5"]:
        watched.debug.request("GET", f"/debug/profile?seconds={seconds}").expect(400)
    pages = watched.debug.request("GET", "/debug/").body.decode().split()
    assert "/debug/profile" in pages
    for page in set(pages) - {"/debug/profile", "/debug/health"}:
        watched.debug.request("HEAD", page).expect(200)


CHECKED = f"""{STOCK}
  file: [{{{{file: "{{file}}", interval: 20ms}}}}]
  tcp: [{{{{addr: "{{tcp}}", interval: 20ms}}}}]
"""


@pytest.mark.parametrize("server", ["builtin", "granian"])
def test_an_unhealthy_registry_answers_503_and_recovers(start, tmp_path, server):
    with socket.create_server(("127.0.0.1", 0)) as downstream:
        tcp = f"127.0.0.1:{downstream.getsockname()[1]}"
        drain = tmp_path / "drain"
        text = CHECKED.format(file=drain, tcp=tcp)
        watched = start(
            text if server == "builtin" else text.replace("http:\n", "http:\n  h2c: {enabled: true}\n")
        )
        watched.until(lambda: watched.metrics()["lading_workers{}"], 2)
        drain.touch()
        watched.until(lambda: watched.status(watched.debug, "/debug/health"), 503)
        assert watched.debug.request("GET", "/debug/health").json() == {str(drain): "file exists"}
        for path in ["/v2/", "/", "/anything"]:
            watched.until(lambda path=path: watched.status(watched.client, path), 503)
        for _ in range(8):
            answer = watched.client.request("GET", "/v2/").expect(503)
        assert answer.header("Docker-Distribution-Api-Version") == "registry/2.0"
        assert answer.header("Content-Type") == "application/json"
        assert answer.body == (
            b'{"errors":[{"code":"UNAVAILABLE","message":"service unavailable",'
            b'"detail":"health check failed: please see /debug/health"}]}\n'
        )
        drain.unlink()
        watched.until(lambda: watched.status(watched.debug, "/debug/health"), 200)
        watched.until(lambda: [watched.status(watched.client, "/v2/") for _ in range(8)], [200] * 8)
    watched.until(lambda: watched.status(watched.client, "/v2/"), 503)
    failing = watched.debug.request("GET", "/debug/health").json()
    assert failing[tcp].startswith(f"{tcp}: connection failed: ")
    log = watched.log.read_text()
    assert log.count("fails: file exists") == 1
    assert log.count("passes again") == 1


def test_a_debug_listener_without_health_checks(start):
    text = STOCK.partition("health:\n")[0] + "health: {storagedriver: {enabled: false}}\n"
    watched = start(text)
    watched.until(lambda: watched.metrics()["lading_workers{}"], 2)
    assert watched.debug.request("GET", "/debug/health").expect(200).body == b"{}"
    assert "ended unexpectedly" not in watched.log.read_text()


def test_a_port_that_is_taken_is_said_at_the_start(start, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AssertionError, match=f"http.debug.addr: cannot listen on {address}: Address already"):
            start(REGISTRY_HTTP_DEBUG_ADDR=address)


@pytest.mark.peer
def test_names_and_labels_are_those_of_distribution(start, watched):
    original = start(program=executable("registry"))
    found = []
    for registry in [watched, original]:
        client = registry.client
        for target in ["/v2/", "/v2/a/b/manifests/x", "/v2/_catalog", "/v2/a/b/tags/list", "/v2/none"]:
            client.request("GET", target)
        location = client.request("POST", "/v2/a/b/blobs/uploads/").expect(202).location
        digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        kind = {"Content-Type": "application/octet-stream"}
        client.request("PUT", f"{location}&digest={digest}", kind, b"hello").expect(201)
        client.request("GET", f"/v2/a/b/blobs/{digest}").expect(200)
        client.request("POST", "/v2/a/b/tags/list").expect(405)
        found.append({_normal(key) for key in registry.metrics() if key.startswith("registry_")})
    ours, theirs = found
    # How often and by which calls the storage is used is each one's own.
    storage = "registry_storage_action_seconds"
    assert {key for key in theirs - ours if not key.startswith(storage)} == set()
    more = {key for key in ours - theirs if not key.startswith(storage)}
    assert more == {
        f'registry_http_in_flight_requests{{"handler": "{name}"}}' for name in ("referrers", "repository")
    }
    keys = {
        tuple(sorted(json.loads(key.removeprefix(f"{storage}_sum")))) for key in ours if f"{storage}_sum" in key
    }
    assert keys == {("action", "driver")}
    theirs_vars, ours_vars = (r.debug.request("GET", "/debug/vars").json() for r in [original, watched])
    assert ours_vars["registry"] == theirs_vars["registry"]
    assert theirs_vars.keys() <= ours_vars.keys()


def _normal(key: str) -> str:
    """Bounds of buckets are written differently."""
    name, brace, labels = key.partition("{")
    parsed: dict[str, Any] = json.loads(brace + labels)
    if "le" in parsed:
        parsed["le"] = str(float(parsed["le"]))
    return name + json.dumps(parsed, sort_keys=True)
