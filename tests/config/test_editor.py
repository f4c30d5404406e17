"""The JSON Schema: what it allows is what is read. Checked by hand, as no validator is among the dependencies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from lading.config.editor import DURATION, as_json, schema
from lading.config.kinds import Kind, ListOf, MapOf, Struct
from lading.config.schema import ROOT
from lading.config.texts import TEXTS


def at(path: str) -> dict[str, Any]:
    node: Any = schema()
    for step in re.findall(r"\[\]|[^.\[\]]+", path):
        node = node["anyOf"][1] if "anyOf" in node else node
        if step == "[]":
            node = node["items"]
        elif step == "<name>":
            node = node["additionalProperties"]
        else:
            node = node["properties"][step]
    assert isinstance(node, dict)
    return node


def keys(kind: Kind, path: str = "") -> Iterator[str]:
    match kind:
        case Struct() | MapOf():
            known = kind.fields if isinstance(kind, Struct) else kind.fixed
            for key, below in known.items():
                yield f"{path}{key}"
                yield from keys(below, f"{path}{key}.")
        case ListOf():
            yield from keys(kind.item, f"{path.removesuffix('.')}[].")


def test_every_key_is_there_with_all_its_spellings():
    found = [path for path in keys(ROOT) if not path.startswith("middleware")]
    assert len(found) > 200
    for path in found:
        assert at(path) is not None


def test_every_key_has_its_description():
    for path, text in TEXTS.items():
        assert at(path).get("description") == text or path == "auth", path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("http.net", {"enum": ["tcp", "unix", None], "default": "tcp"}),
        ("http.draintimeout", {"type": ["string", "integer", "null"], "pattern": DURATION, "default": "0s"}),
        ("proxy.ttl", {"default": "168h"}),
        ("http.relativeurls", {"type": ["boolean", "null"]}),
        ("catalog.maxentries", {"type": ["integer", "null"], "default": 1000}),
        ("redis.tls.clientcas", {"deprecated": True, "description": "Older spelling of rootcas."}),
        ("redis.disableindentity", {"deprecated": True}),
        ("storage.cache.layerinfo", {"deprecated": True}),
        ("loglevel", {"deprecated": True}),
        ("version", {"enum": [0.1, "0.1"]}),
        ("http.headers", {"type": ["object", "null"]}),
        ("storage.filesystem.maxthreads", {"default": 100}),
    ],
)
def test_what_it_says(path, expected):
    assert {key: at(path)[key] for key in expected} == expected


def test_words_in_any_case():
    assert {"debug", "DEBUG", "Debug"} <= set(at("log.level")["enum"])


@pytest.mark.parametrize(
    ("text", "good"), [("1h30m", True), ("300ms", True), ("0", True), ("-1.5h", True), ("5d", False), ("5", False)]
)
def test_durations(text, good):
    assert bool(re.search(DURATION, text)) is good


def test_a_bare_name_stands_for_a_map():
    assert "inmemory" in schema()["properties"]["storage"]["anyOf"][0]["enum"]
    assert "none" in schema()["properties"]["auth"]["anyOf"][0]["enum"]


def test_it_is_json():
    assert json.loads(as_json()) == json.loads(json.dumps(schema()))


@pytest.mark.parametrize("section", ["access", "tokenservice"])
def test_own_sections_are_described(section):
    assert schema()["properties"][section]["description"].startswith("Lading's own")
