"""The operator's rules: who may do what in which repositories.

Whatever no rule allows is refused. Rules only add up; `readonly` then takes pushing and deleting away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lading.oci import patterns
from lading.registry.access import ANY_ACTION, CATALOG, DELETE, PULL, PUSH, Access

ACTIONS = (PULL, PUSH, DELETE, ANY_ACTION)
ANONYMOUS = "anonymous"
"""In a rule's `who`: everybody, signed in or not."""
AUTHENTICATED = "authenticated"
"""In a rule's `who`: everybody who has signed in."""
_USER = "${user}"
Match = Callable[[str, str], bool]
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: `user` is empty for one who has not signed in."""

    user: str = ""
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rule:
    """`repositories` are patterns as for `oci.patterns.matches`."""

    repositories: tuple[str, ...]
    actions: frozenset[str]
    who: tuple[str, ...]

    def concerns(self, caller: Caller) -> bool:
        return any(_is(name, caller) for name in self.who)

    def covers(self, repository: str, caller: Caller) -> bool:
        return any(_matches(pattern, repository, caller.user) for pattern in self.repositories)

    def leads(self, repository: str, caller: Caller) -> bool:
        """Whether there may be repositories that it covers below this name, or at it."""
        return any(_matches(pattern, repository, caller.user, patterns.leads) for pattern in self.repositories)

    def permits(self, action: str) -> bool:
        return ANY_ACTION in self.actions or action in self.actions

    def __str__(self) -> str:
        return f"{', '.join(self.who)} may {', '.join(sorted(self.actions))} in {', '.join(self.repositories)}"


@dataclass(frozen=True, slots=True)
class Decision:
    """`why` is a sentence for people."""

    allowed: bool
    why: str


@dataclass(frozen=True)
class Policy:
    rules: tuple[Rule, ...]
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    readonly: tuple[str, ...] = ()

    def caller(self, user: str, groups: frozenset[str] = frozenset()) -> Caller:
        """`groups` are those the user has from elsewhere; the configured ones are added."""
        own = (name for name, members in self.groups.items() if user and user in members)
        return Caller(user, groups.union(own))

    def grants(self, caller: Caller) -> Permitted:
        return Permitted(self, caller)

    def allows(self, caller: Caller, repository: str, action: str) -> bool:
        return not self._barred(caller, action) and self._deciding(caller, repository, action) is not None

    def decide(self, caller: Caller, repository: str, action: str) -> Decision:
        """As `allows`, with the reason."""
        if self._barred(caller, action):
            return Decision(False, f"{caller.user or ANONYMOUS} is in access.readonly, and may only pull")
        number = self._deciding(caller, repository, action)
        if number is None:
            return Decision(False, "no rule allows it")
        return Decision(True, f"access.rules[{number}]: {self.rules[number]}")

    def leads(self, caller: Caller, repository: str) -> bool:
        """Whether the caller may pull something at this name or below it; may say so where they may not."""
        return any(
            rule.permits(PULL) and rule.concerns(caller) and rule.leads(repository, caller) for rule in self.rules
        )

    def allows_all(self, caller: Caller) -> bool:
        """Whether the caller may pull everything there is and will be."""
        return any(
            rule.permits(PULL) and rule.concerns(caller) and "**" in rule.repositories for rule in self.rules
        )

    def _barred(self, caller: Caller, action: str) -> bool:
        return action != PULL and any(_is(name, caller) for name in self.readonly)

    def _deciding(self, caller: Caller, repository: str, action: str) -> int | None:
        """The first rule that allows it."""
        for number, rule in enumerate(self.rules):
            if rule.permits(action) and rule.concerns(caller) and rule.covers(repository, caller):
                return number
        return None


@dataclass(frozen=True)
class Permitted:
    """The grants of one caller."""

    policy: Policy
    caller: Caller

    @property
    def everything(self) -> bool:
        return False

    def allows(self, access: Access) -> bool:
        if access.type == CATALOG.type:
            # Of the catalog a caller sees what they may pull.
            return access.name == CATALOG.name and bool(self.caller.user)
        return access.type == "repository" and self.policy.allows(self.caller, access.name, access.action)

    def shows(self, name: str) -> bool:
        return self.policy.allows(self.caller, name, PULL)

    def leads(self, name: str) -> bool:
        return self.policy.leads(self.caller, name)

    def classes(self, _: str) -> frozenset[str]:
        return frozenset()


def _is(name: str, caller: Caller) -> bool:
    if name == ANONYMOUS:
        return True
    if not caller.user:
        return False
    if name == AUTHENTICATED:
        return True
    return name[1:] in caller.groups if name.startswith("@") else name == caller.user


def check_pattern(pattern: str) -> None:
    """Raises `ValueError`."""
    try:
        patterns.check(pattern.replace(_USER, "user"), "names, *, ** and ${user}")
    except ValueError as error:
        raise ValueError(str(error).replace(repr(pattern.replace(_USER, "user")), repr(pattern))) from None


def _matches(pattern: str, repository: str, user: str, match: Match = patterns.matches) -> bool:
    if _USER in pattern:
        # A user whose name could not be a component has no namespace of their own.
        if _NAME.fullmatch(user) is None:
            return False
        pattern = pattern.replace(_USER, user)
    return match(pattern, repository)
