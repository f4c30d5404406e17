"""Retention: which tags stay, and which go, as a value with a reason for each. Nothing here touches a storage.

In a repository that a rule covers, what no rule keeps goes. Elsewhere everything stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lading.oci.digest import Digest
from lading.oci.names import RepositoryName, Tag
from lading.oci.patterns import Selection


@dataclass(frozen=True, slots=True)
class Rule:
    """Times are in seconds. A tag stays for any of the reasons that are given; for none given all of them stay.

    `last` is how many of the tags selected in a repository stay, newest push first.
    """

    selection: Selection
    last: int = 0
    pushed_within: float = 0.0
    pulled_within: float = 0.0

    @property
    def keeps_all(self) -> bool:
        return not (self.last or self.pushed_within or self.pulled_within)


@dataclass(frozen=True, slots=True)
class Held:
    """A tag as it was found. Times are in seconds since 1970.

    `pulled` is when its manifest may have been pulled last, 0 for never.
    """

    tag: Tag
    digest: Digest
    pushed: float
    pulled: float = 0.0
    immutable: bool = False
    about: Digest | None = None
    """The manifest, in the same repository, that it files something about."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is for people."""

    held: Held
    stays: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one repository, in the order of its tags."""

    repository: RepositoryName
    verdicts: tuple[Verdict, ...]

    @property
    def going(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if not verdict.stays]


def covering(rules: Iterable[Rule], name: str) -> list[tuple[int, Rule]]:
    """The rules for a repository, with their numbers."""
    return [(number, rule) for number, rule in enumerate(rules) if rule.selection.covers(name)]


def decide(
    rules: Sequence[Rule], name: RepositoryName, tags: Sequence[Held], now: float, pulls_since: float
) -> Plan:
    """`now` and `pulls_since`, the time from which on pulls are known, are in seconds since 1970."""
    kept: dict[Tag, str] = {}
    for held in tags:
        if held.immutable:
            kept[held.tag] = "it is immutable"
        elif held.about is not None:
            kept[held.tag] = f"it files what is about {held.about}"
    candidates = [held for held in tags if held.about is None]
    concerning = covering(rules, name)
    if not concerning:
        return Plan(name, tuple(Verdict(held, True, "no rule covers the repository") for held in tags))
    named: set[Tag] = set()
    for number, rule in concerning:
        selected = [held for held in candidates if rule.selection.names(held.tag)]
        named.update(held.tag for held in selected)
        for tag, why in _kept(rule, selected, now, pulls_since).items():
            kept.setdefault(tag, f"retention.rules[{number}]: {why}")
    return Plan(
        name,
        tuple(
            Verdict(held, True, kept[held.tag])
            if held.tag in kept
            else Verdict(held, False, "no rule keeps it any more" if held.tag in named else "no rule names it")
            for held in tags
        ),
    )


def _kept(rule: Rule, selected: Sequence[Held], now: float, pulls_since: float) -> dict[Tag, str]:
    if rule.keeps_all:
        return {held.tag: "it keeps all such tags" for held in selected}
    kept: dict[Tag, str] = {}
    # Of those pushed in the same moment the one that sorts last counts as the newest.
    newest = sorted(selected, key=lambda held: (held.pushed, held.tag), reverse=True)
    for held in newest[: rule.last]:
        kept[held.tag] = f"it is one of the last {rule.last}"
    for held in selected:
        if rule.pushed_within and held.pushed > now - rule.pushed_within:
            kept.setdefault(held.tag, "it was pushed lately")
        # What was pushed, or was there when nobody noted pulls, may have been pulled then.
        if rule.pulled_within and max(held.pulled, held.pushed, pulls_since) > now - rule.pulled_within:
            kept.setdefault(held.tag, "it was, or may have been, pulled lately")
    return kept
