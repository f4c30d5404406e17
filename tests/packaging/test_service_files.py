"""Units, the launchd agent, compose and logrotate files: what they name exists, and their tools accept them."""

from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from lading.config.load import parse
from lading.config.supported import unsupported

PACKAGING = Path(__file__).parents[2] / "packaging"


@pytest.mark.parametrize("config", sorted(PACKAGING.glob("*/config.yml")), ids=lambda path: path.parent.name)
def test_configurations_are_served_without_a_word(config: Path) -> None:
    loaded = parse(config.read_bytes(), str(config), {})
    assert not loaded.warnings
    assert not list(unsupported(loaded.configuration))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in sorted((PACKAGING / "systemd").iterdir()):
        # What it starts is not installed here.
        text = unit.read_text().replace("/opt/lading/bin/lading", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    units = sorted(map(str, tmp_path.iterdir()))
    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in run.stderr.splitlines() if "lading" in line]
    assert (run.returncode, said) == (0, [])


def test_systemd_waits_longer_than_the_registry_drains() -> None:
    unit = (PACKAGING / "systemd/lading.service").read_text()
    drain = parse(
        (PACKAGING / "container/config.yml").read_bytes(), "config.yml", {}
    ).configuration.http.draintimeout
    found = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert found is not None
    assert int(found[1]) > drain


def test_launchd_starts_the_registry_with_its_configuration() -> None:
    agent = plistlib.loads((PACKAGING / "launchd/com.lading.registry.plist").read_bytes())
    program, command, config = agent["ProgramArguments"]
    assert (Path(program).name, command, Path(config).name) == ("lading", "serve", "config.yml")
    assert Path(agent["StandardErrorPath"]).parent == Path(config).parent


def test_compose_builds_the_image_that_is_here() -> None:
    file = PACKAGING / "container/compose.yaml"
    service = yaml.safe_load(file.read_text())["services"]["registry"]
    context = (file.parent / service["build"]["context"]).resolve()
    assert context == PACKAGING.parent
    assert (context / service["build"]["dockerfile"]).is_file()
    volumes = dict(volume.split(":") for volume in service["volumes"])
    assert volumes == {"data": "/var/lib/registry"}
    loaded = parse((PACKAGING / "container/config.yml").read_bytes(), "config.yml", service["environment"])
    assert loaded.configuration.storage.delete.enabled


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed")
def test_logrotate_accepts_its_file() -> None:
    file = PACKAGING / "logrotate/lading"
    run = subprocess.run(
        ["logrotate", "--debug", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "error" not in run.stderr
