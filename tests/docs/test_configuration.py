"""`docs/configuration.md` says what the models say."""

from __future__ import annotations

import re

import pytest
from tests.docs.generator import load

generate = load()

PAGE = generate.PAGE.read_text("utf-8")
KEYS = {key.path: key for key in generate.all_keys()}


def test_tables_are_those_the_models_give() -> None:
    assert generate.render(PAGE) == PAGE, "the models have changed: run python docs/generate.py"


def test_every_key_is_documented_and_no_other() -> None:
    assert sorted(KEYS) == sorted(generate.TEXTS)
    assert set(re.findall(r"(?m)^\| `([^`]+)` \|(?:.*\|){5}$", PAGE)) == set(KEYS)


@pytest.mark.parametrize("data", ["ALLOWED", "PROBES", "NO_EFFECT"])
def test_what_is_known_of_keys_is_of_keys_there_are(data: str) -> None:
    assert set(getattr(generate, data)) <= set(KEYS)


def test_what_is_known_of_features_is_of_keys_there_are() -> None:
    assert set(generate.SWITCHES.values()) <= set(KEYS)
    for prefix in generate.SWITCHES:
        assert any(path.startswith(prefix) for path in KEYS), prefix
    assert set(generate.INTRODUCTIONS) <= {path.partition(".")[0] for path in KEYS}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("http.addr", "yes"),
        ("storage.filesystem.rootdirectory", "yes"),
        ("log.formatter", "`logstash` stops the start"),
        ("auth.token", "yes"),
        ("redis.password", "part of `redis.addrs`"),
        ("http.tls.clientcas", "more than one stops the start"),
    ],
)
def test_what_this_version_does_is_asked_of_the_code(path: str, expected: str) -> None:
    key = KEYS[path]
    assert generate.honoured(path, key.words, key.type) == expected
