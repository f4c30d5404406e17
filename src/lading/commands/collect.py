"""`lading garbage-collect`: remove what nothing refers to, while nothing is pushed."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from lading import build
from lading.compose import maintenance
from lading.compose.error import BuildError
from lading.compose.retention import immutability
from lading.compose.storage import opened
from lading.config.load import load
from lading.config.models.configuration import Configuration
from lading.config.scalars import parse_duration
from lading.oci.digest import Digest, InvalidDigestError
from lading.registry import collect
from lading.registry.collecting import Collector
from lading.registry.garbage import Plan, Wish
from lading.registry.ports import StorageError

SHOWN_SECONDS = 0.2
"""Between two looks at the progress."""

BAR = 40
"""Characters."""

INTERRUPTED = 130
"""The exit status, as a shell tells it of a program that SIGINT ended."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "garbage-collect", help="remove what no manifest refers to; nothing must be pushed meanwhile"
    )
    parser.add_argument("config", nargs="?", metavar="FILE", help="configuration file, as for serve")
    parser.add_argument("-d", "--dry-run", action="store_true", help="do everything except remove the blobs")
    parser.add_argument(
        "-m",
        "--delete-untagged",
        action="store_true",
        help="delete manifests that are not currently referenced via tag",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but what is wrong")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--older-than",
        type=_duration,
        default=0.0,
        metavar="TIME",
        help="keep blobs that are younger, such as 24h",
    )
    parser.add_argument(
        "--explain", type=_digest, metavar="DIGEST", help="say why it stays or goes; removes nothing"
    )
    parser.add_argument(
        "--online",
        action="store_true",
        help="while the registry serves: put garbage into quarantine, delete what has been there for long",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.online and (options.dry_run or options.older_than or options.explain):
        print("--online takes the time from the configuration, and has no dry run or explanation", file=sys.stderr)
        return 2
    configuration = load(options.config).configuration
    build.configure_log(configuration)
    progress = _Progress()
    work = _online(options, configuration) if options.online else _offline(options, configuration, progress)
    try:
        return asyncio.run(work)
    except BuildError as error:
        print(f"failed to construct {configuration.storage.driver} driver: {error}", file=sys.stderr)
    except StorageError as error:
        progress.end()
        print(f"failed to garbage collect: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        progress.end()
        rest = "the next round goes on" if options.online else "what is left is found by the next collection"
        print(f"interrupted: {rest}", file=sys.stderr)
        return INTERRUPTED
    return 1


async def _offline(options: argparse.Namespace, configuration: Configuration, progress: _Progress) -> int:
    tell = progress if options.json or options.explain or options.quiet else print
    immutable = immutability(configuration)
    wish = Wish(options.delete_untagged, options.older_than, options.explain, immutable=immutable.has)
    async with opened(configuration) as held:
        made = await collect.plan(held, wish, tell)
        if not (options.dry_run or options.explain):
            await collect.apply(held, made, progress.removing(made.things))
    progress.end()
    for warning in made.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if options.json:
        print(json.dumps(_document(made, dry_run=options.dry_run), indent=2))
    elif options.explain:
        print("\n".join(_explained(made, options.explain)))
    elif not options.quiet:
        verb = "would be freed" if options.dry_run else "freed"
        print(f"{made.bytes} bytes {verb}", file=sys.stderr)
    return 0


async def _online(options: argparse.Namespace, configuration: Configuration) -> int:
    if configuration.storage.maintenance.readonly.enabled:
        print("--online: storage.maintenance.readonly.enabled is set", file=sys.stderr)
        return 2
    collecting = maintenance.rules_of_collection(configuration)
    if options.delete_untagged:
        collecting = replace(collecting, delete_untagged=True)
    async with opened(configuration) as held:
        if not held.traits.shared:
            print(f"--online: only one process sees what {held.name} holds", file=sys.stderr)
            return 2
        done = await Collector(held, collecting).round()
    if options.json:
        print(json.dumps(asdict(done), indent=2))
    elif not options.quiet:
        print(
            f"{done.put_away} things with {done.bytes} bytes put into quarantine, {done.restored} brought back, "
            f"{done.discarded} batches deleted"
        )
    return 0


def _document(made: Plan, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "marked": made.marked,
        "bytes": made.bytes,
        "manifests": [{"repository": doomed.repository, "digest": doomed.digest} for doomed in made.manifests],
        "blobs": [{"digest": digest, "size": size} for digest, size in made.blobs],
        "layers": [{"repository": name, "digest": digest} for name, digest in made.layers],
        "repositories": made.empty,
        "warnings": made.warnings,
    }


def _explained(made: Plan, digest: Digest) -> list[str]:
    if made.reasons:
        return [f"{digest} stays:", *(f"  {reason}" for reason in made.reasons)]
    sizes = dict(made.blobs)
    if digest not in sizes:
        return [f"{digest} is not stored"]
    lines = [f"{digest} goes, {sizes[digest]} bytes:"]
    lines += [f"  {d.repository}: no tag shows the manifest" for d in made.manifests if d.digest == digest]
    links = [
        f"  {name} has a link to it, but no manifest that refers to it" for name, d in made.layers if d == digest
    ]
    return [*lines, *links] if len(lines) > 1 or links else [*lines, "  no repository refers to it"]


class _Progress:
    """Says on a terminal how far it is: what was looked at, then how much of what goes is gone."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._lines = 0
        self._gone = 0
        self._shown = 0.0

    def __call__(self, _: str) -> None:
        """For a line that would have been printed."""
        self._lines += 1
        self._show(lambda: f"{self._lines} things looked at")

    def removing(self, total: int) -> Callable[[int], None]:
        """What to call for things that are gone, of `total`."""

        def advance(count: int) -> None:
            self._gone += count
            self._show(lambda: f"[{'#' * (BAR * self._gone // total):<{BAR}}] {self._gone} of {total} removed")

        return advance

    def end(self) -> None:
        """Nothing is left of it on the terminal."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _show(self, text: Callable[[], str]) -> None:
        if self._terminal and time.monotonic() - self._shown > SHOWN_SECONDS:
            self._shown = time.monotonic()
            print(f"\r\x1b[K{text()}", end="", file=sys.stderr, flush=True)


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidDigestError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error
