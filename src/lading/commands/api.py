"""`lading api`: the API's description, for tools and for people."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("api", help="describe the HTTP API")
    ways = parser.add_subparsers(dest="way", metavar="COMMAND", required=True)
    ways.add_parser("openapi", help="print it as an OpenAPI document").set_defaults(run=_openapi)
    template = ways.add_parser("render", help="fill in a template of Jinja with it")
    template.add_argument("template", help="the template's file")
    template.set_defaults(run=lambda options: _render(options.template))


def main(arguments: Sequence[str] | None = None) -> int:
    """`registry-api-descriptor-template <template>`, as the original's tool; its templates are Jinja's."""
    given = parser_of_tool().parse_args(arguments).template
    if len(given) != 1:
        print("please specify a template to execute.", file=sys.stderr)
        return 1
    return _render(given[0])


def parser_of_tool() -> argparse.ArgumentParser:
    """Of `registry-api-descriptor-template`."""
    parser = argparse.ArgumentParser(
        prog="registry-api-descriptor-template",
        description="Fill in a template of Jinja with the description of the HTTP API.",
    )
    parser.add_argument("template", nargs="*", help="the template's file")
    return parser


# What describes is imported when it is asked for: who serves needs neither it nor Jinja.


def _openapi(_: argparse.Namespace) -> int:
    from lading.api.description.openapi import document

    print(json.dumps(document(), indent=2))
    return 0


def _render(path: str) -> int:
    try:
        from lading.commands.templates import RenderingError, render
    except ModuleNotFoundError as error:
        print(f'{error.name} is missing: pip install "lading[docs]"', file=sys.stderr)
        return 1
    try:
        print(render(Path(path).read_text("utf-8")), end="")
    except (OSError, UnicodeError, RenderingError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        print(f"{path}: {reason}", file=sys.stderr)
        return 1
    return 0
