"""`lading garbage-collect` as an operator meets it: on a terminal, interrupted, before what cannot be read."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest
from bench.garbage import Tree
from tests.servers.process import lading

BLOBS = 1200
GARBAGE = BLOBS // 10
BLOB_BYTES = 200
INTERRUPTED = 130


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "data", BLOBS)
    made.write()
    return made


@pytest.fixture
def config(tree: Tree, tmp_path: Path) -> Path:
    file = tmp_path / "config.yml"
    storage = f"storage: {{filesystem: {{rootdirectory: {tree.root}}}}}"
    file.write_text(f"version: 0.1\nlog: {{level: error}}\n{storage}\nhttp: {{addr: 127.0.0.1:0}}\n")
    return file


def run(config: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [lading().executable, "garbage-collect", *flags, str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def stored(tree: Tree) -> int:
    return sum(1 for _ in tree.root.glob("docker/registry/v2/blobs/*/*/*/data"))


def test_bytes_are_told_and_freed(tree: Tree, config: Path) -> None:
    before = stored(tree)
    done = run(config, "--dry-run")
    assert done.stderr == f"{GARBAGE * BLOB_BYTES} bytes would be freed\n"
    assert stored(tree) == before
    plan = json.loads(run(config, "--json").stdout)
    assert (plan["bytes"], len(plan["blobs"])) == (GARBAGE * BLOB_BYTES, GARBAGE)
    assert stored(tree) == before - GARBAGE


def test_reasons_are_told(tree: Tree, config: Path) -> None:
    plan = json.loads(run(config, "--json", "--dry-run").stdout)
    goes = plan["layers"][0]
    said = run(config, "--explain", goes["digest"]).stdout
    assert said.splitlines() == [
        f"{goes['digest']} goes, {BLOB_BYTES} bytes:",
        f"  {goes['repository']} has a link to it, but no manifest that refers to it",
    ]
    stays = next(tree.parts(0))
    said = run(config, "--explain", stays).stdout
    assert said.startswith(f"{stays} stays:\n  {tree.name(0)}: sha256:")
    assert run(config, "--explain", f"sha256:{'0' * 64}").stdout == f"sha256:{'0' * 64} is not stored\n"


def test_a_terminal_shows_how_far_it_is_and_keeps_nothing_of_it(config: Path) -> None:
    ours, theirs = pty.openpty()
    command = [lading().executable, "garbage-collect", "--quiet", str(config)]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs) as running:
        assert running.wait(60) == 0
    os.close(theirs)
    said = os.read(ours, 64 * 1024).decode()
    os.close(ours)
    assert f" of {GARBAGE + GARBAGE // 2} removed" in said or "things looked at" in said
    assert said.endswith("\r\x1b[K")


def test_an_interrupted_one_is_told_in_a_line_and_the_next_ends_it(tree: Tree, config: Path) -> None:
    before = stored(tree)
    command = [lading().executable, "garbage-collect", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        running.stdout.readline()
        # What it has to say is more than a pipe holds: it is still there.
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=60)[1]
    assert (said, running.returncode) == (
        "interrupted: what is left is found by the next collection\n",
        INTERRUPTED,
    )
    assert run(config, "--quiet").returncode == 0
    assert stored(tree) == before - GARBAGE


def test_what_cannot_be_read_is_named_and_nothing_goes(tree: Tree, config: Path) -> None:
    before = stored(tree)
    # A link to itself: not even root can list that.
    loop = tree.root / "docker/registry/v2/repositories" / tree.name(0) / "_manifests/revisions/sha512"
    loop.symlink_to(loop.name)
    done = run(config, "--quiet")
    assert (done.returncode, stored(tree)) == (1, before)
    assert done.stderr.startswith("failed to garbage collect: ")
    assert "_manifests/revisions/sha512" in done.stderr
    assert done.stderr.count("\n") == 1
