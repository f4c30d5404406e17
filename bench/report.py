"""Results: kept as JSON, shown as one table, compared with those of another run."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.bodies import MIB
from bench.measure import Sample
from bench.rows import Goal, Row

OURS = "lading"
THEIRS = "distribution"

Samples = dict[str, list[Sample]]
"""By system; one for each round, in order."""


@dataclass
class Results:
    meta: dict[str, Any]
    samples: dict[str, Samples] = field(default_factory=dict)
    """By row name."""

    def add(self, row: str, system: str, sample: Sample) -> None:
        self.samples.setdefault(row, {}).setdefault(system, []).append(sample)

    def save(self, path: Path) -> None:
        rows = {
            name: {system: [dataclasses.asdict(each) for each in found] for system, found in samples.items()}
            for name, samples in self.samples.items()
        }
        path.write_text(json.dumps({"meta": self.meta, "rows": rows}, indent=1))

    @staticmethod
    def load(path: Path) -> Results:
        document = json.loads(path.read_text())
        samples = {
            name: {system: [Sample(**each) for each in found] for system, found in by_system.items()}
            for name, by_system in document["rows"].items()
        }
        return Results(document["meta"], samples)


@dataclass(frozen=True)
class Spread:
    """Of the ratios of rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.low)}–{_short(self.high)})"


def ratio(samples: Samples, figure: Callable[[Sample], float]) -> Spread | None:
    """Ours to theirs, round by round."""
    pairs = zip(samples.get(OURS, []), samples.get(THEIRS, []), strict=False)
    ratios = [figure(ours) / figure(theirs) for ours, theirs in pairs if figure(ours) and figure(theirs)]
    return Spread(statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


def cpu_cost(row: Row) -> Callable[[Sample], float]:
    """0 where nothing was done."""
    return lambda sample: sample.cpu / row.divisor(sample.operations) if sample.operations else 0.0


HEADINGS = (
    "work",
    "req/s (MB/s)",
    "ratio",
    "p50 ms",
    "p99 ms",
    "CPU s/1000 (s/GB)",
    "ratio",
    "client CPU s",
    "peak MiB",
    "goals, and marks",
)


def table(rows: list[Row], results: Results) -> list[list[str]]:
    """Cells with a slash have Lading's figure first; figures are medians over the rounds."""
    lines = []
    for row in rows:
        samples = results.samples.get(row.name)
        if samples is not None:
            lines.append(_line(row, samples, results))
    return lines


def _line(row: Row, samples: Samples, results: Results) -> list[str]:
    cost = cpu_cost(row)
    if row.counted:
        shown = [_both(samples, _requests), str(ratio(samples, _requests) or ""), *[""] * 6]
        return [row.name, *shown, "; ".join(marks(row, samples, results))]
    errors = sum(sample.errors for found in samples.values() for sample in found)
    return [
        row.name,
        _both(samples, lambda sample: sample.rate * row.size / 1e6 if row.size else sample.rate),
        str(ratio(samples, lambda sample: sample.rate) or ""),
        _both(samples, lambda sample: sample.p50 * 1000),
        _both(samples, lambda sample: sample.p99 * 1000),
        _both(samples, cost),
        str(ratio(samples, cost) or ""),
        _both(samples, lambda sample: sample.client_cpu / row.divisor(max(sample.operations, 1))),
        _both(samples, lambda sample: sample.peak / MIB),
        "; ".join([*marks(row, samples, results), *([f"{errors} ERRORS"] if errors else [])]),
    ]


def marks(row: Row, samples: Samples, results: Results) -> list[str]:
    """Whether each goal is reached; and what Distribution does better, goal or none."""
    found = []
    for goal in row.goals:
        reached = _reached(goal, row, samples, results)
        if reached is not None:
            found.append(f"{goal} {'ok' if reached else 'MISSED'}")
    if row.counted:
        return found
    rate, cost = ratio(samples, lambda sample: sample.rate), ratio(samples, cpu_cost(row))
    if rate is not None and rate.median < 1:
        found.append("SLOWER")
    if cost is not None and cost.median > 1:
        found.append("COSTLIER")
    return found


def _reached(goal: Goal, row: Row, samples: Samples, results: Results) -> bool | None:
    """None where it cannot be told."""
    if goal.metric in {"rate", "cpu", "requests"}:
        figures = {"rate": _rate, "cpu": cpu_cost(row), "requests": _requests}
        spread = ratio(samples, figures[goal.metric])
        if spread is None:
            return None
        return spread.median >= goal.bound if goal.metric == "rate" else spread.median <= goal.bound
    ours = samples.get(OURS)
    if not ours:
        return None
    if goal.metric == "memory":
        workers = int(results.meta.get("cpus", 1))
        return statistics.median(sample.peak - sample.idle for sample in ours) <= goal.bound * workers
    first = results.samples.get(goal.other, {}).get(OURS)
    if not first:
        return None
    if goal.metric == "share":
        return _median(ours, lambda sample: sample.rate) >= goal.bound * _median(first, lambda sample: sample.rate)
    return _median(ours, lambda sample: sample.p50) <= goal.bound * _median(first, lambda sample: sample.p50)


def text(rows: list[Row], results: Results) -> str:
    cells = [list(HEADINGS), *table(rows, results)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in [*summary(results), "", *lines])


def markdown(rows: list[Row], results: Results) -> str:
    lines = [f"- {line}" for line in summary(results)]
    lines += ["", f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    for cells in table(rows, results):
        marked = [f"**{cells[0]}**" if _bad(cells[-1]) else cells[0], *cells[1:]]
        lines.append(f"| {' | '.join(marked)} |")
    return "\n".join(lines)


def _bad(mark: str) -> bool:
    return any(word in mark for word in ("MISSED", "SLOWER", "COSTLIER", "ERRORS"))


def summary(results: Results) -> list[str]:
    meta = results.meta
    return [
        f"{' against '.join(meta['systems'])}; revision {meta['revision']}; {meta['date']}",
        f"{meta['rounds']} rounds of {meta['seconds']:g} s a row, one registry after the other, in turns",
        f"{meta['cpus']} CPUs ({meta['cpu']}), which the load generators share; Linux {meta['kernel']}",
        f"Data: {meta['disk']}",
        f"Load average before: {meta['load']}; the whole run took {meta.get('took', 0) / 60:.1f} minutes",
        f"Load generators: {meta['tools']}; object store: {meta.get('store', '')}",
        *meta["notes"],
    ]


def compare(rows: list[Row], results: Results, earlier: Results) -> str:
    """Lading then and now, with the ratio of each to the Distribution of its own run."""
    header = f"{'Lading, then → now (' + earlier.meta['date'] + ')':44}"
    lines = [
        f"{header} {'req/s':>22} {'×':>6}  {'to Distribution':>16}  {'CPU s':>18} {'×':>6}  {'to Distrib.':>14}"
    ]
    for row in rows:
        now, then = results.samples.get(row.name, {}), earlier.samples.get(row.name, {})
        if row.counted or not now.get(OURS) or not then.get(OURS):
            continue
        cells = f"{row.name:44}"
        for figure, width in ((_rate, 22), (cpu_cost(row), 18)):
            old, new = _median(then[OURS], figure), _median(now[OURS], figure)
            before, after = ratio(then, figure), ratio(now, figure)
            change = f"{new / old:6.2f}" if old else "     –"
            shares = f"{_short(before.median)} → {_short(after.median)}" if before and after else ""
            cells += f" {f'{_short(old)} → {_short(new)}':>{width}} {change}  {shares:>16}"
        lines.append(cells)
    return "\n".join(lines)


def _rate(sample: Sample) -> float:
    return sample.rate


def _requests(sample: Sample) -> float:
    """To the store, for one operation."""
    return sample.requests / sample.operations if sample.operations else 0.0


def _median(samples: list[Sample], figure: Callable[[Sample], float]) -> float:
    return statistics.median(map(figure, samples))


def _both(samples: Samples, figure: Callable[[Sample], float]) -> str:
    return " / ".join(_short(_median(samples[system], figure)) for system in (OURS, THEIRS) if samples.get(system))


def _short(value: float) -> str:
    """Three digits that count."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 or value == 0 else f"{value:.4f}"
