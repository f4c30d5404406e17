"""Patterns of the names of repositories and tags, as operators write them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass


def matches(pattern: str, repository: str) -> bool:
    """`*` is any part of a component, `**` any number of whole components.

    At the end of a pattern `**` is at least one: `team/**` is what is below `team`.
    """
    return _compiled(pattern).fullmatch(repository) is not None


def leads(pattern: str, repository: str) -> bool:
    """Whether `repository` is the name of a directory on the way to what the pattern matches."""
    return _compiled_start(pattern).fullmatch(repository) is not None


def check(pattern: str, known: str = "names, * and **") -> None:
    """`known` is what a pattern may be of. Raises `ValueError`."""
    if not pattern:
        raise ValueError("an empty pattern matches no repository")
    for component in pattern.split("/"):
        if component != "**" and ("**" in component or not re.fullmatch(r"[a-z0-9._*-]+", component)):
            raise ValueError(f"{pattern!r} is no pattern of repositories (of {known})")


def check_tag(pattern: str) -> None:
    """Raises `ValueError`."""
    if re.fullmatch(r"[A-Za-z0-9_.*-]+", pattern) is None:
        raise ValueError(f"{pattern!r} is no pattern of tags (of the characters of tags, and *)")


@dataclass(frozen=True, slots=True)
class Selection:
    """Tags by patterns: `repositories` as for `matches`; in `tags`, `*` is any text."""

    repositories: tuple[str, ...]
    tags: tuple[str, ...] = ("*",)

    def covers(self, repository: str) -> bool:
        return any(matches(pattern, repository) for pattern in self.repositories)

    def has(self, repository: str, tag: str) -> bool:
        return self.covers(repository) and self.names(tag)

    def names(self, tag: str) -> bool:
        """Whether it has tags of this name in the repositories that it covers."""
        return any(_compiled_tag(pattern).fullmatch(tag) is not None for pattern in self.tags)


Repositories = Callable[[str], bool]
"""Tells whether a repository is meant."""


def none(_: str) -> bool:
    return False


@functools.lru_cache(4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    *above, last = pattern.split("/")
    expression = "".join("(?:[^/]+/)*" if part == "**" else f"{_component(part)}/" for part in above)
    return re.compile(expression + ("[^/]+(?:/[^/]+)*" if last == "**" else _component(last)))


@functools.lru_cache(4096)
def _compiled_start(pattern: str) -> re.Pattern[str]:
    *above, last = (".*" if part == "**" else _component(part) for part in pattern.split("/"))
    return re.compile("(?:/".join([*above, last]) + ")?" * len(above))


@functools.lru_cache(4096)
def _compiled_tag(pattern: str) -> re.Pattern[str]:
    return re.compile(_component(pattern))


def _component(text: str) -> str:
    return "[^/]*".join(map(re.escape, text.split("*")))
