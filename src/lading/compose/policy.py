"""The composition of the rules of access, from the `access` section."""

from __future__ import annotations

from lading.auth.policy import Policy, Rule, check_pattern
from lading.compose.error import BuildError
from lading.config.models.configuration import Configuration


def policy(configuration: Configuration) -> Policy | None:
    """Raises `BuildError`."""
    section = configuration.access
    if section.rules is None:
        for key in ("groups", "readonly"):
            if getattr(section, key):
                raise BuildError(f"access.{key}: has no effect without access.rules")
        return None
    made_rules = []
    for number, rule in enumerate(section.rules):
        key = f"access.rules[{number}]"
        for name in ("repositories", "actions", "who"):
            if not getattr(rule, name):
                raise BuildError(f"{key}.{name}: needs an entry")
        for pattern in rule.repositories:
            try:
                check_pattern(pattern)
            except ValueError as error:
                raise BuildError(f"{key}.repositories: {error}") from None
        _check_names(f"{key}.who", rule.who)
        made_rules.append(Rule(tuple(rule.repositories), frozenset(rule.actions), tuple(rule.who)))
    _check_names("access.readonly", section.readonly)
    groups = {name: frozenset(members) for name, members in section.groups.items()}
    return Policy(tuple(made_rules), groups, tuple(section.readonly))


def _check_names(key: str, names: list[str]) -> None:
    for name in names:
        if name in {"", "@"}:
            raise BuildError(f"{key}: {name!r} is nobody: name a user, a @group, anonymous or authenticated")
