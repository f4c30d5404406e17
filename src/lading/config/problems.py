"""What can be wrong with a configuration, as one line each: `place: key: what is wrong`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Path = Sequence[str | int]


class Place(NamedTuple):
    """Where something was written: in a file, from 1; or with line 0 an environment variable or a whole file."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join([self.source, *(str(number) for number in (self.line, self.column) if number)])


class ConfigurationError(Exception):
    """The configuration cannot be used. `problems` holds everything that is wrong, one line each, no secrets;
    `warnings` what was noticed besides."""

    def __init__(self, source: str, problems: Sequence[str], warnings: Sequence[str] = ()) -> None:
        super().__init__(source, problems, warnings)
        self.source = source
        self.problems = list(problems)
        self.warnings = list(warnings)

    def __str__(self) -> str:
        separator = " " if len(self.problems) == 1 else "\n  "
        return f"error parsing {printable(self.source)}:" + "".join(separator + line for line in self.problems)


def dotted(path: Path) -> str:
    """`('http', 'tls', 'clientcas', 0)` is written `http.tls.clientcas[0]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def printable(text: str) -> str:
    """One line, whatever a file or a variable held: line ends and terminal escapes are shown, not sent."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class Refusal(NamedTuple):
    """What is wrong with one key."""

    place: Place
    path: Path
    what: str

    def __str__(self) -> str:
        return report(self.place, self.path, self.what)


def report(place: Place, path: Path, what: str) -> str:
    return printable(": ".join(part for part in (str(place), dotted(path), what) if part))
