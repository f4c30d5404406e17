"""`lading verify`: whether all that is stored is what it should be."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import sys
import time
from dataclasses import asdict, dataclass, field

from lading import build
from lading.compose.error import BuildError
from lading.compose.storage import opened
from lading.config.load import load
from lading.config.models.configuration import Configuration
from lading.registry import layout
from lading.registry.ports import PathNotFoundError, Storage, StorageError
from lading.registry.verify import Finding, Repair, Verification

log = logging.getLogger(__name__)

STATE = f"{layout.ROOT}/_lading/verify.json"
"""Where it is, and what it has found, while it has not come to its end."""

NOTED_SECONDS = 10.0
"""How often that is written."""

DETAILS = 10_000
"""So many findings are held and noted; beyond them they are counted, and told on the way."""

MEGABYTE = 1_000_000


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("verify", help="read all that is stored, and tell what is not as it should be")
    parser.add_argument("config", metavar="FILE", help="configuration file, as for serve")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="put what is corrupt, and links to what is not there, into quarantine",
    )
    parser.add_argument("--rate", type=_rate, metavar="MB", help="read so many megabytes in a second, at most")
    parser.add_argument(
        "--restart", action="store_true", help="from the beginning, not where the last one stopped"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=_run)


@dataclass(slots=True)
class _State:
    position: str = ""
    repairs: bool = False
    faults: int = 0
    notes: int = 0
    """Findings that are not harmful."""
    put_away: int = 0
    findings: list[Finding] = field(default_factory=list)
    """`DETAILS` of them, as of `quarantined`."""
    quarantined: list[str] = field(default_factory=list)

    def add(self, finding: Finding, *, put_away: bool) -> None:
        self.faults += finding.harmful
        self.notes += not finding.harmful
        self.put_away += put_away
        if len(self.findings) < DETAILS:
            self.findings.append(finding)
        if put_away and len(self.quarantined) < DETAILS:
            self.quarantined.append(finding.key)


@dataclass(slots=True)
class _Pace:
    """As many bytes a second as allowed; None is no limit."""

    rate: float | None
    begun: float = field(default_factory=time.monotonic)
    bytes: int = 0

    async def __call__(self, count: int) -> None:
        self.bytes += count
        if self.rate is not None:
            ahead = self.bytes / (self.rate * MEGABYTE) - (time.monotonic() - self.begun)
            if ahead > 0:
                await asyncio.sleep(ahead)


def _run(options: argparse.Namespace) -> int:
    loaded = load(options.config)
    build.configure_log(loaded.configuration)
    try:
        state = asyncio.run(_verified(loaded.configuration, options))
    except (BuildError, StorageError) as error:
        print(f"failed to verify: {error}", file=sys.stderr)
        return 1
    if options.json:
        document = asdict(state)
        del document["position"], document["repairs"]
        print(json.dumps(document, indent=2))
    else:
        print(f"{state.faults} faults, {state.put_away} things put into quarantine")
    return 1 if state.faults else 0


async def _verified(configuration: Configuration, options: argparse.Namespace) -> _State:
    # What was collected as garbage and is needed all the same is no fault: it comes back.
    async with opened(configuration, serving=True) as held:
        return await _verify(held, options)


async def _verify(held: Storage, options: argparse.Namespace) -> _State:
    state = _State(repairs=options.repair) if options.restart else await _load(held, repairs=options.repair)
    pace, repair, noted = _Pace(options.rate), Repair(held), time.monotonic()
    work = Verification(held, pace, state.position)
    watched = not options.json and sys.stderr.isatty()
    if not options.json:
        for known in state.findings:
            _tell(known, watched=watched)
    can_note = True
    async for finding in work.units():
        if finding is not None:
            if not options.json:
                _tell(finding, watched=watched)
            state.add(finding, put_away=options.repair and await repair.put_away(finding))
        elif time.monotonic() - noted > NOTED_SECONDS:
            noted = time.monotonic()
            can_note = can_note and await _save(held, state, work.position)
            if watched:
                done = f"{work.blobs} blobs, {work.repositories} repositories"
                print(f"\r{done}", end="", file=sys.stderr, flush=True)
    with contextlib.suppress(PathNotFoundError):
        await held.delete(STATE)
    return state


def _tell(finding: Finding, *, watched: bool) -> None:
    if watched:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    print(f"{'' if finding.harmful else 'note: '}{finding.key}: {finding.what}", flush=True)


async def _load(held: Storage, *, repairs: bool) -> _State:
    """Where another one stopped; but what is to be put away is looked at, as somebody may have put it right."""
    try:
        document = json.loads(await held.get(STATE))
        document["findings"] = [Finding(**finding) for finding in document["findings"]]
        state = _State(**document)
    except (PathNotFoundError, ValueError, KeyError, TypeError):
        return _State(repairs=repairs)
    if repairs and not state.repairs:
        return _State(repairs=True)
    state.repairs = repairs
    return state


async def _save(held: Storage, state: _State, position: str) -> bool:
    """Whether it can be, which is no reason not to go on."""
    state.position = position
    try:
        await held.put(STATE, json.dumps(asdict(state)).encode(), durable=False)
    except StorageError as error:
        log.warning("cannot note where verification is, so that the next one begins anew: %s", error)
        return False
    return True


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number of megabytes, more than 0")
    return rate
