"""Manual pages: made from the parsers and the configuration, whole, and fit for `man`."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lading.cli import parser_of_lading
from lading.config.texts import TEXTS

ROOT = Path(__file__).parents[2]
PAGES = {"lading.1", "registry.1", "digest.1", "registry-api-descriptor-template.1", "lading-config.5"}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("man")]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man")
    environment = os.environ | {
        "PATH": f"{os.environ['PATH']}:{ROOT / '.venv-uv/bin'}"
    }  # where `make setup` puts uv
    subprocess.run([ROOT / "packaging/man/build", folder], env=environment, check=True, timeout=60)
    return folder


def commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The whole name of every command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield inner.prog
                yield from commands(inner)


def test_every_command_and_key_has_its_place(pages: Path) -> None:
    assert {page.name for page in pages.iterdir()} == PAGES
    told = (pages / "lading.1").read_text().replace("\\-", "-")
    named = list(commands(parser_of_lading()))
    assert "lading config check" in named
    assert [name for name in named if name not in told] == []
    keys = re.findall(r"(?m)^\.B (.+)$", (pages / "lading-config.5").read_text().replace("\\-", "-"))
    assert set(TEXTS) <= set(keys)


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("page", sorted(PAGES))
def test_groff_has_nothing_to_say(pages: Path, page: str) -> None:
    command = ["groff", "-man", "-ww", "-Tutf8", "-Kutf8", pages / page]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) > 10
