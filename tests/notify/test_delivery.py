"""Events arrive: whatever the receiver does, and whoever is killed."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.notify.receiver import Post, Receiver, receiver, settings
from tests.servers.client import Client
from tests.servers.content import OCI_CONFIG, OCI_IMAGE, Content
from tests.servers.process import Registry, StartRegistry
from tests.servers.serving import Serving

EMPTY = Content(OCI_CONFIG, b"{}")


@pytest.fixture
def serving():
    return Serving("two-workers", workers=2)


def manifest(number: int) -> Content:
    body = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": EMPTY.descriptor(), "layers": []}
    return Content(OCI_IMAGE, json.dumps(body | {"annotations": {"n": str(number)}}).encode())


def push(registry: Registry, numbers: range, repository: str = "r") -> list[str]:
    """Manifests from several clients at once; returns the digests of those that were acknowledged."""
    registry.client.push_blob(repository, EMPTY.digest, EMPTY.data)

    def put(number: int) -> str:
        pushed = manifest(number)
        registry.client.put_manifest(repository, pushed.digest, pushed).expect(201)
        return pushed.digest

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(put, numbers))


def came(receiver: Receiver) -> list[str]:
    return [post.event["target"]["digest"] for post in receiver.posts]


def arrive(receiver: Receiver, digests: list[str]) -> None:
    receiver.wait(lambda: set(digests) <= set(came(receiver)))


def test_a_receiver_that_is_down_gets_all_in_order_when_it_is_back(start_lading):
    with receiver() as there:
        answers = iter([500, 429, 0, 503, 500, 408, 0])
        there.decide = lambda _: next(answers, 200)
        registry = start_lading(extra=settings(there.url, ignoredmediatypes=["application/octet-stream"]))
        pushed = []
        registry.client.push_blob("r", EMPTY.digest, EMPTY.data)
        for number in range(10):
            each = manifest(number)
            registry.client.put_manifest("r", each.digest, each).expect(201)
            pushed.append(each.digest)
        arrive(there, pushed)
        assert came(there) == pushed
        assert there.attempts > len(pushed)


def test_nothing_acknowledged_is_lost_when_everything_is_killed(start_lading: StartRegistry, tmp_path):
    with receiver() as there:
        there.decide = lambda _: 500
        extra, root = settings(there.url), tmp_path / "data"
        first = start_lading(root, extra)
        pushed = push(first, range(40))
        first.kill()

        seen: dict[str, set[str]] = {}
        half = threading.Event()

        def until_half(post: Post) -> int:
            seen.setdefault(post.event["target"]["digest"], set()).add(post.event["id"])
            if len(there.posts) >= 20:
                half.set()
                return 500
            return 200

        there.decide = until_half
        second = start_lading(root, extra)
        assert half.wait(30)
        second.kill()
        there.decide = lambda post: (
            seen.setdefault(post.event["target"]["digest"], set()).add(post.event["id"]) or 200
        )
        start_lading(root, extra)
        arrive(there, pushed)
        assert all(len(seen[digest]) == 1 for digest in pushed), "duplicates have the id of the first"


def test_a_receiver_that_hangs_holds_up_nobody(start_lading):
    free = threading.Event()
    with receiver() as there:
        there.decide = lambda _: 200 if free.wait(30) else 500
        registry = start_lading(extra=settings(there.url, timeout="20s"))
        pushed = push(registry, range(20))
        assert there.posts == []
        free.set()
        arrive(there, pushed)


def test_two_endpoints_wait_for_nobody_but_themselves(start_lading):
    with receiver() as up, receiver() as down:
        down.decide = lambda _: 500
        extra = settings(up.url)
        extra["notifications"]["endpoints"].append({"name": "other", "url": down.url})
        registry = start_lading(extra=extra)
        arrive(up, push(registry, range(3)))
        assert down.posts == []


def test_a_full_journal_gives_up_the_oldest(start_lading):
    with receiver() as there:
        there.decide = lambda _: 500
        extra = settings(there.url, backoff="1h", threshold=1)
        extra["notifications"]["journal"] = {"maxevents": 10}
        registry = start_lading(extra=extra)
        pushed = push(registry, range(30))
        registry.stop()
        kept = [event["target"]["digest"] for event in told(registry, "tail", "-n", "50")]
        assert len(kept) == 10
        assert set(kept) < set(pushed)


def told(registry: Registry, *arguments: str) -> list[dict]:
    return [json.loads(line) for line in commanded(registry, *arguments).splitlines()]


def commanded(registry: Registry, *arguments: str) -> str:
    command = [registry.program.executable, "events", *arguments, "--config", str(registry.config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


def test_what_is_refused_is_parked_and_can_be_sent_again(start_lading):
    poison = manifest(1).digest
    with receiver() as there:
        there.decide = lambda post: 422 if post.event["target"]["digest"] == poison else 200
        registry = start_lading(extra=settings(there.url, threshold=2))
        pushed = push(registry, range(3))
        arrive(there, [digest for digest in pushed if digest != poison])
        attempts = there.attempts
        eventually(lambda: any(each["event"]["target"]["digest"] == poison for each in told(registry, "parked")))
        [parked] = told(registry, "parked")
        assert (parked["endpoint"], parked["reason"]) == ("receiver", "422 Unprocessable Entity")
        assert there.attempts >= attempts
        there.decide = lambda _: 200
        assert commanded(registry, "replay", str(parked["number"])) == "1 event is queued again\n"
        arrive(there, pushed)
        assert told(registry, "parked") == []
        assert [post.event["id"] for post in there.posts].count(parked["event"]["id"]) == 1


def test_operators_see_what_is_sent_and_no_secret(start_lading):
    with receiver() as there:
        answers = iter([500])
        there.decide = lambda _: next(answers, 200)
        extra = settings(there.url, headers={"Authorization": ["Bearer t0ken"]})
        extra["http"] = {"debug": {"addr": "127.0.0.1:0", "prometheus": {"enabled": True}}}
        registry = start_lading(extra=extra)
        registry.client.push_blob("r", EMPTY.digest, EMPTY.data)
        eventually(lambda: "debug server listening" in registry.log.read_text())
        [debug] = re.findall(r"debug server listening (127\.0\.0\.1:\d+)", registry.log.read_text())
        pages = Client(debug)

        def vars_show_it() -> bool:
            page = pages.get("/debug/vars").expect(200)
            assert b"t0ken" not in page.body
            [endpoint] = page.json()["registry"]["notifications"]["endpoints"]
            figures = endpoint["Metrics"]
            return figures == {
                "Pending": 0,
                "Events": 1,
                "Successes": 1,
                "Failures": 1,
                "Errors": 0,
                "Statuses": {"200 OK": 1, "500 Internal Server Error": 1},
            }

        there.wait(lambda: len(there.posts) == 1)
        eventually(vars_show_it)
        text = pages.get("/metrics").body.decode()
        assert 'registry_notifications_events_total{endpoint="receiver",type="Successes"} 1' in text
        assert 'registry_notifications_status_total{code="200 OK",endpoint="receiver"} 1' in text
        assert 'registry_notifications_pending_total{endpoint="receiver"} 0' in text
        assert "t0ken" not in registry.log.read_text()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_signed_cloudevents(start_lading):
    with receiver() as there:
        extra = settings(there.url, secret="s3cret", format="cloudevents", ignore={"actions": ["pull"]})
        registry = start_lading(extra=extra)
        registry.client.push_blob("r", EMPTY.digest, EMPTY.data)
        there.wait(lambda: len(there.posts) == 1)
        [post] = there.posts
        assert post.headers["Content-Type"] == "application/cloudevents+json"
        mark = hmac.new(b"s3cret", post.body, hashlib.sha256).hexdigest()
        assert post.headers["X-Lading-Signature"] == f"sha256={mark}"
        made = json.loads(post.body)
        assert made["specversion"] == "1.0"
        assert made["type"] == "io.lading.registry.push"
        assert made["subject"] == f"r@{EMPTY.digest}"
        assert made["id"] == made["data"]["id"]
        assert "s3cret" not in registry.log.read_text()
