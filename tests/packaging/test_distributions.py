"""The wheel and the sdist: installed by every Python that is here, without what development needs, and run."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.docs.shell import server
from tests.servers import content
from tests.servers.client import Client
from tests.servers.ports import free_port

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("distributions")]


def uv(*arguments: str | Path) -> str:
    program = shutil.which("uv") or str(ROOT / ".venv-uv/bin/uv")
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("VIRTUAL_ENV", None)
    run = subprocess.run(
        [program, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, f"uv {arguments}: {run.stdout}{run.stderr}"
    return run.stdout


def interpreter(version: str) -> str:
    """Skips where there is none. What pyenv has is found in its folder: its commands lead to one version alone."""
    of_pyenv = glob.glob(str(Path.home() / f".pyenv/versions/{version}.*/bin/python3"))
    for found in [*sorted(of_pyenv), shutil.which(f"python{version}")]:
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        if (
            found
            and subprocess.run([found, "-c", code], capture_output=True, check=False).stdout.strip().decode()
            == version
        ):
            return found
    pytest.skip(f"there is no Python {version} here")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both; the wheel is made from the sdist, not from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", folder, ROOT)
    return folder


@pytest.fixture(params=PYTHONS)
def commands(request: pytest.FixtureRequest, built: Path, tmp_path: Path) -> Path:
    """The folder of the commands that come with the wheel, and of no others."""
    (wheel,) = built.glob("*.whl")
    uv("venv", "--quiet", "--python", interpreter(request.param), tmp_path / "environment")
    python = tmp_path / "environment/bin/python"
    uv("pip", "install", "--quiet", "--python", python, wheel)
    uv("pip", "check", "--quiet", "--python", python)
    return python.parent


def said(*command: str | Path, given: bytes = b"", status: int = 0) -> str:
    run = subprocess.run(list(map(str, command)), input=given, capture_output=True, timeout=60, check=False)
    assert run.returncode == status, run.stderr.decode()
    return (run.stdout + run.stderr).decode()


def test_what_is_installed_works(commands: Path, tmp_path: Path) -> None:
    installed = uv("pip", "list", "--format=freeze", "--python", commands / "python")
    assert not {"pytest", "hypothesis", "schemathesis", "mypy", "ruff", "jinja2"} & {
        line.partition("==")[0] for line in installed.splitlines()
    }
    assert said(commands / "lading", "--version").startswith("lading 0.")
    assert said(commands / "registry", "--version").startswith("registry lading 0.")
    assert said(commands / "digest", given=b"x") == f"sha256:{hashlib.sha256(b'x').hexdigest()}\t-\n"
    missing = said(commands / "registry-api-descriptor-template", "x", status=1)
    assert missing == 'jinja2 is missing: pip install "lading[docs]"\n'
    assert "complete" in said(commands / "lading", "completion", "bash")
    port = free_port()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("REGISTRY_", "PYTHON"))
    }
    environment |= {"REGISTRY_HTTP_ADDR": f"127.0.0.1:{port}", "PYTHONWARNINGS": "error"}
    package = content.image("installed")
    with server([str(commands / "lading"), "serve"], port, tmp_path, environment):
        client = Client(f"127.0.0.1:{port}")
        client.push("team/app", "1.0", package)
        assert client.pull("team/app", "1.0") == package.everything()


def test_what_is_in_them(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    sources = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*") if path.is_file()}
    sources = {name for name in sources if "__pycache__" not in name}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == sources
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"} <= names
    assert {f"src/{name}" for name in sources} <= names
