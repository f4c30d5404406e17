"""The comparison itself: a tiny run of Lading alone, and the readings of what load tools say."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.__main__ import main
from bench.measure import Sample
from bench.procfs import Tree, watched
from bench.report import Results
from bench.rows import GROUPS, rows
from bench.servers import BenchError
from tests.servers.peers import executable

from bench import bodies, report, stores, tools

ROOT = Path(__file__).parents[2]

WRK = """\
Running 2s test @ http://127.0.0.1:5400/v2/
  1 threads and 16 connections
  Latency Distribution
     50%  799.00us
     75%    1.27ms
     90%    1.86ms
     99%    5.03ms
  16589 requests in 2.00s, 2.99MB read
  Socket errors: connect 1, read 2, write 0, timeout 4
  Non-2xx or 3xx responses: 10
Requests/sec:   8294.50
"""

OHA = {
    "summary": {"total": 2.0},
    "latencyPercentiles": {"p50": 0.001, "p99": 0.02},
    "statusCodeDistribution": {"200": 90, "404": 10},
    "errorDistribution": {"aborted due to deadline": 16, "connection refused": 3},
}


def test_wrk_is_read() -> None:
    load = tools.wrk_report(WRK, 0.5)
    assert (load.operations, load.seconds, load.client_cpu, load.errors) == (16589, 2.0, 0.5, 17)
    assert (load.p50, load.p99) == pytest.approx((0.000799, 0.00503))


def test_wrk_that_says_something_else_is_an_error() -> None:
    with pytest.raises(BenchError):
        tools.wrk_report("unable to connect", 0.0)


def test_oha_is_read() -> None:
    load = tools.oha_report(json.dumps(OHA), 0.5)
    assert (load.operations, load.seconds, load.p50, load.p99) == (100, 2.0, 0.001, 0.02)
    assert load.errors == 13  # what was under way at the end is none


@pytest.mark.parametrize("size", [bodies.TAIL, bodies.KIB, 9 * bodies.MIB + 5])
def test_blobs_are_what_their_digests_say_and_never_the_same(size: int) -> None:
    blob = bodies.blob(size)
    data = blob.whole()
    assert len(data) == size
    assert blob.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert blob.digest != bodies.blob(size).digest


def test_costs_of_children_are_counted() -> None:
    tree = Tree(os.getpid())
    before = tree.cpu_seconds()
    command = "import time; kept = b'x' * 50_000_000; sum(range(5_000_000)); time.sleep(0.5)"
    with watched(tree) as peak:
        child = subprocess.Popen([sys.executable, "-c", command])
        child.wait()
    assert tree.cpu_seconds() > before
    assert peak.bytes > 50_000_000


def test_rows_are_told_apart_by_name_and_belong_to_a_group() -> None:
    found = rows()
    names = [row.name for row in found]
    assert len(set(names)) == len(names)
    assert {row.group for row in found} == set(GROUPS)
    assert {goal.other for row in found for goal in row.goals} - {""} <= set(names)


def test_lost_rows_and_missed_goals_are_marked() -> None:
    row = next(row for row in rows() if row.name == "GET blob 10 MiB, c=1")
    results = Results({"cpus": 2})
    for rate in (90, 50, 110):
        results.add(row.name, "lading", sample(operations=rate))
        results.add(row.name, "distribution", sample(operations=100))
    spread = report.ratio(results.samples[row.name], lambda each: each.rate)
    assert spread is not None
    assert (spread.median, spread.low, spread.high) == pytest.approx((0.9, 0.5, 1.1))
    cells = report.table([row], results)[0]
    assert cells[0] == row.name
    assert cells[-1] == "rate ≥ 1 × MISSED; cpu ≤ 0.7 × MISSED; SLOWER; COSTLIER"


@pytest.mark.parametrize(("asked", "mark"), [(99, "fewer requests ok"), (100, "fewer requests MISSED")])
def test_requests_to_a_store_are_compared_for_each_operation(asked: int, mark: str) -> None:
    row = next(row for row in rows() if row.name == "s3: store requests, pull image")
    results = Results({})
    results.add(row.name, "lading", dataclasses.replace(sample(operations=2), requests=2 * asked))
    results.add(row.name, "distribution", dataclasses.replace(sample(operations=1), requests=100))
    cells = report.table([row], results)[0]
    assert (cells[1], cells[-1]) == (f"{asked:.1f} / 100" if asked < 100 else "100 / 100", mark)


def test_rows_of_one_kind_of_storage_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    def listed(*only: str) -> list[str]:
        assert main([*only, "--list"]) == 0
        return capsys.readouterr().out.splitlines()

    both, disk, s3 = listed(), listed("--only", "disk"), listed("--only", "s3")
    assert s3
    assert all(name.startswith("s3: ") for name in s3)
    assert disk + s3 == both


def test_a_store_counts_what_it_is_asked(tmp_path: Path) -> None:
    executable("versitygw")
    (tmp_path / "files/a").mkdir(parents=True)
    for name in ("a/one", "two"):
        (tmp_path / "files" / name).write_bytes(b"data")
    with stores.storing(tmp_path / "objects", tmp_path / "logs", counted=True) as store:
        store.upload(tmp_path / "files")
        assert store.requests() == 2
    assert (tmp_path / "objects" / stores.BUCKET / "a/one").read_bytes() == b"data"


def sample(*, operations: int) -> Sample:
    return Sample(operations, 1.0, 0.001, 0.002, 0.5, 0.1, 1000, 2000, 0)


def bench(*arguments: str | Path) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.slow
def test_a_tiny_run(tmp_path: Path) -> None:
    """With Lading alone and the loader of its own, so that nothing has to be installed."""
    wanted = "start|range|10 MiB, c=1$|tags of 100, |push 1 KiB|PUT manifest|mix"
    kept = tmp_path / "run.json"
    page = tmp_path / "page.md"
    marks = "<!-- {0}: begin -->\nold\n<!-- {0}: end -->\n"
    page.write_text(f"before\n{marks.format('bench')}after\n{marks.format('bench s3')}")
    data = ["--dir", tmp_path / "data", "--systems", "lading", "--rounds", "1", "--seconds", "0.1"]
    bench("--rows", wanted, *data, "--json", kept)
    results = Results.load(kept)
    expected = bench("--rows", wanted, "--list").splitlines()
    assert set(results.samples) == set(expected)
    for name, found in results.samples.items():
        (one,) = found["lading"]
        assert one.operations > 0, name
        assert one.errors == 0, name
        assert 0 < one.p50 <= one.p99, name
        assert one.peak > 1_000_000, name
    shown = bench("--from-json", kept, "--compare", kept, "--markdown", page)
    assert all(name in shown for name in expected)
    assert page.read_text().startswith("before\n<!-- bench: begin -->\n- lading")
    assert "old" not in page.read_text()
    assert not list((tmp_path / "data").glob("work-*"))
