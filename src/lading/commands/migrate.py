"""`lading migrate check`: what becomes of a registry of the original's, before anything is touched."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

from lading.compose.check import check
from lading.compose.error import BuildError
from lading.compose.storage import opened
from lading.config import show
from lading.config.differences import BETTER, NO_EFFECT
from lading.config.load import Loaded, read
from lading.config.models.storage import FilesystemParameters
from lading.config.problems import ConfigurationError, Path, dotted, printable
from lading.registry import layout
from lading.registry.ports import StorageError
from lading.registry.survey import MEANING, SHOWN, Survey, survey


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("migrate", help="move over from Distribution")
    ways = parser.add_subparsers(dest="way", metavar="COMMAND", required=True)
    checking = ways.add_parser(
        "check",
        help="tell what of a configuration and its storage is the same, better or refused; changes nothing",
    )
    checking.add_argument("config", nargs="?", metavar="FILE", help="the configuration file of Distribution")
    checking.add_argument("--no-storage", action="store_true", help="do not look at what is stored")
    checking.add_argument("--json", action="store_true", help="as JSON")
    checking.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    verdict = check(options.config)
    report: dict[str, Any] = {
        "source": verdict.source,
        "same": [],
        "better": {},
        "without_effect": [],
        "refused": verdict.problems,
        "warned": verdict.warnings,
        "storage": None,
    }
    with contextlib.suppress(ConfigurationError):  # then nothing can be read: that is told above
        loaded = read(options.config)
        if all(path != ("storage",) for path, _ in loaded.wrong):
            _keys(loaded, verdict.refused, report)
            asked = not options.no_storage and all(path[0] != "storage" for path, _ in loaded.wrong)
            report["storage"] = _storage(loaded) if asked else None
    print(json.dumps(report, indent=2) if options.json else _told(report))
    return int(_stands_in_the_way(report))


def _stands_in_the_way(report: dict[str, Any]) -> bool:
    return bool(report["refused"]) or "error" in (report["storage"] or {})


def _keys(loaded: Loaded, refused: list[Path], report: dict[str, Any]) -> None:
    """Those that are set, by what becomes of them."""
    for each in show.shown(loaded):
        path = dotted(each.path)
        if each.source == show.DEFAULT or any(_goes_with(each.path, key) for key in refused):
            continue
        if path in BETTER:
            report["better"][path] = BETTER[path]
        elif path in NO_EFFECT:
            report["without_effect"].append(path)
        else:
            report["same"].append(path)


def _goes_with(path: Path, refused: Path) -> bool:
    """Whether a key is refused with another: one is below the other, or both are of one element of a list."""
    same = [a for a, b in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(path, refused, strict=False))]
    return 0 < len(same) == min(len(path), len(refused)) or any(isinstance(step, int) for step in same)


def _storage(loaded: Loaded) -> dict[str, Any] | None:
    """None where the configuration does not lead to one: what is wrong with it has been told."""
    driver = loaded.configuration.storage.driver
    try:
        found = asyncio.run(_survey(loaded))
    except BuildError:
        return None
    except StorageError as error:
        return {"driver": driver, "error": str(error)}
    if unwritable := _unwritable(loaded):
        return {"driver": driver, "error": f"{unwritable} cannot be written by this user"}
    return {
        "driver": driver,
        "repositories": found.repositories,
        "tags": found.tags,
        "uploads": found.uploads,
        "media_types": dict(sorted(found.media_types.items())),
        "findings": {
            kind: {"meaning": MEANING[kind], "count": found.counts[kind], "first": named}
            for kind, named in sorted(found.findings.items())
        },
    }


def _unwritable(loaded: Loaded) -> str:
    """The folder of the `filesystem` driver that a push would fail in, "" if there is none."""
    storage = loaded.configuration.storage
    if storage.driver != "filesystem" or storage.maintenance.readonly.enabled:
        return ""
    root = FilesystemParameters.of(storage.parameters).rootdirectory
    for folder in (layout.REPOSITORIES, layout.BLOBS):
        path = f"{root.rstrip('/')}{folder}"
        there = path
        while there and not os.path.lexists(there):
            there = os.path.dirname(there)
        for each in _written_to(path) if there == path else [there or "."]:
            if not os.access(each, os.W_OK | os.X_OK):
                return each
    return ""


def _written_to(top: str) -> Iterator[str]:
    """A folder, and those below it in which pushes make others: none that belongs to one blob, tag or link."""
    for folder, below, _ in os.walk(top):
        yield folder
        *above, _ = os.path.relpath(folder, top).split(os.sep)
        if any(step in layout.PARTS for step in above) or (above and top.endswith(layout.BLOBS)):
            below.clear()


async def _survey(loaded: Loaded) -> Survey:
    async with opened(loaded.configuration) as storage:
        return await survey(storage)


def _told(report: dict[str, Any]) -> str:
    lines = [f"Configuration: {printable(report['source'])}"]
    lines.append(f"  {len(report['same'])} settings do what they did")
    lines += [f"  better: {path}: {what}" for path, what in report["better"].items()]
    lines += [f"  accepted, without effect: {path}" for path in report["without_effect"]]
    lines += [f"  warning: {line}" for line in report["warned"]]
    lines += [f"  refused: {line}" for line in report["refused"]]
    stored = report["storage"]
    if stored is not None:
        lines.append(f"Storage: {stored['driver']}")
        lines += [f"  error: {stored['error']}"] if "error" in stored else list(_stored(stored))
    lines.append(
        "Lading cannot take over." if _stands_in_the_way(report) else "Lading can take over, and give back."
    )
    return "\n".join(lines)


def _stored(stored: dict[str, Any]) -> list[str]:
    lines = [
        f"  {stored['repositories']} repositories, {stored['tags']} tags, {stored['uploads']} uploads under way"
    ]
    lines += [f"  {count} x {kind}" for kind, count in stored["media_types"].items()]
    for finding in stored["findings"].values():
        lines.append(f"  {finding['count']} {finding['meaning']}")
        lines += [f"    {printable(name)}" for name in finding["first"]]
        if finding["count"] > SHOWN:
            lines.append(f"    and {finding['count'] - SHOWN} more")
    return lines
