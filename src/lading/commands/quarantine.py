"""`lading quarantine`: what was taken out of the registry and is not gone, and its way back."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import sys
from collections.abc import Awaitable, Callable

from lading import build
from lading.compose.error import BuildError
from lading.compose.storage import opened
from lading.config.load import load
from lading.registry.ports import StorageError, found
from lading.registry.quarantine import Batch, Quarantine


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = commands.add_parser("quarantine", help="look at what was put aside, or bring it back")
    ways = about.add_subparsers(dest="way", metavar="COMMAND", required=True)
    listing = ways.add_parser("list", help="the batches, or what is in one")
    listing.add_argument("config", metavar="FILE", help="configuration file, as for serve")
    listing.add_argument("batch", nargs="?", metavar="BATCH", help="tell what is in this one")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)
    restoring = ways.add_parser("restore", help="bring back all of a batch, or what is named by digest")
    restoring.add_argument("config", metavar="FILE", help="configuration file, as for serve")
    restoring.add_argument("batch", metavar="BATCH")
    restoring.add_argument(
        "digests", nargs="*", metavar="DIGEST", help="bring back these alone, and links to them"
    )
    restoring.set_defaults(run=_restore)


def _list(options: argparse.Namespace) -> int:
    async def work(quarantine: Quarantine) -> int:
        if options.batch:
            batch = await _named(quarantine, options.batch)
            keys = sorted([key async for key, _ in quarantine.entries(batch)])
            print(json.dumps(keys, indent=2) if options.json else "\n".join(keys))
            return 0
        rows = []
        for batch in await quarantine.batches():
            sizes = []
            async for key, stat in quarantine.entries(batch):
                held = stat or await found(quarantine.storage, batch.key_of(key))
                sizes.append(0 if held is None else held.size)
            begun = datetime.datetime.fromtimestamp(batch.begun, datetime.UTC).isoformat(timespec="seconds")
            rows.append({"batch": batch.name, "begun": begun, "things": len(sizes), "bytes": sum(sizes)})
        if options.json:
            print(json.dumps(rows, indent=2))
        else:
            for row in rows:
                print(f"{row['batch']}  {row['things']} things  {row['bytes']} bytes")
        return 0

    return _run(options.config, work)


def _restore(options: argparse.Namespace) -> int:
    async def work(quarantine: Quarantine) -> int:
        batch = await _named(quarantine, options.batch)
        wanted = [f"/{digest.partition(':')[2]}/" for digest in options.digests]
        count = 0
        async for key, _ in quarantine.entries(batch):
            if wanted and not any(part in key for part in wanted):
                continue
            count += await quarantine.restore(batch, key)
        print(f"{count} things brought back")
        return 0 if count or not wanted else 1

    return _run(options.config, work)


async def _named(quarantine: Quarantine, name: str) -> Batch:
    for batch in await quarantine.batches():
        if batch.name == name:
            return batch
    raise StorageError("quarantine", f"there is no batch {name!r}")


def _run(config: str, work: Callable[[Quarantine], Awaitable[int]]) -> int:
    loaded = load(config)
    build.configure_log(loaded.configuration)

    async def run() -> int:
        async with opened(loaded.configuration) as storage:
            return await work(Quarantine(storage))

    try:
        return asyncio.run(run())
    except (BuildError, StorageError) as error:
        print(error, file=sys.stderr)
        return 1
