"""`lading retention`: delete the tags that no rule keeps, while the registry serves or not."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from lading import build
from lading.compose import retention as rules
from lading.compose.error import BuildError
from lading.compose.storage import opened
from lading.config.load import load
from lading.config.models.configuration import Configuration
from lading.registry.events import Events
from lading.registry.ports import Storage, StorageError
from lading.registry.retaining import Retainer, Retaining, Round
from lading.registry.retention import Plan


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("retention", help="delete the tags that no rule keeps")
    parser.add_argument("config", nargs="?", metavar="FILE", help="configuration file, as for serve")
    parser.add_argument("-d", "--dry-run", action="store_true", help="tell what would go and why; delete nothing")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but what is wrong")
    parser.add_argument("--json", action="store_true", help="print a verdict for each tag as JSON")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    configuration = load(options.config).configuration
    build.configure_log(configuration)
    try:
        return asyncio.run(_with_storage(options, configuration))
    except (BuildError, StorageError) as error:
        print(f"failed to apply retention: {error}", file=sys.stderr)
        return 1


async def _with_storage(options: argparse.Namespace, configuration: Configuration) -> int:
    retaining = rules.retaining(configuration)
    async with opened(configuration) as held:
        problem = _problem(configuration, held, retaining, dry_run=options.dry_run)
        if retaining is None or problem:
            print(problem, file=sys.stderr)
            return 2
        return await _work(options, configuration, held, retaining)


def _problem(configuration: Configuration, held: Storage, retaining: Retaining | None, *, dry_run: bool) -> str:
    if retaining is None:
        return "retention.rules: there are none, so that every tag stays"
    if not held.traits.shared:
        return f"retention: only one process sees what {held.name} holds"
    if configuration.storage.maintenance.readonly.enabled and not dry_run:
        return "storage.maintenance.readonly.enabled: is set; only --dry-run is possible"
    return ""


async def _work(
    options: argparse.Namespace, configuration: Configuration, held: Storage, retaining: Retaining
) -> int:
    done, documents = Round(), []
    writes = not configuration.storage.maintenance.readonly.enabled
    async with _events(configuration, dry_run=options.dry_run) as events:
        retainer = Retainer(held, retaining, events=events, agent=rules.AGENT, writes=writes)
        async for plan in retainer.plans():
            if options.json:
                documents += _verdicts(plan)
            elif not options.quiet:
                for verdict in plan.going:
                    print(f"{plan.repository}:{verdict.held.tag}  {verdict.held.digest}  {verdict.reason}")
            if not options.dry_run:
                await retainer.apply(plan, done)
            else:
                done.repositories += 1
                done.deleted += len(plan.going)
                done.kept += len(plan.verdicts) - len(plan.going)
    if options.json:
        print(json.dumps({"dry_run": options.dry_run, **asdict(done), "tags": documents}, indent=2))
    elif not options.quiet:
        verb = "would be deleted" if options.dry_run else "deleted"
        print(f"{done.deleted} tags of {done.repositories} repositories {verb}, {done.kept} kept")
    return 0


def _verdicts(plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "repository": plan.repository,
            "tag": verdict.held.tag,
            "digest": verdict.held.digest,
            "stays": verdict.stays,
            "reason": verdict.reason,
        }
        for verdict in plan.verdicts
    ]


@contextlib.asynccontextmanager
async def _events(configuration: Configuration, *, dry_run: bool) -> AsyncIterator[Events | None]:
    """Into the journal from which the registry delivers, if that is on this machine."""
    from lading.compose import journal, notify  # noqa: PLC0415  what they need takes long to import

    wanted = configuration.notifications.active and not dry_run
    complaint = journal.unusable(journal.place(configuration)) if wanted else ""
    if not wanted or complaint:
        if complaint:
            print(f"warning: {complaint}: nobody hears of it", file=sys.stderr)
        yield None
        return
    recorder = notify.events(configuration, None)
    try:
        yield recorder
    finally:
        recorder.close()
