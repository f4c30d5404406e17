"""`lading events`: look at the notifications that wait, and at those that were refused."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lading.compose.error import BuildError
from lading.config.load import load

if TYPE_CHECKING:
    from lading.notify.journal import Journal

FOLLOW_SECONDS = 0.5
PAGE = 500


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("events", help="look at notifications")
    ways = parser.add_subparsers(dest="way", metavar="COMMAND", required=True)
    tail = ways.add_parser("tail", help="print the latest events, a line of JSON for each, delivered or not")
    tail.add_argument("-n", "--lines", type=int, default=10, metavar="N", help="how many (default: 10)")
    tail.add_argument("-f", "--follow", action="store_true", help="go on with those that come")
    parked = ways.add_parser("parked", help="print the events that an endpoint has refused for good")
    replay = ways.add_parser("replay", help="send parked events once more, to the endpoint that refused them")
    replay.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="as parked prints them; else all")
    for way, run in ((tail, _tail), (parked, _parked), (replay, _replay)):
        way.add_argument("-c", "--config", metavar="FILE", help="configuration file, as for serve")
        way.set_defaults(run=_opened(run))


def _opened(run: Callable[[argparse.Namespace, Journal], int]) -> Callable[[argparse.Namespace], int]:
    def command(options: argparse.Namespace) -> int:
        from lading.compose import notify  # what it needs takes long to import

        configuration = load(options.config).configuration
        directory = notify.place(configuration)
        if directory is None:
            raise BuildError("notifications.journal.directory: is not set")
        if not notify.exists(directory):
            print(f"{directory}: there is no journal of notifications", file=sys.stderr)
            return 1
        try:
            journal = notify.open_journal(configuration, directory, durable=True)
            try:
                return run(options, journal)
            finally:
                journal.close()
        except sqlite3.Error as error:
            print(f"{directory}: {error}", file=sys.stderr)
            return 1

    return command


def _tail(options: argparse.Namespace, journal: Journal) -> int:
    seq = max(0, journal.newest() - max(0, options.lines))
    while True:
        entries = journal.after("", seq, PAGE)
        for entry in entries:
            seq = entry.seq
            print(json.dumps(entry.event), flush=options.follow)
        if not entries:
            if not options.follow:
                return 0
            time.sleep(FOLLOW_SECONDS)


def _parked(_: argparse.Namespace, journal: Journal) -> int:
    for number, endpoint, reason, event in journal.parked():
        print(json.dumps({"number": number, "endpoint": endpoint, "reason": reason, "event": event}))
    return 0


def _replay(options: argparse.Namespace, journal: Journal) -> int:
    known = [each.number for each in journal.parked()]
    unknown = set(options.numbers) - set(known)
    if unknown:
        print(f"not parked: {', '.join(map(str, sorted(unknown)))}", file=sys.stderr)
        return 1
    print(f"{journal.replay(options.numbers or known)} events are queued again")
    return 0
