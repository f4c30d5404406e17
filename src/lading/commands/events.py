"""`lading events`: look at the notifications that wait, and at those that were refused."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from lading.config.load import load

if TYPE_CHECKING:
    from lading.notify.journal import Journal

FOLLOW_SECONDS = 0.5
PAGE = 500
MANY = 1 << 32
"""More than any journal has."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("events", help="look at notifications")
    ways = parser.add_subparsers(dest="way", metavar="COMMAND", required=True)
    tail = ways.add_parser("tail", help="print the latest events, a line of JSON for each, delivered or not")
    tail.add_argument("-n", "--lines", type=int, default=10, metavar="N", help="how many (default: 10)")
    tail.add_argument("-f", "--follow", action="store_true", help="go on with those that come")
    parked = ways.add_parser("parked", help="print the events that an endpoint has refused for good")
    replay = ways.add_parser("replay", help="send parked events once more, to the endpoint that refused them")
    discard = ways.add_parser("discard", help="forget parked events")
    replay.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="as parked prints them; else all")
    discard.add_argument("numbers", nargs="+", type=int, metavar="NUMBER", help="as parked prints them")
    for way, run in ((tail, _tail), (parked, _parked), (replay, _replay), (discard, _discard)):
        way.add_argument("-c", "--config", metavar="FILE", help="configuration file, as for serve")
        way.set_defaults(run=_opened(run))


def _opened(run: Callable[[argparse.Namespace, Journal], int]) -> Callable[[argparse.Namespace], int]:
    def command(options: argparse.Namespace) -> int:
        from lading.compose import journal  # what it needs takes long to import

        configuration = load(options.config).configuration
        directory = journal.place(configuration)
        if complaint := journal.unusable(directory):
            print(f"{directory}: {complaint}", file=sys.stderr)
            return 1
        try:
            opened = journal.open_journal(configuration, durable=True)
            try:
                return run(options, opened)
            finally:
                opened.close()
        except sqlite3.Error as error:
            print(f"{directory}: {error}", file=sys.stderr)
            return 1

    return command


def _tail(options: argparse.Namespace, journal: Journal) -> int:
    seq = journal.latest(min(max(0, options.lines), MANY))
    try:
        while True:
            entries = journal.since(seq, PAGE)
            for entry in entries:
                seq = entry.seq
                print(entry.body.decode(), flush=options.follow)
            if not entries:
                if not options.follow:
                    return 0
                time.sleep(FOLLOW_SECONDS)
    except KeyboardInterrupt:
        return 0


def _parked(_: argparse.Namespace, journal: Journal) -> int:
    for number, endpoint, reason, body in journal.parked():
        event = json.loads(body)
        print(json.dumps({"number": number, "endpoint": endpoint, "reason": reason, "event": event}))
    return 0


def _replay(options: argparse.Namespace, journal: Journal) -> int:
    parked = {each.number: each.endpoint for each in journal.parked()}
    numbers = options.numbers or list(parked)
    if not _are_parked(numbers, parked):
        return 1
    strange = {parked[number] for number in numbers} - journal.endpoints()
    if strange:
        print(f"no endpoint has this name any more: {', '.join(sorted(strange))}", file=sys.stderr)
        return 1
    queued, given_up = journal.replay(numbers)
    print(f"{_so_many(queued)} queued again")
    if given_up:
        print(f"the journal is full: {_so_many(given_up)} given up for that", file=sys.stderr)
    return 0


def _discard(options: argparse.Namespace, journal: Journal) -> int:
    if not _are_parked(options.numbers, [each.number for each in journal.parked()]):
        return 1
    print(f"{_so_many(journal.discard(options.numbers))} forgotten")
    return 0


def _are_parked(numbers: Sequence[int], parked: Collection[int]) -> bool:
    unknown = sorted(set(numbers) - set(parked))
    if unknown:
        print(f"not parked: {', '.join(map(str, unknown))}", file=sys.stderr)
    return not unknown


def _so_many(number: int) -> str:
    return "1 event is" if number == 1 else f"{number} events are"
