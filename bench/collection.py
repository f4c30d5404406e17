"""Garbage collection of a large storage: what it costs, beside the original's, and what pulls notice of it.

Commands first: a dry run and a real one of each registry, over the same directory, whose garbage is put back
each time. Then a registry that collects while it serves. Pulls come at a fixed rate; its collecting process is
stopped and goes on by turns of a few seconds, while it marks and while it puts away: so both kinds of turn see the
same machine.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.garbage import Tree
from bench.loader import Wire
from bench.measure import percentile
from bench.servers import SYSTEMS, BenchError, System, directory, serving

BLOBS = 1_000_000
FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lading/bench/collection"
QUARANTINE = "docker/registry/v2/_lading/quarantine"
CONNECTIONS = 4
START_SECONDS = 30.0
MARKING_SECONDS = 3600.0
COLLECTING = "{{garbagecollection: {{enabled: true, interval: 1s, grace: 1ms, quarantine: 100h, rate: {rate}}}}}"


@dataclass(frozen=True)
class Command:
    """One run of a registry's command. `peak` is its resident memory in bytes."""

    system: str
    dry_run: bool
    seconds: float
    cpu: float
    peak: int
    blobs: int
    """That it says are garbage."""


@dataclass
class Turns:
    """Of one phase: how long each pull took, in seconds, idle turns and others by turns."""

    idle: list[list[float]] = field(default_factory=list)
    during: list[list[float]] = field(default_factory=list)

    def percentiles(self, which: float) -> tuple[float, float]:
        """Of all pulls of the idle turns, and of all others. A turn alone has too few for a p99."""
        idle, during = (sorted(itertools.chain(*turns)) for turns in (self.idle, self.during))
        return percentile(idle, which), percentile(during, which)


@dataclass
class Online:
    """`marking` are seconds without those in which it was stopped. `peak` is in bytes."""

    marking: float = 0.0
    peak: int = 0
    turns: dict[str, Turns] = field(default_factory=dict)


def command(system: System, tree: Tree, folder: Path, *, dry_run: bool) -> Command:
    """Run the collector of a registry over the tree."""
    config = folder / f"{system.name}-collect.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tree.root}}}}}\nhttp: {{addr: 127.0.0.1:0}}\n"
    )
    told = folder / f"{system.name}-collect.out"
    arguments = [system.executable, "garbage-collect", *(["--dry-run"] if dry_run else []), str(config)]
    begun = time.perf_counter()
    with told.open("wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    text = told.read_text(errors="replace")
    found = re.search(r"^\d+ blobs marked, (\d+) blobs and", text, re.MULTILINE)
    if status or found is None:
        raise BenchError(f"{' '.join(arguments)} ended with {process.returncode}:\n{text[-2000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    return Command(system.title, dry_run, seconds, cpu, usage.ru_maxrss * 1024, int(found[1]))


class Pulls:
    """Pulls of images by chance, `rate` a second, over a few connections: a manifest, and two blobs of its own.

    A pull counts from the moment at which it was due, so waiting for the one before is part of it.
    """

    def __init__(self, port: int, tree: Tree, rate: float, seed: int) -> None:
        self._port, self._tree, self._rate, self._seed = port, tree, rate, seed
        self._until = threading.Event()
        self._lock = threading.Lock()
        self._taken: list[float] = []
        self._failure: Exception | None = None
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CONNECTIONS)]

    def __enter__(self) -> Pulls:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._until.set()
        for thread in self._threads:
            thread.join()

    def turn(self, seconds: float) -> list[float]:
        """Those of the next `seconds`."""
        with self._lock:
            self._taken.clear()
        time.sleep(seconds)
        with self._lock:
            taken = list(self._taken)
        if self._failure is not None:
            raise BenchError(f"a pull failed: {self._failure}") from self._failure
        if not taken:
            raise BenchError(f"no pull ended in {seconds:.0f} s")
        return taken

    def _run(self, number: int) -> None:
        wire, chance = Wire(self._port), random.Random(self._seed + number)  # noqa: S311
        interval = CONNECTIONS / self._rate
        due = time.perf_counter() + interval * number / CONNECTIONS
        try:
            while not self._until.wait(max(0.0, due - time.perf_counter())):
                self._pull(wire, chance.randrange(self._tree.images))
                with self._lock:
                    self._taken.append(time.perf_counter() - due)
                due += interval
        except Exception as failure:  # noqa: BLE001  told by `turn`
            self._failure = failure
        finally:
            wire.close()

    def _pull(self, wire: Wire, image: int) -> None:
        repository = f"/v2/{self._tree.name(image)}"
        wire.ask("GET", f"{repository}/manifests/{self._tree.tag(image)}")
        for digest in itertools.islice(self._tree.parts(image), 2):
            wire.ask("GET", f"{repository}/blobs/{digest}")


class _Collecting:
    """The process that collects: the only one of a registry's that reads and moves what nobody asks for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.stopped = 0.0
        self._since = 0.0

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        self._since = time.perf_counter()

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)
        self.stopped += time.perf_counter() - self._since

    def peak(self) -> int:
        """Its largest resident memory in bytes."""
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0


def online(system: System, tree: Tree, folder: Path, options: argparse.Namespace) -> Online:
    """A round of a registry that serves, with turns in both its phases."""
    done = Online()
    maintenance = COLLECTING.format(rate=options.rate)
    with serving(system, directory(tree.root), folder / "online", maintenance=maintenance) as running:
        log = folder / f"online/{system.name}.log"
        collecting = _Collecting(_busiest(running.tree.root, log))
        with Pulls(running.port, tree, options.pulls, tree.seed) as pulls:
            pulls.turn(options.seconds)  # what is cold at first is nobody's
            begun = time.perf_counter()
            done.turns["marking"] = _turns(collecting, pulls, options, lambda: not _puts_away(tree))
            _await(lambda: _puts_away(tree), MARKING_SECONDS, "the round did not end marking")
            done.marking = time.perf_counter() - begun - collecting.stopped + options.seconds
            time.sleep(options.seconds)
            done.turns["putting away"] = _turns(collecting, pulls, options, lambda: True)
        done.peak = collecting.peak()
    return done


def _puts_away(tree: Tree) -> bool:
    return any((tree.root / QUARANTINE).glob("*/*"))


def _busiest(parent: int, log: Path) -> int:
    """The process begins by itself: of the registry's children it is the one that uses the CPU."""
    _await(lambda: "garbage collection begins" in log.read_text(), START_SECONDS, "the registry does not collect")
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    time.sleep(2.0)
    return max(map(int, children), key=_ticks)


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _turns(
    collecting: _Collecting, pulls: Pulls, options: argparse.Namespace, goes_on: Callable[[], bool]
) -> Turns:
    """As many as wanted, or as long as the phase lasts."""
    turns = Turns()
    while len(turns.idle) < options.turns and goes_on():
        collecting.stop()
        try:
            idle = pulls.turn(options.seconds)
        finally:
            collecting.go_on()
        during = pulls.turn(options.seconds)
        if goes_on():
            turns.idle.append(idle)
            turns.during.append(during)
    return turns


def _await(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(what)
        time.sleep(0.05)


def _shown(blobs: int, commands: Sequence[Command], round_: Online | None) -> str:
    lines = [
        f"| {blobs:,} blobs | time | CPU | memory | garbage found |",
        "|---|---:|---:|---:|---:|",
    ]
    for run in commands:
        what = "dry run" if run.dry_run else "removal"
        memory = f"{run.peak / 1024**2:.0f} MiB"
        lines.append(
            f"| {run.system}, {what} | {run.seconds:.1f} s | {run.cpu:.1f} s | {memory} | {run.blobs:,} |"
        )
    if round_ is not None:
        lines.append(
            f"| Lading while serving, marking | {round_.marking:.1f} s | | {round_.peak / 1024**2:.0f} MiB | |"
        )
        lines += ["", "| pulls | turns | p50 idle | p50 during | p99 idle | p99 during | p99 ratio |"]
        lines.append("|---|---:|---:|---:|---:|---:|---:|")
        for phase, turns in round_.turns.items():
            lines.append(f"| while {phase} | {len(turns.idle)} | {_turn_cells(turns)} |")
    return "\n".join(lines)


def _turn_cells(turns: Turns) -> str:
    if not turns.idle:
        return " | ".join(["too short"] * 5)
    idle, during = turns.percentiles(0.99)
    shown = [f"{seconds * 1000:.1f} ms" for seconds in (*turns.percentiles(0.5), idle, during)]
    return " | ".join([*shown, f"{during / idle:.2f}"])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.collection", description=__doc__)
    parser.add_argument("--blobs", type=int, default=BLOBS, help="a tenth is garbage (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="of the data (default: %(default)s)")
    parser.add_argument("--systems", default="lading,distribution", help="default: %(default)s")
    parser.add_argument(
        "--rate", type=float, default=100.0, help="things put away a second (default: %(default)s)"
    )
    parser.add_argument("--pulls", type=float, default=50.0, help="a second (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=12, help="of each phase (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a turn (default: %(default)s)")
    parser.add_argument("--no-removal", action="store_true", help="of the commands only dry runs")
    parser.add_argument(
        "--dir", type=Path, default=FOLDER, help="where the data lies, and stays (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, default=Path("results/collection.json"), help="default: %(default)s")
    return parser.parse_args(arguments)


def _prepared(options: argparse.Namespace) -> Tree:
    """The tree, with its garbage, and nothing in quarantine."""
    tree = Tree(options.dir / f"{options.blobs}-{options.seed}", options.blobs, options.seed)
    stamp = tree.root / "complete"
    if not stamp.exists():
        _say(f"writing {options.blobs:,} blobs to {tree.root}")
        tree.write()
        stamp.touch()
    return tree


def _restore(tree: Tree) -> None:
    """Put back what a collection has taken away."""
    shutil.rmtree(tree.root / QUARANTINE, ignore_errors=True)
    tree.write_garbage()


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    commands: list[Command] = []
    try:
        systems = [SYSTEMS[name]() for name in options.systems.split(",")]
        options.dir.mkdir(parents=True, exist_ok=True)
        tree = _prepared(options)
        with tempfile.TemporaryDirectory(prefix="collection-", dir=options.dir) as place:
            for dry_run, system in itertools.product((True, False)[: 1 if options.no_removal else 2], systems):
                _restore(tree)
                _say(f"{system.name}: {'dry run' if dry_run else 'removal'}")
                commands.append(command(system, tree, Path(place), dry_run=dry_run))
                print(commands[-1], file=sys.stderr)
            _restore(tree)
            _say("lading: collecting while it serves")
            done = online(SYSTEMS["lading"](), tree, Path(place), options)
            _restore(tree)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(_shown(options.blobs, commands, done))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    meta = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(),
        "load": os.getloadavg(),
        "blobs": options.blobs,
    }
    whole = {"meta": meta, "commands": [asdict(run) for run in commands], "online": asdict(done)}
    options.json.write_text(json.dumps(whole, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
