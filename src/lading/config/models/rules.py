"""`validation`, `policy`, `catalog` and `tags`: what is accepted, and how much is listed."""

from __future__ import annotations

import re
import warnings
from typing import Annotated, Literal

from lading.config.models.section import Section, Then, option
from lading.config.models.values import Flag, Integer, Text, one_of, positive_or

PlatformRule = Literal["all", "none", "list"]
_UNKNOWN_RULE = "invalid platforms option <x> Must be one of [all, none, list]"


def _check_pattern(pattern: str) -> str:
    """Patterns are RE2 in the original. What Python would read differently (`[[:alpha:]]`) is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError, Warning) as error:
            raise ValueError(f"not a regular expression Lading can use: {error}") from None
    return pattern


def _check_tags(limit: int) -> int:
    if limit < 0:
        raise ValueError("maxtags limit must be a non-negative integer value")
    return limit or 1000


Pattern = Annotated[Text, Then(_check_pattern)]


class Urls(Section):
    """Searched for anywhere in a URL. Both lists empty: no URL is allowed."""

    allow: list[Pattern] = option(factory=list)
    deny: list[Pattern] = option(factory=list)


class Platform(Section):
    os: Text = ""
    architecture: Text = ""


class Indexes(Section):
    """Whose children must exist: all, none, or those of a platform in the list (an empty list is all)."""

    platforms: Annotated[PlatformRule, one_of(PlatformRule, _UNKNOWN_RULE, empty="all", fold=True)] = "all"
    platformlist: list[Platform] = option(factory=list)


class Manifests(Section):
    urls: Urls = option(factory=Urls)
    indexes: Indexes = option(factory=Indexes)


class Validation(Section):
    """Ask `active`: `enabled` is the older key, and beats `disabled` where it is given."""

    enabled: Flag | None = None
    disabled: Flag = False
    manifests: Manifests = option(factory=Manifests)

    @property
    def active(self) -> bool:
        return not self.disabled if self.enabled is None else self.enabled


class RepositoryPolicy(Section):
    classes: list[Text] = option(factory=list)


class Policy(Section):
    repository: RepositoryPolicy = option(factory=RepositoryPolicy)


class Catalog(Section):
    maxentries: Annotated[Integer, Then(positive_or(1000))] = 1000


class Tags(Section):
    maxtags: Annotated[Integer, Then(_check_tags)] = 1000
