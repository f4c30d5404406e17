"""`docs/configuration.md` says what the models say."""

from __future__ import annotations

import re

import pytest
from tests.docs.generator import load

from lading.config.texts import TEXTS

generate = load()

PAGE = generate.PAGE.read_text("utf-8")
KEYS = {key.path: key for key in generate.all_keys()}


def test_tables_are_those_the_models_give() -> None:
    assert generate.render(PAGE) == PAGE, "the models have changed: run python docs/generate.py"


def test_every_key_is_documented_and_no_other() -> None:
    assert sorted(KEYS) == sorted(TEXTS)
    assert set(re.findall(r"(?m)^\| `([^`]+)` \|(?:.*\|){6}$", PAGE)) == set(KEYS)


@pytest.mark.parametrize("data", ["ALLOWED", "PROBES", "NO_EFFECT", "BETTER"])
def test_what_is_known_of_keys_is_of_keys_there_are(data: str) -> None:
    assert set(getattr(generate, data)) <= set(KEYS)


def test_what_is_known_of_features_is_of_keys_there_are() -> None:
    assert set(generate.INTRODUCTIONS) <= {path.partition(".")[0] for path in KEYS}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("http.addr", "better: empty is an error, not a port at random"),
        ("http.relativeurls", "as the original"),
        ("log.formatter", "as the original"),
        ("auth.token", "as the original"),
        ("access.rules[].who", "Lading's own"),
        ("notifications.endpoints[].url", "as the original"),
        ("redis.addrs", "as the original"),
        ("redis.poolsize", "no effect"),
        ("http.tls.clientcas", "as the original"),
        ("storage.s3.bucket", "as the original"),
        ("storage.s3.equalparts", "Lading's own"),
        ("storage.azure.credentials.type", "as the original"),
    ],
)
def test_what_this_version_does_is_asked_of_the_code(path: str, expected: str) -> None:
    key = KEYS[path]
    assert generate.honoured(path, key.words, key.type) == expected


def test_no_key_is_refused_whatever_its_value() -> None:
    """A key that this version cannot honour would be named here, and in the introduction of the page."""
    verdicts = {path: generate.honoured(path, key.words, key.type) for path, key in KEYS.items()}
    assert {path for path, verdict in verdicts.items() if generate.REFUSED in verdict} == set()


def test_since_when():
    assert [generate.since(path) for path in ("http.addr", "proxy.exec.command", "redis.tls.enabled")] == [
        "2024",
        "3.1",
        "Lading",
    ]
    assert all(any(path.startswith(key) for path in KEYS) for key in generate.SINCE)
