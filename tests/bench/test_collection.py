"""The bench of garbage collection at a tiny size: both commands are run, the pulls and the turns are real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import collection

BLOBS, GARBAGE = 2000, 200


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_tiny_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = tmp_path / "result.json"
    flags = ["--blobs", str(BLOBS), "--systems", "lading", "--turns", "1", "--seconds", "0.5"]
    assert collection.main([*flags, "--dir", str(tmp_path), "--json", str(result)]) == 0
    measured = json.loads(result.read_text())
    assert [(run["dry_run"], run["blobs"]) for run in measured["commands"]] == [(True, GARBAGE), (False, GARBAGE)]
    turns = measured["online"]["turns"]["putting away"]
    assert len(turns["idle"]) == len(turns["during"]) == 1
    assert min(turns["idle"][0] + turns["during"][0]) > 0
    assert "| pulls | turns |" in capsys.readouterr().out
