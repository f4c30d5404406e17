"""Events arrive: whatever the receiver does, and whoever is killed."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.notify.receiver import Post, Receiver, receiver, settings
from tests.servers.content import OCI_CONFIG, OCI_IMAGE, Content
from tests.servers.process import Registry, RegistryProcessError, StartRegistry
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
    return [event["target"]["digest"] for event in receiver.together]


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


def eventually(holds: Callable[[], bool]) -> None:
    """An endpoint that has failed for long is left alone for up to a minute."""
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_events_are_sent_together_and_poison_is_found(start_lading):
    poison = manifest(7).digest
    with receiver() as there:
        closed = threading.Event()
        there.decide = lambda post: (422 if poison in post.body.decode() else 200) if closed.is_set() else 500
        extra = settings(
            there.url, batch={"events": 10}, ignoredmediatypes=["application/octet-stream"], threshold=2
        )
        registry = start_lading(extra=extra)
        pushed = push(registry, range(35))
        closed.set()
        wanted = set(pushed) - {poison}
        there.wait(lambda: wanted <= {event["target"]["digest"] for event in there.together})
        numbers = [len(json.loads(post.body)["events"]) for post in there.posts]
        assert max(numbers) == 10
        assert sum(numbers) == 34
        eventually(lambda: "an event is parked" in registry.log.read_text())


def test_cloudevents_together(start_lading):
    with receiver() as there:
        extra = settings(there.url, format="cloudevents", batch={"events": 10, "linger": "1s"})
        registry = start_lading(extra=extra)
        for number in range(3):
            registry.client.push_blob("r", Content(OCI_CONFIG, b"%d" % number).digest, b"%d" % number)
        there.wait(lambda: len(there.posts) == 1)
        [post] = there.posts
        assert post.headers["Content-Type"] == "application/cloudevents-batch+json"
        assert [made["type"] for made in json.loads(post.body)] == ["io.lading.registry.push"] * 3


def test_what_is_ignored_or_disabled_is_not_sent(start_lading):
    with receiver() as there, receiver() as disabled:
        extra = settings(
            there.url, ignore={"actions": ["pull", "delete"], "mediatypes": ["application/octet-stream"]}
        )
        extra["notifications"]["endpoints"].append({"name": "off", "url": disabled.url, "disabled": True})
        registry = start_lading(extra=extra)
        [first] = push(registry, range(1))
        registry.client.get(f"/v2/r/manifests/{first}").expect(200)
        registry.client.request("DELETE", f"/v2/r/manifests/{first}").expect(202)
        [second] = push(registry, range(1, 2))
        arrive(there, [second])
        assert [(event["action"], event["target"]["digest"]) for event in there.together] == [
            ("push", first),
            ("push", second),
        ]
        assert disabled.attempts == 0
        assert "endpoint off disabled, skipping" in registry.log.read_text()


def test_an_endpoint_by_another_name_is_another_one(start_lading, tmp_path):
    root = tmp_path / "data"
    with receiver() as there:
        there.decide = lambda _: 500
        first = start_lading(root, settings(there.url, backoff="1h", threshold=1))
        pushed = push(first, range(5))
        first.stop()
        there.decide = lambda _: 200
        renamed = settings(there.url)
        renamed["notifications"]["endpoints"][0]["name"] = "another"
        second = start_lading(root, renamed)
        [later] = push(second, range(5, 6))
        arrive(there, [later])
        assert not set(pushed) & set(came(there))
        lost = "endpoint receiver is not configured any more: 6 events that waited for it are given up"
        assert lost in second.log.read_text()


def test_one_journal_is_for_one_registry(start_lading, tmp_path):
    root = tmp_path / "data"
    extra = settings("http://127.0.0.1:1/")
    start_lading(root, extra)
    with pytest.raises(RegistryProcessError, match="notifications: another registry keeps its events there"):
        start_lading(root, extra)


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
