"""The pages of the client: every example is run as it is printed, against a registry of its own."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.test_docs import DOCS, blocks
from tests.servers import content, layouts
from tests.servers.process import Registry
from tests.servers.process import lading as program

PRINTED = "localhost:5000"

pytestmark = pytest.mark.slow


def test_the_library_page(lading: Registry, tmp_path: Path) -> None:
    examples = blocks(DOCS / "client.md", "python")
    assert len(examples) == 6
    for number, example in enumerate(examples):
        script = tmp_path / f"example_{number}.py"
        script.write_text(example.replace(PRINTED, lading.host))
        run = subprocess.run(
            [sys.executable, "-W", "error", script], capture_output=True, text=True, timeout=60, check=False
        )
        assert run.returncode == 0, f"{example}\n{run.stderr}"


def test_the_page_of_commands(lading: Registry, tmp_path: Path) -> None:
    layouts.write(tmp_path / "app", {"1.0": content.multi_arch("many")})
    (tmp_path / "README.md").write_text("# App\n")
    lines = "".join(blocks(DOCS / "commands.md", "console")).splitlines()
    commands = [line.removeprefix("$ lading ") for line in lines]
    assert {command.split()[0] for command in commands} == {
        *("copy", "delete", "inspect", "ls", "pull", "push", "retag"),
    }
    for command in commands:
        run = subprocess.run(
            [program().executable, *shlex.split(command.replace(PRINTED, lading.host))],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (run.returncode, run.stderr) == (0, ""), command
    assert layouts.read(tmp_path / "out") == content.multi_arch("many").everything()
    assert (tmp_path / "files/README.md").read_text() == "# App\n"
