"""Events as bytes: whatever was pushed, they can be written and read again."""

from __future__ import annotations

import json
import re
import time
import uuid

import orjson
import pytest

from lading.notify import envelope
from lading.registry.events import Event, Occasion

OCCASION = Occasion("id", "192.0.2.1:1", "h", "PUT", "agent", "")
NOW = 1_800_000_000_123_456_780


def stored(content: bytes = b"", **more: str) -> bytes:
    event = Event("push", "r", "sha256:a", "m", len(content), content=content, **more)  # type: ignore[arg-type]
    return envelope.stored(envelope.document(event, OCCASION, {"addr": "x:1"}, NOW))


def references(content: bytes) -> list[dict]:
    return json.loads(stored(content))["target"].get("references", [])


@pytest.mark.parametrize(
    ("content", "annotation"),
    [
        (rb'{"config": {"annotations": {"a": "\ud800"}}, "layers": []}', "\ufffd"),
        (rb'{"config": {"annotations": {"a": "x\udc00y"}}, "layers": []}', "x\ufffdy"),
        (b'{"config": {"annotations": {"a": 1180591620717411303424}}, "layers": []}', 2.0**70),
        (b'{"config": {"annotations": {"a": NaN}}, "layers": []}', None),
    ],
)
@pytest.mark.parametrize("cloudevents", [False, True])
def test_what_cannot_be_written_as_it_is(content, annotation, cloudevents):
    assert references(content)[0]["annotations"] == {"a": annotation}
    made = envelope.message([stored(content)], cloudevents=cloudevents, batch=False)
    assert orjson.loads(made.body)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"1", b'{"layers": []}', b'{"manifests": 1}', b'{"manifests": [1]}', b'{"config": 1}'],
)
def test_manifests_that_are_none(content):
    assert references(content) == []


def test_ids_sort_by_time():
    number = uuid.UUID(json.loads(stored())["id"])
    assert (number.version, number.variant) == (7, uuid.RFC_4122)
    assert number.int >> 80 == NOW // 1_000_000


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", "2027-01-15T08:00:00.12345678Z"),
        ("Asia/Kolkata", "2027-01-15T13:30:00.12345678+05:30"),
        ("America/St_Johns", "2027-01-15T04:30:00.12345678-03:30"),
    ],
)
def test_timestamps(monkeypatch, zone, expected):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert envelope.timestamp(NOW) == expected
        assert re.fullmatch(r"[^.]*", envelope.timestamp(NOW // 10**9 * 10**9))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_many_in_one_envelope():
    events = [stored(tag=tag) for tag in ("a", "b<&>")]
    made = envelope.message(events, cloudevents=False, batch=True)
    assert [event["target"]["tag"] for event in json.loads(made.body)["events"]] == ["a", "b<&>"]
    assert made.body.startswith(b'{\n   "events": [\n      {\n         "id": ')
    assert rb"b\u003c\u0026\u003e" in made.body


def test_a_manifest_that_is_too_deep_to_read_has_no_references():
    assert json.loads(stored(content=b"[" * 200_000))["target"].get("references") is None
