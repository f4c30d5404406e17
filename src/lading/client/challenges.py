"""`WWW-Authenticate` (RFC 9110, section 11.6.1): what a server wants to be shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"\s*({_WORD})(?:\s+|\s*,|\s*\Z)")
_PARAMETER = re.compile(rf'[\s,]*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))\s*')


@dataclass(frozen=True, slots=True)
class Challenge:
    """Scheme and names of parameters are in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse(lines: Iterable[str]) -> list[Challenge]:
    """Of all header lines. What is malformed ends its line; what stood before it counts."""
    return [challenge for line in lines for challenge in _challenges(line)]


def _challenges(line: str) -> Iterator[Challenge]:
    position = 0
    while (scheme := _SCHEME.match(line, position)) is not None:
        challenge = Challenge(scheme[1].lower())
        position = scheme.end()
        while (found := _PARAMETER.match(line, position)) is not None:
            name, quoted, token = found.groups()
            challenge.parameters.setdefault(
                name.lower(), token if token is not None else re.sub(r"\\(.)", r"\1", quoted)
            )
            position = found.end()
        yield challenge
        position += len(line[position:]) - len(line[position:].lstrip(", "))
