"""The power is cut after every change to the disk, and nothing is left but what was synced.

What was acknowledged is durable: pushes of blobs, manifests and tags. Deletes need not be: they can be repeated;
nor upload sessions: their clients begin anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults import directory
from tests.faults.disk import Disk
from tests.faults.inprocess import in_process
from tests.faults.ledger import Ledger, check
from tests.faults.scenarios import SCENARIOS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_was_acknowledged_survives(name: str, memory_path: Path) -> None:
    """Checked whenever something was acknowledged, and before each change that follows."""
    run_directory = memory_path / "run"
    command = [sys.executable, "-m", "tests.faults.crashing", "trace", name, str(run_directory)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    disk = Disk(str(run_directory / "data"))
    facts: list[str] = []
    lines = (run_directory / "trace").read_text().splitlines()
    problems = []
    for number, line in enumerate(lines):
        what, arguments, result = json.loads(line)
        if what == "fact":
            facts.append(arguments[0])
        else:
            disk.apply(what, arguments, result)
        if what in {"fact", "fsync", "replace"}:
            remains = memory_path / f"remains-{number}"
            disk.after_power_cut(remains)
            try:
                check_remains(remains, facts)
            except AssertionError as error:
                problems.append(f"after {number} of {len(lines)} ({what}): {error}")
    assert not problems, f"{len(problems)} times, first {problems[0]}"


def check_remains(root: Path, facts: list[str]) -> None:
    ledger = Ledger.replay(facts)
    for fact, values in ledger.possible.items():
        if None in values:
            values.add(_before(facts, fact.name))  # deletes need not be durable
    with in_process(root) as client:
        check(client, ledger)
    directory.purge_everything(root)
    assert directory.sessions(root) == []


def _before(facts: list[str], name: str) -> str | None:
    """What the name stood for before it was deleted, if ever it stood for something."""
    values = [json.loads(line)[4] for line in facts if json.loads(line)[3] == name]
    return next((value for value in reversed(values) if value is not None), None)
