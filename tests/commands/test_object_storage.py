"""Looking after a registry on S3 by its commands: they do what they do on a disk, and close what they open."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers import content
from tests.servers.process import Registry, StartRegistry, lading
from tests.servers.versitygw import BUCKET, Gateway, gateway

from lading.registry import layout

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(180)]

OLD, NEW = content.image("old"), content.image("new")
NAME = "team/app"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path / "store") as running:
        yield running


@pytest.fixture
def registry(store: Gateway, start_lading: StartRegistry) -> Registry:
    rules = {"grace": "1ms", "quarantine": "5m", "rate": 10_000, "deleteuntagged": True}
    storage: dict[str, Any] = {"filesystem": None, "s3": store.parameters(), "delete": {"enabled": True}}
    storage |= {"redirect": {"disable": True}, "maintenance": {"garbagecollection": rules}}
    keeping = {"rules": [{"repositories": ["**"], "tags": ["*"], "last": 1}]}
    return start_lading(extra={"storage": storage, "retention": keeping})


def run(registry: Registry, command: str, *rest: str, status: int = 0) -> str:
    """A command with the configuration of the registry; what follows the file comes last."""
    done = subprocess.run(
        [lading().executable, *command.split(), str(registry.config), *rest],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
    assert "nclosed" not in done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def data_of(store: Gateway, digest: str) -> Path:
    encoded = digest.removeprefix("sha256:")
    return store.folder / BUCKET / f"{layout.BLOBS[1:]}/sha256/{encoded[:2]}/{encoded}/data"


def test_collection(registry: Registry, store: Gateway) -> None:
    client = registry.client
    client.push(NAME, "1.0", OLD)
    client.push(NAME, "1.0", NEW)
    told = json.loads(run(registry, "garbage-collect --dry-run --delete-untagged --json"))
    assert {entry["digest"] for entry in told["blobs"]} == set(OLD.everything())
    assert told["bytes"] == sum(map(len, OLD.everything().values()))
    assert "goes" in run(registry, f"garbage-collect -m --explain {OLD.blobs[0].digest}")
    assert "stays" in run(registry, f"garbage-collect -m --explain {NEW.blobs[0].digest}")
    assert data_of(store, OLD.blobs[0].digest).exists()
    printed = run(registry, "garbage-collect --delete-untagged")
    assert f"blob eligible for deletion: {OLD.blobs[0].digest}" in printed
    assert not any(data_of(store, digest).exists() for digest in OLD.everything())
    assert client.pull(NAME, "1.0") == NEW.everything()
    assert json.loads(run(registry, "garbage-collect --delete-untagged --json"))["blobs"] == []


def test_quarantine(registry: Registry, store: Gateway) -> None:
    client = registry.client
    client.push(NAME, "1.0", OLD)
    client.push(NAME, "1.0", NEW)
    time.sleep(1.1)  # past the grace: the store counts whole seconds
    done = json.loads(run(registry, "garbage-collect --online", "--json"))
    assert done["put_away"] == 2 + 2 * len(OLD.blobs)
    [row] = json.loads(run(registry, "quarantine list --json"))
    assert (row["things"], row["bytes"] > done["bytes"]) == (done["put_away"], True)
    assert len(json.loads(run(registry, "quarantine list --json", row["batch"]))) == done["put_away"]
    blob = OLD.blobs[-1].digest
    assert run(registry, "quarantine restore", row["batch"], blob) == "2 things brought back\n"
    assert data_of(store, blob).exists()
    assert client.pull(NAME, OLD.manifest.digest) == OLD.everything()
    run(registry, "quarantine restore", "20260101T000000.000000Z.collected", status=1)


def test_verification(registry: Registry, store: Gateway) -> None:
    registry.client.push(NAME, "1.0", NEW)
    assert run(registry, "verify").endswith("0 faults, 0 things put into quarantine\n")
    broken = NEW.blobs[-1].digest
    data_of(store, broken).write_bytes(b"no longer what it was")
    told = json.loads(run(registry, "verify --json", status=1))
    assert told["faults"] == len(told["findings"]) > 0
    assert broken.removeprefix("sha256:") in told["findings"][0]["key"]
    assert "things put into quarantine" in run(registry, "verify --repair", status=1)
    assert not data_of(store, broken).exists()
    [row] = json.loads(run(registry, "quarantine list --json"))
    assert row["batch"].endswith(".corrupt")
    registry.client.push(NAME, "1.0", NEW)
    assert run(registry, "verify").endswith("0 faults, 0 things put into quarantine\n")


def test_listing_and_retention(registry: Registry) -> None:
    for tag in ("1.0", "2.0"):
        registry.client.push(NAME, tag, OLD)
    assert [row["tag"] for row in json.loads(run(registry, "tag list --json", NAME))] == ["1.0", "2.0"]
    assert [row["repository"] for row in json.loads(run(registry, "repo list --json"))] == [NAME]
    assert json.loads(run(registry, "retention --json"))["deleted"] == 1
    assert registry.client.tags(NAME) == ["2.0"]


@pytest.mark.parametrize("on", ["filesystem", "s3"])
def test_what_tags_alone_held_goes_after_them(on: str, registry: Registry, start_lading: StartRegistry) -> None:
    keeping = {"rules": [{"repositories": ["**"], "tags": ["*"], "last": 1}]}
    held = registry if on == "s3" else start_lading(extra={"retention": keeping})
    held.client.push(NAME, "1.0", OLD)
    time.sleep(1.1)  # the store counts whole seconds
    held.client.push(NAME, "2.0", NEW)
    assert json.loads(run(held, "retention --json"))["deleted"] == 1
    gone = json.loads(run(held, "garbage-collect --delete-untagged --json"))
    assert {entry["digest"] for entry in gone["blobs"]} == set(OLD.everything())
    assert held.client.pull(NAME, "2.0") == NEW.everything()
    held.client.get(f"/v2/{NAME}/manifests/{OLD.manifest.digest}").expect(404)
