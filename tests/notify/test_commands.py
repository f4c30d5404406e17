"""`lading events`, with a registry that runs and with one that has stopped; and what else operators look at."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
from tests.notify.receiver import receiver, settings
from tests.notify.test_delivery import EMPTY, arrive, eventually, manifest, push
from tests.servers.process import Registry
from tests.servers.serving import Serving


@pytest.fixture
def serving():
    return Serving("two-workers", workers=2)


def told(registry: Registry, *arguments: str) -> list[dict]:
    return [json.loads(line) for line in commanded(registry, *arguments).splitlines()]


def commanded(registry: Registry, *arguments: str) -> str:
    return run(registry, *arguments).stdout


def run(registry: Registry, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(registry, *arguments), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def command(registry: Registry, *arguments: str) -> list[str]:
    return [registry.program.executable, "events", *arguments, "--config", str(registry.config)]


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


def test_what_is_parked_can_be_sent_again_when_the_registry_has_stopped(start_lading, tmp_path):
    root = tmp_path / "data"
    with receiver() as there:
        there.decide = lambda post: 422 if post.event["action"] == "push" else 200
        extra = settings(there.url, threshold=1)
        first = start_lading(root, extra)
        pushed = push(first, range(3))
        eventually(lambda: len(told(first, "parked")) == 4)
        first.stop()
        parked = told(first, "parked")
        assert run(first, "replay", "77", "1", status=1).stderr == "not parked: 77\n"
        assert run(first, "discard", "78", status=1).stderr == "not parked: 78\n"
        assert len(told(first, "parked")) == 4
        [blob] = [each["number"] for each in parked if each["event"]["target"]["digest"] == EMPTY.digest]
        assert commanded(first, "discard", str(blob)) == "1 event is forgotten\n"
        assert len(told(first, "tail", "-n", "9" * 30)) == 4
        [some] = [each["number"] for each in parked if each["event"]["target"]["digest"] == pushed[0]]
        assert commanded(first, "replay", str(some), str(some)) == "1 event is queued again\n"
        assert commanded(first, "replay") == "2 events are queued again\n"
        assert commanded(first, "replay") == "0 events are queued again\n"
        there.decide = lambda _: 200
        start_lading(root, extra)
        arrive(there, pushed)
        assert EMPTY.digest not in [post.event["target"]["digest"] for post in there.posts]


def test_what_is_parked_for_an_endpoint_that_is_gone_stays(start_lading, tmp_path):
    root = tmp_path / "data"
    with receiver() as there:
        there.decide = lambda _: 400
        registry = start_lading(root, settings(there.url, threshold=1))
        push(registry, range(1))
        eventually(lambda: len(told(registry, "parked")) == 2)
        registry.stop()
        renamed = settings(there.url)
        renamed["notifications"]["endpoints"][0]["name"] = "another"
        other = start_lading(root, renamed)
        assert run(other, "replay", status=1).stderr == "no endpoint has this name any more: receiver\n"
        assert len(told(other, "parked")) == 2


def test_tail_follows_a_live_journal(start_lading):
    with receiver() as there:
        registry = start_lading(extra=settings(there.url, ignoredmediatypes=["application/octet-stream"]))
        before = push(registry, range(4))
        assert {event["target"]["digest"] for event in told(registry, "tail")} == set(before)
        assert len(told(registry, "tail", "-n", "2")) == 2
        assert told(registry, "tail", "-n", "0") == []
        following = command(registry, "tail", "-f", "-n", "1")
        with subprocess.Popen(following, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
            assert tail.stdout is not None
            assert tail.stderr is not None
            assert json.loads(tail.stdout.readline())["target"]["digest"] in before
            for number in range(4, 8):
                [pushed] = push(registry, range(number, number + 1))
                assert json.loads(tail.stdout.readline())["target"]["digest"] == pushed
            tail.send_signal(signal.SIGINT)
            assert tail.stderr.read() == ""
            assert tail.wait(10) == 0
        registry.stop()
        assert len(told(registry, "tail")) == 8


def test_there_is_no_journal(start_lading, tmp_path):
    registry = start_lading()
    stderr = run(registry, "tail", status=1).stderr
    assert stderr == f"{registry.root}/lading/notifications: there is no journal of notifications\n"


@pytest.mark.parametrize(
    ("path", "mode", "complaint"),
    [
        ("", 0o000, "the journal of notifications cannot be read: Permission denied"),
        ("events.sqlite3", 0o444, "the journal belongs to another user: run this as the registry's"),
    ],
)
def test_another_user_is_told_so_and_leaves_nothing(start_lading, path, mode, complaint):
    with receiver() as there:
        registry = start_lading(extra=settings(there.url))
        registry.stop()
        directory = registry.root / "lading/notifications"
        before = sorted(directory.iterdir())
        (directory / path).chmod(mode)
        less = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
        asked = [*less, *command(registry, "tail")]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
        (directory / path).chmod(0o700)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{directory}: {complaint}\n")
        assert sorted(directory.iterdir()) == before


@pytest.mark.parametrize("metrics", [True, False])
def test_operators_see_what_is_sent_and_no_secret(start_lading, metrics):
    with receiver() as there:
        answers = iter([500])
        there.decide = lambda _: next(answers, 200)
        extra = settings(there.url, headers={"Authorization": ["Bearer t0ken"]})
        extra["http"] = {"debug": {"addr": "127.0.0.1:0", "prometheus": {"enabled": metrics}}}
        registry = start_lading(extra=extra)
        registry.client.push_blob("r", EMPTY.digest, EMPTY.data)
        pages = registry.debug()

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
        assert "t0ken" not in registry.log.read_text()
        if not metrics:
            return
        text = pages.get("/metrics").body.decode()
        assert 'registry_notifications_events_total{endpoint="receiver",type="Successes"} 1' in text
        assert 'registry_notifications_status_total{code="200 OK",endpoint="receiver"} 1' in text
        assert 'registry_notifications_pending_total{endpoint="receiver"} 0' in text
        assert 'lading_notifications_parked{endpoint="receiver"} 0' in text


def test_operators_see_what_waits_while_it_waits(start_lading):
    with receiver() as there:
        there.decide = lambda _: 500
        extra = settings(there.url, backoff="100ms", threshold=1, ignoredmediatypes=["application/octet-stream"])
        extra["http"] = {"debug": {"addr": "127.0.0.1:0"}}
        registry = start_lading(extra=extra)
        push(registry, range(12))
        debug = registry.debug()

        def metrics() -> dict[str, int]:
            [endpoint] = debug.get("/debug/vars").json()["registry"]["notifications"]["endpoints"]
            return dict(endpoint["Metrics"])

        eventually(lambda: (metrics()["Pending"], metrics()["Events"]) == (12, 12))
        there.decide = lambda _: 200
        eventually(lambda: (metrics()["Pending"], metrics()["Successes"]) == (0, 12))


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
