"""`immutable` and `retention`: which tags stay as they are, and which go. Lading's own sections."""

from __future__ import annotations

from typing import Annotated

from lading.config.models.section import Section, Then, option
from lading.config.models.values import Duration, Flag, Integer, Text, positive_or

DAY = 86400.0


def _check_last(value: int) -> int:
    if value < 1:
        raise ValueError("must be 1 or more")
    return value


def _check_time(value: float) -> float:
    if value <= 0:
        raise ValueError("must be longer than nothing")
    return value


class ImmutableTags(Section):
    """`repositories` must have entries; all tags of them, where `tags` is left out."""

    repositories: list[Text] = option(factory=list)
    tags: list[Text] = option(factory=lambda: ["*"])


class RetentionRule(Section):
    """Keeps the tags that it selects: for any of the three reasons, or all of them if it has none.

    Times are in seconds; 0 is a reason that was not given.
    """

    repositories: list[Text] = option(factory=list)
    tags: list[Text] = option(factory=lambda: ["*"])
    last: Annotated[Integer, Then(_check_last)] = 0
    pushedwithin: Annotated[Duration, Then(_check_time)] = 0.0
    pulledwithin: Annotated[Duration, Then(_check_time)] = 0.0


class Retention(Section):
    """`enabled` is about the registry that serves; rules are rules for the command, too."""

    enabled: Flag = False
    interval: Annotated[Duration, Then(positive_or(DAY))] = DAY
    rules: list[RetentionRule] = option(factory=list)
