"""`lading migrate check` over directories of the original's, and over what may be wrong with one."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.servers import content
from tests.servers.process import distribution, registries
from tests.servers.versitygw import gateway

from lading.cli import main
from lading.registry.survey import SHOWN

REPOSITORIES = "docker/registry/v2/repositories"


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("REGISTRY_CONFIGURATION_PATH", raising=False)
    return configure(tmp_path, {})


def configure(folder: Path, more: dict[str, Any]) -> Path:
    config = folder / "config.yml"
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}, "cache": {"blobdescriptor": "inmemory"}}
    config.write_text(yaml.safe_dump({"version": "0.1", "storage": storage, "http": {"addr": ":5000"}} | more))
    return config


def written(folder: Path, more: str) -> Path:
    config = folder / "config.yml"
    config.write_text(f"version: 0.1\nhttp: {{addr: ':5000'}}\n{more}\n")
    return config


def report(config: Path, capsys: pytest.CaptureFixture[str], status: int = 0) -> Any:
    assert main(["migrate", "check", "--json", str(config)]) == status
    return json.loads(capsys.readouterr().out)


def tag(root: Path, name: str, tag: str, manifest: bytes | None) -> None:
    digest = hashlib.sha256(manifest or b"").hexdigest()
    link = root / REPOSITORIES / name / "_manifests/tags" / tag / "current/link"
    link.parent.mkdir(parents=True)
    link.write_text(f"sha256:{digest}")
    if manifest is not None:
        data = root / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
        data.parent.mkdir(parents=True, exist_ok=True)
        data.write_bytes(manifest)


def test_what_is_stored(configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = configured.parent / "data"
    tag(root, "team/app", "good", b'{"schemaVersion": 2}')
    tag(root, "team/app", "old", b'{"schemaVersion": 1}')
    for number in range(SHOWN + 2):
        tag(root, "team/app", f"broken-{number:02}", None)
    tag(root, "Bad NAME", "x", None)
    (root / REPOSITORIES / "team/app/_uploads/1234").mkdir(parents=True)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    stored = report(configured, capsys)["storage"]
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert stored["driver"] == "filesystem"
    assert (stored["repositories"], stored["tags"], stored["uploads"]) == (1, 24, 1)
    assert stored["media_types"] == {"application/vnd.oci.image.manifest.v1+json": 1}
    findings = {
        kind: (found["count"], found["first"][0].partition(" (")[0]) for kind, found in stored["findings"].items()
    }
    assert findings == {
        "broken": (SHOWN + 2, "team/app:broken-00"),
        "strange": (1, "team/app:old"),
        "uploads": (1, "team/app: 1234"),
    }
    assert main(["migrate", "check", str(configured)]) == 0
    told = capsys.readouterr().out
    assert "    and 2 more\n" in told
    assert told.endswith("Lading can take over, and give back.\n")


def test_page_names_what_the_report_has(configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs/migrating.md").read_text()
    found = report(configured, capsys)
    assert [key for key in [*found, *found["storage"]] if f"`{key}`" not in page] == []


def test_what_is_configured(configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"http": {"addr": ":5000", "draintimeout": "0s"}, "log": {"level": "info"}, "auth": "ldap", "htp": 1}
    found = report(configure(configured.parent, more), capsys, status=1)
    assert found["better"]["http.draintimeout"] == "requests may finish at 0, too"
    assert "log.level" in found["same"]
    assert any("(ldap)" in line for line in found["refused"])
    assert any("htp" in line for line in found["warned"])
    assert not {path for path in found["same"] if path.startswith("auth")}


def test_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yml"
    config.write_text("version: 0.1\n  storage: [")
    assert main(["migrate", "check", str(config)]) == 1
    told = capsys.readouterr().out
    assert "refused: " in told
    assert told.endswith("Lading cannot take over.\n")


IN_TEAM = ["repositories/team", "repositories/team/app/_manifests/tags"]


@pytest.mark.parametrize("folder", ["repositories", *IN_TEAM, "blobs", "blobs/sha256"])
def test_what_may_not_be_written(configured: Path, folder: str) -> None:
    """By a user who may read it. Root is one only without its capabilities."""
    root = configured.parent / "data"
    tag(root, "team/app", "good", b'{"schemaVersion": 2}')
    locked = root / "docker/registry/v2" / folder
    locked.chmod(0o555)
    less = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    command = [*less, Path(sys.executable).with_name("lading"), "migrate", "check", configured]
    readonly = os.environ | {"REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED": "true"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    reading = subprocess.run(command, env=readonly, capture_output=True, text=True, timeout=60, check=False)
    locked.chmod(0o755)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"  error: {locked} cannot be written by this user" in done.stdout
    assert (reading.returncode, reading.stderr) == (0, ""), reading.stdout


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("storage: {filesystem: {maxthreads: many}}", "storage.filesystem"),
        ("storage: inmemory\naccess: {rules: [{repositories: [a], actions: [pull], who: [b]}]}", "access.rules"),
        ("storage: inmemory\nhealth: {http: [{uri: ''}]}", "health.http"),
        ("storage: inmemory\nlog: {hooks: [{type: pigeon, levels: [error]}]}", "log.hooks"),
        ("storage: inmemory\nmiddleware: {registry: [{name: x, options: {a: b}}]}", "middleware"),
        ("storage: inmemory\nnotifications: {endpoints: [{name: x, timeout: 1s}]}", "notifications"),
        ("storage: inmemory\nvalidation: {manifests: {urls: {allow: ['[']}}}", "validation"),
        ("storage: inmemory\nauth: {silly: {realm: r}, htpasswd: {realm: r}}", "auth"),
    ],
)
def test_what_is_refused_is_not_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, key: str
) -> None:
    found = report(written(tmp_path, more), capsys, status=1)
    assert key in found["refused"][0]
    assert [path for path in [*found["same"], *found["better"]] if path.startswith(key)] == []


def test_what_a_message_says_refuses_no_key(configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Such as `http:` in what is said of a URL."""
    found = report(configure(configured.parent, {"proxy": {"remoteurl": "ftp://x"}}), capsys, status=1)
    assert "http:" in found["refused"][0]
    assert "http.addr" in found["better"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("", "storage: no storage configuration provided"),
        ("storage: {filesystem: {}, s3: {region: r, bucket: b}}", "storage: "),
        ("storage: {swift: {}}", "storage: StorageDriver not registered: swift"),
        ("storage: {s3: {region: r}}", "storage.s3.bucket: no bucket parameter provided"),
        (
            "storage: {filesystem: {rootdirectory: /dev/null}}",
            "storage.filesystem.rootdirectory: '/dev/null'",
        ),
        (
            "storage: {filesystem: {rootdirectory: /dev/null/below}}",
            "storage.filesystem.rootdirectory: '/dev/null' is not a directory",
        ),
        ("storage: inmemory\nauth: {htpasswd: {realm: r}}", "auth.htpasswd"),
    ],
)
def test_what_leads_nowhere_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, told: str
) -> None:
    found = report(written(tmp_path, more), capsys, status=1)
    (refused,) = found["refused"]
    assert told in refused
    assert "error" not in (found["storage"] or {})


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.timeout(60)
def test_bucket_of_the_original(tmp_path: Path) -> None:
    """As a command: what it leaves behind would be told on standard error."""
    with gateway(tmp_path / "store") as store, registries(distribution(), tmp_path) as start:
        original = start(extra={"storage": {"filesystem": None, "s3": store.parameters()}})
        original.client.push("team/app", "1.0", content.image("moving"))
        for wrong, last in (({}, "Lading can take over, and give back."), ({"bucket": "none"}, "NoSuchBucket")):
            settings = yaml.safe_load(original.config.read_text())
            settings["storage"]["s3"] |= wrong
            config = tmp_path / "config.yml"
            config.write_text(yaml.safe_dump(settings))
            command = [Path(sys.executable).with_name("lading"), "migrate", "check", config]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert (done.returncode, done.stderr) == (int(bool(wrong)), "")
            assert last in done.stdout


@pytest.mark.peer
@pytest.mark.slow
def test_directory_of_the_original(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with registries(distribution(), tmp_path) as start:
        original = start()
        original.client.push("team/app", "1.0", content.image("moving"))
        original.client.request("POST", "/v2/team/app/blobs/uploads/").expect(202)
        found = report(original.config, capsys)
    assert (found["refused"], found["warned"]) == ([], [])
    stored = found["storage"]
    assert (stored["repositories"], stored["tags"], stored["uploads"]) == (1, 1, 1)
    assert list(stored["findings"]) == ["uploads"]
