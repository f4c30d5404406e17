"""What the commands have in common that list, inspect and delete what a storage holds, without a server."""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

from lading import build
from lading.compose.error import BuildError
from lading.compose.retention import immutability
from lading.compose.storage import opened
from lading.config.load import load
from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.names import Reference, RepositoryName, Tag, is_tag, parse_reference
from lading.registry import layout
from lading.registry.ports import StorageError
from lading.registry.registry import Registry

Row = dict[str, Any]
Work = Callable[[Registry], Awaitable[int]]

NOTHING_DONE = "nothing was deleted"


def command(
    ways: Any, name: str, about: str, work: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """A subcommand that takes a configuration first, and prints JSON on request."""
    parser: argparse.ArgumentParser = ways.add_parser(name, help=about)
    parser.add_argument("config", metavar="FILE", help="configuration file, as for serve")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=work)
    return parser


def deleting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--dry-run", action="store_true", help="tell what would go, and delete nothing")
    parser.add_argument("-f", "--force", action="store_true", help="delete immutable tags, too")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask; needed where there is no terminal")


def run(options: argparse.Namespace, work: Work) -> int:
    """The status is 1, with one line, where something is not there or cannot be read, or must stay."""
    configuration = load(options.config).configuration
    build.configure_log(configuration)
    forced = getattr(options, "force", False)

    async def with_storage() -> int:
        # What was collected as garbage is looked at as a client sees it, and deleted with the rest.
        async with opened(configuration, serving=True) as storage:
            descriptors = build.shared_descriptors(configuration, storage)
            rule = None if forced else immutability(configuration)
            return await work(Registry.over(storage, descriptors=descriptors, immutability=rule))

    try:
        return asyncio.run(with_storage())
    except RegistryError as error:
        entry = error.entries[0]
        print(f"{entry.message or entry.code.message}: {entry.detail}", file=sys.stderr)
    except (BuildError, StorageError) as error:
        print(error, file=sys.stderr)
    return 1


async def repositories(registry: Registry, globs: Sequence[str]) -> AsyncIterator[RepositoryName]:
    """Those with a name that one of the globs matches, or all; `*` stands for slashes, too."""
    async for name in registry.repositories.walk(layout.MANIFESTS):
        if matches(name, globs):
            yield RepositoryName(name)


def matches(name: str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatch.fnmatchcase(name, glob) for glob in globs)


def show(rows: Sequence[Row], options: argparse.Namespace) -> None:
    """A table for people, a list of objects for programs."""
    if options.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print("\n".join(_table([list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)])))


def show_one(row: Row, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(row, indent=2))
    else:
        print(
            "\n".join(_table([[f"{key}:", _cell(value)] for key, value in row.items() if value not in ("", [])]))
        )


def _cell(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(lines: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


async def delete(
    things: Sequence[str], options: argparse.Namespace, one: Callable[[int], Awaitable[object]]
) -> int:
    """Ask, where that is wanted, then call `one` with the place of each thing. Returns the exit status.

    What has gone is told also where `one` raises.
    """
    if not things:
        print(f"nothing matches; {NOTHING_DONE}", file=sys.stderr)
        return 1
    if not (options.dry_run or options.yes):
        for thing in things:
            print(thing, file=sys.stderr)
        if not sys.stdin.isatty():
            print(f"--yes is needed where nobody can be asked; {NOTHING_DONE}", file=sys.stderr)
            return 2
        print(f"delete {len(things)}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            print(NOTHING_DONE, file=sys.stderr)
            return 1
    done: list[str] = []
    try:
        for place, thing in enumerate(things):
            if not options.dry_run:
                await one(place)
            done.append(thing)
            if not options.json:
                print(f"{'would delete' if options.dry_run else 'deleted'} {thing}")
    finally:
        if options.json:
            print(json.dumps({"dry_run": options.dry_run, "deleted": done}, indent=2))
    return 0


def named(text: str) -> tuple[RepositoryName, Reference]:
    """Of `team/app:1.0` or `team/app@sha256:…`."""
    name, at, reference = text.partition("@")
    if not at:
        name, _, reference = text.rpartition(":")
    try:
        return RepositoryName.parse(name), parse_reference(reference)
    except RegistryError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be NAME:TAG or NAME@DIGEST") from None


def repository(text: str) -> RepositoryName:
    try:
        return RepositoryName.parse(text)
    except RegistryError:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a repository") from None


def written(name: RepositoryName, reference: Reference) -> str:
    return f"{name}@{reference}" if isinstance(reference, Digest) else f"{name}:{reference}"


def tag_globs(text: str) -> tuple[RepositoryName, str]:
    """Of `team/app:1.*`."""
    name, colon, glob = text.rpartition(":")
    if not colon or not glob:
        raise argparse.ArgumentTypeError(f"{text!r}: must be NAME:TAG, or NAME:GLOB")
    return repository(name), glob


async def tags(registry: Registry, name: RepositoryName, glob: str) -> list[Tag]:
    """Raises MANIFEST_UNKNOWN where there is not the one that is named."""
    if is_tag(glob):
        await registry.tags.get(name, Tag(glob))
        return [Tag(glob)]
    return [tag for tag in await registry.tags.page(name) if fnmatch.fnmatchcase(tag, glob)]
