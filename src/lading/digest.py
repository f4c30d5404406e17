"""The `digest` command."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from typing import IO

from lading import __version__
from lading.oci.digest import CANONICAL, HEX_DIGITS


def main(arguments: Sequence[str] | None = None) -> int:
    """The original's `digest` tool: a line `<digest>\\t<name>` for each file, or for standard input."""
    options = parser_of_digest().parse_args(arguments)
    if not options.files:
        print(f"{_digest(sys.stdin.buffer, options.algorithm)}\t-")
        return 0
    failed = False
    for name in options.files:
        try:
            with open(name, "rb") as file:
                print(f"{_digest(file, options.algorithm)}\t{name}")
        except OSError as error:
            print(f"digest: {name}: {error.strerror}", file=sys.stderr)
            failed = True
    return int(failed)


def parser_of_digest() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="digest", description="Print the digests of files.")
    parser.add_argument(
        "-a",
        "-algorithm",
        "--algorithm",
        choices=HEX_DIGITS,
        default=CANONICAL,
        help=f"digest algorithm (default: {CANONICAL})",
    )
    parser.add_argument("-version", "--version", action="version", version=f"digest {__version__}")
    parser.add_argument("files", nargs="*", help="files to read (default: standard input)")
    return parser


def _digest(file: IO[bytes], algorithm: str) -> str:
    running = hashlib.new(algorithm)
    while data := file.read(1024 * 1024):
        running.update(data)
    return f"{algorithm}:{running.hexdigest()}"
