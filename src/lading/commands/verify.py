"""`lading verify`: whether all that is stored is what it should be."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from dataclasses import asdict, dataclass, field

from lading import build
from lading.compose.error import BuildError
from lading.compose.storage import storage
from lading.config.load import load
from lading.registry import layout
from lading.registry.ports import PathNotFoundError, Storage, StorageError
from lading.registry.verify import Finding, Repair, Verification

STATE = f"{layout.ROOT}/_lading/verify.json"
"""Where it is, and what it has found, while it has not come to its end."""

NOTED_SECONDS = 10.0
"""How often that is written."""

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
    findings: list[Finding] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)


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
        # What was collected as garbage and is needed all the same is no fault: it comes back.
        held = storage(loaded.configuration, serving=True)
        state = asyncio.run(_verify(held, options))
    except (BuildError, StorageError) as error:
        print(f"failed to verify: {error}", file=sys.stderr)
        return 1
    if options.json:
        document = asdict(state)
        del document["position"]
        print(json.dumps(document, indent=2))
    else:
        for finding in state.findings:
            print(f"{'' if finding.harmful else 'note: '}{finding.key}: {finding.what}")
        harmful = sum(finding.harmful for finding in state.findings)
        print(f"{harmful} faults, {len(state.quarantined)} things put into quarantine")
    return 1 if any(finding.harmful for finding in state.findings) else 0


async def _verify(held: Storage, options: argparse.Namespace) -> _State:
    state = _State() if options.restart else await _load(held)
    pace, repair, noted = _Pace(options.rate), Repair(held), time.monotonic()
    work = Verification(held, pace, state.position)
    if options.repair:
        # What was found by one that stopped, and only looked.
        left = [finding for finding in state.findings if finding.key not in state.quarantined]
        state.quarantined += [finding.key for finding in left if await repair.put_away(finding)]
    told = not options.json and sys.stderr.isatty()
    async for findings in work.units():
        state.findings += findings
        if options.repair:
            state.quarantined += [finding.key for finding in findings if await repair.put_away(finding)]
        if time.monotonic() - noted > NOTED_SECONDS:
            noted = time.monotonic()
            await _save(held, state, work.position)
            if told:
                print(
                    f"\r{work.blobs} blobs, {work.repositories} repositories", end="", file=sys.stderr, flush=True
                )
    with contextlib.suppress(PathNotFoundError):
        await held.delete(STATE)
    return state


async def _load(held: Storage) -> _State:
    try:
        document = json.loads(await held.get(STATE))
        findings = [Finding(**finding) for finding in document["findings"]]
        return _State(document["position"], findings, document["quarantined"])
    except (PathNotFoundError, ValueError, KeyError, TypeError):
        return _State()


async def _save(held: Storage, state: _State, position: str) -> None:
    state.position = position
    await held.put(STATE, json.dumps(asdict(state)).encode(), durable=False)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number of megabytes, more than 0")
    return rate
