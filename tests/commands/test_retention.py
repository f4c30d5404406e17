"""Immutable tags and retention, in a registry that serves, by its command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.faults.node import eventually
from tests.servers import content
from tests.servers.process import Registry, StartRegistry, lading

from lading.compose import retention as rules
from lading.config.load import load
from lading.registry import layout
from lading.storage.memory import MemoryStorage

NAME = "team/app"
ONE, TWO = content.image("one"), content.image("two")

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def registry(start_lading: StartRegistry) -> Registry:
    extra = {
        "storage": {"delete": {"enabled": True}},
        "immutable": [{"repositories": ["team/*"], "tags": ["v*"]}],
        "retention": {"rules": [{"repositories": ["team/*"], "tags": ["pr-*"], "last": 1}]},
    }
    return start_lading(extra=extra)


def run(registry: Registry, *options: str) -> str:
    done = subprocess.run(
        [lading().executable, "retention", *options, str(registry.config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_old_tags_go(registry: Registry) -> None:
    client = registry.client
    for tag in ("pr-1", "pr-2", "v1"):
        client.push(NAME, tag, ONE)
    client.push("other/app", "pr-1", ONE)
    client.push("other/app", "pr-2", ONE)
    told = json.loads(run(registry, "--dry-run", "--json"))
    assert {entry["tag"]: (entry["stays"], entry["reason"]) for entry in told["tags"]} == {
        "pr-1": (False, "no rule keeps it any more"),
        "pr-2": (True, "retention.rules[0]: it is one of the last 1"),
        "v1": (True, "it is immutable"),
    }
    assert client.tags(NAME) == ["pr-1", "pr-2", "v1"]
    assert run(registry).splitlines()[-1] == "1 tags of 1 repositories deleted, 2 kept"
    assert client.tags(NAME) == ["pr-2", "v1"]
    assert client.tags("other/app") == ["pr-1", "pr-2"]
    assert run(registry, "--quiet") == ""


def test_by_itself_where_nothing_else_needs_housekeeping(start_lading: StartRegistry) -> None:
    keeping = [{"repositories": ["team/*"], "last": 1}]
    registry = start_lading(
        extra={
            "storage": {"maintenance": {"uploadpurging": {"enabled": False}}},
            "retention": {"enabled": True, "interval": "1s", "rules": keeping},
        }
    )
    for tag in ("a", "b", "c"):
        registry.client.push(NAME, tag, ONE)
    eventually(lambda: len(registry.client.tags(NAME)) == 1, "the end of two tags")
    assert registry.client.tags(NAME) == ["c"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("retention: {enabled: true}", "retention.rules: needs an entry"),
        ("retention: {rules: [{last: 1}]}", "retention.rules[0].repositories: needs an entry"),
        ("retention: {rules: [{repositories: ['A']}]}", "retention.rules[0].repositories: 'A' is no pattern"),
        ("retention: {rules: [{repositories: [a], last: 0}]}", "retention.rules[0].last: must be 1 or more"),
        ("retention: {rules: [{repositories: [a], pulledwithin: 0s}]}", "pulledwithin: must be longer"),
        ("immutable: [{repositories: [a], tags: ['a b']}]", "immutable[0].tags: 'a b' is no pattern of tags"),
        ("immutable: [{tags: ['v*']}]", "immutable[0].repositories: needs an entry"),
        ("immutable: {repositories: [a]}", "immutable: "),
        (
            "retention: {enabled: true, rules: [{repositories: [a]}]}",
            "retention.enabled: only one process sees what inmemory holds",
        ),
    ],
)
def test_what_cannot_be_honoured_stops_the_start(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "config.yml"
    config.write_text(f"version: 0.1\nstorage: {{inmemory: {{}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n{text}\n")
    done = subprocess.run(
        [lading().executable, "serve", str(config)], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_nothing_goes_by_itself_while_the_registry_is_read_only(tmp_path: Path) -> None:
    text = "version: 0.1\nhttp: {}\nretention: {enabled: true, rules: [{repositories: [a], pulledwithin: 1h}]}\n"
    for readonly in (False, True):
        path = tmp_path / f"{readonly}.yml"
        maintenance = f"maintenance: {{readonly: {{enabled: {str(readonly).lower()}}}}}"
        path.write_text(f"{text}storage: {{filesystem: {{}}, {maintenance}}}\n")
        configuration = load(str(path)).configuration
        assert (rules.scheduled(configuration) is None) == readonly
        assert (rules.pulls(configuration, MemoryStorage()) is None) == readonly


def test_a_dry_run_writes_nothing_while_the_registry_is_read_only(start_lading: StartRegistry) -> None:
    rule = {"repositories": [NAME], "pulledwithin": "720h"}
    registry = start_lading(extra={"retention": {"rules": [rule]}})
    registry.client.push(NAME, "1", ONE)
    settings = yaml.safe_load(registry.config.read_text())
    settings["storage"]["maintenance"] = {"readonly": {"enabled": True}}
    registry.config.write_text(yaml.safe_dump(settings))
    pulled = registry.root / f"{layout.repository(NAME)}/{layout.PULLED}".removeprefix("/")
    assert run(registry, "--dry-run").splitlines() == ["0 tags of 1 repositories would be deleted, 1 kept"]
    assert not pulled.exists()


def test_whoever_gets_a_manifest_or_has_it_still_pulls_it(start_lading: StartRegistry) -> None:
    rule = {"repositories": [NAME], "pulledwithin": "720h"}
    registry = start_lading(extra={"retention": {"rules": [rule]}})
    client = registry.client
    for name in (NAME, "other/app"):
        client.push(name, "1", ONE)
        client.push(name, "2", TWO)
    one, two = (each.manifest.digest.partition(":")[2] for each in (ONE, TWO))
    manifest = f"/v2/{NAME}/manifests/"
    client.request("GET", f"/v2/other/app/manifests/{ONE.manifest.digest}").expect(200)
    client.request("HEAD", f"{manifest}1").expect(200)
    client.request("GET", f"{manifest}2", {"If-None-Match": f'"{TWO.manifest.digest}"'}).expect(304)
    eventually(lambda: noted(registry, NAME) == {two}, "a note of what the client has")
    client.request("GET", f"{manifest}1").expect(200)
    eventually(lambda: noted(registry, NAME) == {one, two}, "a note of what the client gets")
    assert noted(registry, "other/app") == set()


def noted(registry: Registry, name: str) -> set[str]:
    """The digits of manifests that were pulled."""
    folder = registry.root / f"{layout.repository(name)}/{layout.PULLED}/sha256".removeprefix("/")
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def test_immutable_tags_on_the_wire(registry: Registry) -> None:
    client = registry.client
    client.push(NAME, "v1", ONE)
    client.push(NAME, "v1", ONE)
    client.push(NAME, "next", TWO)
    answer = client.put_manifest(NAME, "v1", TWO.manifest).expect(403)
    assert answer.json()["errors"] == [
        {
            "code": "DENIED",
            "message": f"tag v1 is immutable: it stays at {ONE.manifest.digest}",
            "detail": {"name": NAME, "tag": "v1", "digest": ONE.manifest.digest},
        }
    ]
    client.put_manifest(NAME, "next?tag=v1", TWO.manifest).expect(403)
    for reference in ("v1", ONE.manifest.digest):
        client.request("DELETE", f"/v2/{NAME}/manifests/{reference}").expect(403)
    client.request("DELETE", f"/v2/{NAME}/manifests/next").expect(202)
    assert client.pull(NAME, "v1") == ONE.everything()
