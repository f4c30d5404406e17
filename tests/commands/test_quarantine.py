"""Garbage collection of a registry that serves, by its commands: away, back, and away for good."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
from tests.servers import content
from tests.servers.process import Registry, StartRegistry, lading

from lading.registry.quarantine import COLLECTED, Batch

OLD, NEW = content.image("old"), content.image("new")
NAME = "team/app"

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def registry(start_lading: StartRegistry) -> Registry:
    rules = {"enabled": True, "grace": "1ms", "quarantine": "5m", "rate": 10_000, "deleteuntagged": True}
    extra = {"storage": {"delete": {"enabled": True}, "maintenance": {"garbagecollection": rules}}}
    return start_lading(extra=extra)


def run(registry: Registry, *arguments: str) -> str:
    """A command with the configuration of the registry; its name comes first, what follows the file last."""
    command, *rest = arguments
    done = subprocess.run(
        [lading().executable, *command.split(), str(registry.config), *rest],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def aside(registry: Registry) -> list[str]:
    return [batch["batch"] for batch in json.loads(run(registry, "quarantine list", "--json"))]


def test_away_and_back(registry: Registry) -> None:
    client, blob = registry.client, OLD.blobs[-1]
    client.push(NAME, "1.0", OLD)
    client.push(NAME, "1.0", NEW)
    time.sleep(0.01)  # past the grace
    done = json.loads(run(registry, "garbage-collect --online", "--json"))
    assert done["put_away"] == 2 + 2 * len(OLD.blobs)
    assert done["bytes"] == sum(map(len, OLD.everything().values()))
    (batch,) = aside(registry)
    listed = json.loads(run(registry, "quarantine list", batch, "--json"))
    assert len(listed) == done["put_away"]
    assert client.pull(NAME, "1.0") == NEW.everything()
    # What is asked for comes back by itself, and what is named by hand.
    assert client.pull(NAME, OLD.manifest.digest) == OLD.everything()
    assert json.loads(run(registry, "quarantine list", batch, "--json")) == []
    run(registry, "garbage-collect --online", "--quiet")
    assert run(registry, "quarantine restore", batch, blob.digest) == "2 things brought back\n"
    assert list(registry.root.glob(f"**/blobs/sha256/*/{blob.digest[7:]}/data"))


def test_after_its_time_it_is_gone(registry: Registry) -> None:
    client = registry.client
    client.push(NAME, "1.0", OLD)
    client.push(NAME, "1.0", NEW)
    time.sleep(0.01)
    run(registry, "garbage-collect --online")
    (name,) = aside(registry)
    begun = Batch(name).begun
    earlier = time.strftime("%Y%m%dT%H%M%S.000000Z", time.gmtime(begun - 400))
    folder = next(registry.root.glob(f"**/{name}"))
    folder.rename(folder.with_name(f"{earlier}.{COLLECTED}"))
    assert "1 batches deleted" in run(registry, "garbage-collect --online")
    assert aside(registry) == []
    client.get(f"/v2/{NAME}/manifests/{OLD.manifest.digest}").expect(404)
    assert client.pull(NAME, "1.0") == NEW.everything()


def test_what_it_cannot_do(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text("version: 0.1\nstorage: inmemory\nhttp: {addr: '127.0.0.1:0'}\n")
    for arguments, said in (
        (["garbage-collect", "--online", str(config)], "only one process sees"),
        (["garbage-collect", "--online", "--dry-run", str(config)], "no dry run"),
        (["quarantine", "restore", str(config), "nothing"], "no batch"),
    ):
        done = subprocess.run([lading().executable, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode in {1, 2}
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    config.write_text(
        "version: 0.1\nstorage: {inmemory: {}, maintenance: {garbagecollection: {enabled: true}}}\n"
        "http: {addr: '127.0.0.1:0'}\n"
    )
    done = subprocess.run([lading().executable, "serve", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "storage.maintenance.garbagecollection.enabled: only one process" in done.stderr
