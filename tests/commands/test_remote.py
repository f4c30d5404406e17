"""The commands of a client, as users run them: what they print, and how they end."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.auth.token_server import PASSWORD, USER
from tests.client.sites import site
from tests.servers import content, layouts
from tests.servers.process import Registry, StartRegistry
from tests.servers.process import lading as program

from lading.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(110)]

MANY = content.multi_arch("many")
OTHERS = ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
"""Variables that name logins; without them these are below HOME."""


class Run(Protocol):
    """What a command prints; on standard error, if it fails."""

    def __call__(self, *arguments: str | Path, status: int = 0) -> str: ...


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    def ran(*arguments: str | Path, status: int = 0) -> str:
        with monkeypatch.context() as patch:
            for name in OTHERS:
                patch.delenv(name, raising=False)
            patch.setenv("HOME", str(tmp_path / "home"))
            try:
                ended = main([*map(str, arguments)])
            except SystemExit as error:
                ended = int(error.code or 0)
        out, err = capsys.readouterr()
        assert ended == status, err
        assert status == 2 or err.count("\n") == bool(status), err
        return str(err if status else out)

    return ran


def as_json(run: Run, *arguments: str | Path) -> Any:
    return json.loads(run(*arguments, "--json", "--plain-http"))


@pytest.fixture
def registry(start_lading: StartRegistry) -> Registry:
    return start_lading()


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return layouts.write(tmp_path / "in", {"1.0": MANY})


def test_from_a_layout_and_back(run: Run, registry: Registry, layout: Path, tmp_path: Path) -> None:
    app = f"{registry.host}/team/app"
    pushed = as_json(run, "push", layout, f"{app}:1.0")
    assert (pushed["digest"], pushed["manifests"]) == (MANY.manifest.digest, 3)
    copied = as_json(run, "copy", f"{app}:1.0", f"{registry.host}/team/copy")
    assert (copied["reference"], copied["blobs"]["uploaded"]) == (f"{registry.host}/team/copy:1.0", 0)
    assert as_json(run, "ls", registry.host) == {"repositories": ["team/app", "team/copy"]}
    assert run("retag", f"{app}:1.0", "a", "b", "--plain-http").splitlines() == [
        f"{app}:a {MANY.manifest.digest}",
        f"{app}:b {MANY.manifest.digest}",
    ]
    assert run("ls", app, "--plain-http").split() == ["1.0", "a", "b"]
    assert as_json(run, "ls", app, "--limit=2") == {"tags": ["1.0", "a"]}
    run("delete", f"{app}:a", "--plain-http")
    assert run("ls", app, "--plain-http").split() == ["1.0", "b"]
    run("pull", f"{app}:1.0", tmp_path / "out", "--plain-http")
    assert layouts.read(tmp_path / "out") == MANY.everything()
    arm = MANY.children[1].manifest.digest
    assert as_json(run, "copy", f"{app}:1.0", f"{registry.host}/arm", "--platform=linux/arm64")["digest"] == arm


def test_inspect(run: Run, registry: Registry, layout: Path) -> None:
    app = f"{registry.host}/team/app:1.0"
    run("push", layout, app, "--plain-http")
    seen = as_json(run, "inspect", app, "--referrers")
    assert seen["digest"] == MANY.manifest.digest
    assert [each["platform"] for each in seen["manifests"]] == ["linux/amd64", "linux/arm64"]
    assert seen["referrers"] == []
    assert run("inspect", app, "--raw", "--plain-http").encode() == MANY.manifest.data
    image = as_json(run, "inspect", app, "--platform=linux/arm64")
    assert (image["platform"], len(image["layers"])) == ("linux/arm64", 2)
    config = json.loads(run("inspect", app, "--config", "--platform=linux/amd64", "--plain-http"))
    assert config["architecture"] == "amd64"
    assert "platform: linux/amd64" in run("inspect", app, "--platform=linux/amd64", "--plain-http")


def test_files_as_an_artifact(run: Run, registry: Registry, layout: Path, tmp_path: Path) -> None:
    app = f"{registry.host}/team/app"
    run("push", layout, f"{app}:1.0", "--plain-http")
    (tmp_path / "note.txt").write_text("well")
    made = as_json(
        run,
        *("push", f"{tmp_path}/note.txt:text/plain", f"{app}:note", "--artifact-type=example/note"),
        *("--subject=1.0", "--annotation=who=me"),
    )
    [found] = as_json(run, "inspect", f"{app}:1.0", "--referrers")["referrers"]
    assert (found["digest"], found["artifactType"]) == (made["digest"], "example/note")
    files = as_json(run, "pull", f"{app}:note", tmp_path / "out", "--files")["files"]
    assert [Path(file).read_text() for file in files] == ["well"]
    assert "there already" in run("pull", f"{app}:note", tmp_path / "out", "--files", "--plain-http", status=1)


def test_how_they_fail(run: Run, registry: Registry, layout: Path, tmp_path: Path) -> None:
    app = f"{registry.host}/team/app"
    assert "404" in run("inspect", f"{app}:1", "--plain-http", status=3)
    assert "does not speak TLS" in run("inspect", f"{app}:1", status=1)
    assert "cannot connect: Connection refused" in run("ls", "127.0.0.1:1/a", "--plain-http", status=1)
    assert "is no OCI image layout" in run("push", tmp_path, app, "--plain-http", status=2)
    assert "No such file" in run("inspect", app, f"--authfile={tmp_path}/no", "--plain-http", status=1)
    assert "No such file" in run("inspect", app, f"--cert-dir={tmp_path}/no", status=1)
    assert "has no 2.0" in run("push", layout, app, "--image=2.0", "--plain-http", status=1)
    assert "nothing is deleted by default" in run("delete", app, "--plain-http", status=2)
    assert "lowercase" in run("inspect", f"{app}/A", status=2)
    assert "no platform" in run("copy", app, app, "--platform=x", status=2)
    assert "USER:PASSWORD" in run("ls", app, "--creds=x", status=2)
    assert "no port 99999" in run("inspect", "localhost:99999/a", status=2)
    assert "no port 99999" in run("ls", "localhost:99999/a", status=2)
    assert "no digest" in run("push", layout, app, "--artifact-type=x", "--subject=a@b", status=2)
    assert "[::1]:1: cannot connect" in run("ls", "[::1]:1/a", status=1)
    assert "more than a repository" in run("ls", f"{app}:1", "--plain-http", status=2)
    run("copy", app, f"{app}@sha256:{'0' * 64}", status=2)


@pytest.mark.peer
def test_signing_in(run: Run, tmp_path: Path, layout: Path) -> None:
    with site("distribution", "token", tmp_path / "site") as guarded:
        app = f"{guarded.registry.host}/team/app:1.0"
        common = ("--plain-http", f"--token-server={guarded.token_server}")
        refused = run("push", layout, app, *common, f"--creds={USER}:wrong", status=4)
        assert "wrong" not in refused
        run("push", layout, app, *common, f"--creds={USER}:{PASSWORD}")
        login = {"username": USER, "password": PASSWORD}
        (tmp_path / "home/.docker").mkdir(parents=True)
        file = tmp_path / "home/.docker/config.json"
        file.write_text(json.dumps({"auths": {f"{guarded.registry.host}/team": login}}))
        run("inspect", app, *common)
        run("copy", app, f"{guarded.registry.host}/team/b", *common, f"--src-creds={USER}:x", status=4)
        file.rename(tmp_path / "auth.json")
        run("inspect", app, *common, status=4)
        run("inspect", app, *common, f"--authfile={tmp_path}/auth.json")


def test_a_terminal_sees_a_bar(registry: Registry, layout: Path) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        done = subprocess.run(
            [program().executable, "push", str(layout), f"{registry.host}/bar:1.0", "--plain-http"],
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=True,
            timeout=60,
        )
        os.close(theirs)
        drawn = terminal.read(100_000)
    assert b"blobs\x1b[K" in drawn
    assert drawn.endswith(b"\r\x1b[K")
    assert done.stdout.startswith(registry.host.encode())
