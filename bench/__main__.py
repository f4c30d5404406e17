"""Lading and Distribution in alternation on the same disk: `python -m bench`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import mmap
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import report, seed, stores, tools
from bench.bodies import GIB, MIB, noise
from bench.guards import guard
from bench.measure import Sample, measure
from bench.report import Results
from bench.rows import COUNTED, COUNTED_PUSH, GROUPS, LISTS, ON_S3, PUSH, REDIRECTED, STORED_PUSH, Row, Scene, rows
from bench.seed import Seed
from bench.servers import NOTES, SYSTEMS, BenchError, System, directory, serving
from bench.stores import BUCKET
from bench.work import Work

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lading/bench"
TMPFS = Path("/dev/shm/lading-bench")  # noqa: S108  a file system in memory is what is asked for

TOUCHED_BYTES = 4 * GIB
"""Memory that is used once before data is pushed. A virtual machine gets memory from its host at the first touch;
where that fell to the page cache it would be counted as the registry's CPU time, up to 2.5 s for each GB."""

LIST_SECONDS = 1.0
"""A page of 100,000 may take seconds in itself: more of them tell nothing more."""


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rows", default="", metavar="REGEX", help="only the rows whose names match")
    parser.add_argument("--only", choices=("disk", "s3"), help="the rows of one kind of storage (default: both)")
    parser.add_argument("--list", action="store_true", help="name the rows and do nothing")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="of load for each row (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="one round of a second a row, fewer rows: two minutes"
    )
    parser.add_argument("--systems", default="lading,distribution", help="default: %(default)s")
    parser.add_argument("--tmpfs", action="store_true", help=f"data in memory ({TMPFS}), not on the disk")
    parser.add_argument("--dir", type=Path, default=CACHE, help="where the data lies (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("results/bench.json"), help="default: %(default)s")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="the JSON of an earlier run")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the table between this page's markers")
    parser.add_argument("--from-json", type=Path, metavar="FILE", help="measure nothing: show this run")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, min(options.seconds, 1.0)
    chosen = [
        row
        for row in rows()
        if re.search(options.rows, row.name)
        and (row.quick or not options.quick)
        and (options.only is None or (row.group in ON_S3) == (options.only == "s3"))
    ]
    if options.list:
        print(*(row.name for row in chosen), sep="\n")
        return 0
    try:
        if options.from_json:
            results = Results.load(options.from_json)
        else:
            results = _run(options, chosen)
            options.json.parent.mkdir(parents=True, exist_ok=True)
            results.save(options.json)
        print(report.text(chosen, results))
        if options.markdown:
            for mark, on_s3 in (("bench", False), ("bench s3", True)):
                shown = [row for row in chosen if (row.group in ON_S3) == on_s3 and row.name in results.samples]
                if shown:
                    _put_table(options.markdown, mark, report.markdown(shown, results))
        if options.compare:
            print("", report.compare(chosen, results, Results.load(options.compare)), sep="\n")
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace, chosen: list[Row]) -> Results:
    systems = [SYSTEMS[name]() for name in options.systems.split(",")]
    folder: Path = TMPFS if options.tmpfs else options.dir
    folder.mkdir(parents=True, exist_ok=True)
    noise()
    tools.install({row.tool for row in chosen})
    results = Results(_meta(options, systems, folder))
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="work-", dir=folder))
    try:
        _say("writing the data to read, if it is not there yet")
        data = seed.prepare(
            folder / "seed",
            many=any(row.group == LISTS for row in chosen),
            upload=_upload if any(row.group in ON_S3 for row in chosen) else None,
        )
        os.sync()
        for number in range(1, options.rounds + 1):
            order = systems if number % 2 else systems[::-1]
            for group in GROUPS:
                wanted = [row for row in chosen if row.group == group]
                for system in order if wanted else ():
                    _say(f"round {number} of {options.rounds}: {group}, {system.name}")
                    _play(system, wanted, results, data, work, options.seconds)
    finally:
        shutil.rmtree(TMPFS if options.tmpfs else work, ignore_errors=True)
    results.meta["took"] = time.monotonic() - began
    return results


def _play(system: System, wanted: list[Row], results: Results, data: Seed, work: Path, seconds: float) -> None:
    """One group on one registry, newly started."""
    group = wanted[0].group
    pushed = work / "pushed"
    read = data.objects if group in ON_S3 else data.few
    root = {LISTS: data.many, PUSH: pushed, STORED_PUSH: pushed, COUNTED_PUSH: pushed}.get(group, read)
    # Not on the disk that is measured.
    files = Path(tempfile.mkdtemp(prefix="lading-bench-", dir="/dev/shm"))
    try:
        if any(row.pushes and row.size >= MIB for row in wanted):
            _touch_memory()
        asked = guard(group, work / "guard")
        with contextlib.ExitStack() as stack:
            store, storage = None, ""
            if group in ON_S3:
                store = stack.enter_context(stores.storing(root, work / "run", counted=group in COUNTED))
                storage = store.storage(redirects=group in {REDIRECTED, *COUNTED})
            running = stack.enter_context(serving(system, storage or directory(root), work / "run", asked.section))
            length = min(seconds, LIST_SECONDS) if group == LISTS else seconds
            scene = Scene(running, data, length, files, asked.headers, store.port if store else 0)
            for row in wanted:
                if row.load is None:
                    sample = _start(running.started_in, running.start_cpu, running.idle)
                else:
                    before = store.requests() if store else 0
                    sample = _measured(row.load, scene)
                    if store is not None:
                        sample = dataclasses.replace(sample, requests=store.requests() - before)
                results.add(row.name, system.name, sample)
                if row.pushes:
                    # Neither the next row nor the other registry is to wait for this one's data.
                    _empty(root / BUCKET if store else root)
    finally:
        shutil.rmtree(files)
        shutil.rmtree(work / "pushed", ignore_errors=True)


def _upload(files: Path, folder: Path) -> None:
    with stores.storing(folder, folder) as store:
        store.upload(files)


def _measured(load: Work, scene: Scene) -> Sample:
    """A load that fails is a row with an error, not the end of the run."""
    try:
        return measure(scene.running, lambda: load(scene))
    except (BenchError, OSError) as error:
        _say(f"failed: {error}")
        idle = scene.running.idle
        return Sample(0, 0.0, 0.0, 0.0, 0.0, 0.0, idle, idle, 1)


def _start(seconds: float, cpu: float, idle: int) -> Sample:
    return Sample(1, seconds, seconds, seconds, cpu, 0.0, idle, idle, 0)


def _touch_memory() -> None:
    available = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    size = min(TOUCHED_BYTES, int(available[1]) * 1024 // 4) if available else TOUCHED_BYTES
    mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def _empty(root: Path) -> None:
    for below in ("blobs", "repositories"):
        shutil.rmtree(root / "docker/registry/v2" / below, ignore_errors=True)
    os.sync()


def _meta(options: argparse.Namespace, systems: list[System], folder: Path) -> dict[str, object]:
    disk = _output(["findmnt", "-n", "-o", "FSTYPE,SOURCE", "--target", str(folder)])
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    revision = _output(["git", "describe", "--always", "--dirty"])
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "systems": [system.title for system in systems],
        "revision": revision,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": cpu[1] if cpu else platform.machine(),
        "kernel": platform.release(),
        "disk": f"{folder} on {' '.join(disk.split())}",
        "load": " ".join(f"{value:.2f}" for value in os.getloadavg()),
        "tools": tools.named(),
        "store": stores.version(),
        "notes": list(NOTES),
    }


def _output(command: list[str]) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    except OSError:
        return ""
    return run.stdout.strip()


def _put_table(page: Path, mark: str, table: str) -> None:
    start, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, _, rest = page.read_text().partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise BenchError(f"{page} has no {start} … {end}")
    page.write_text(f"{before}{start}\n{table}\n{end}{after}")


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
