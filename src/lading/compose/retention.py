"""The composition of what tags are promised: from the `immutable` and `retention` sections to rules."""

from __future__ import annotations

from collections.abc import Callable

from lading import __version__
from lading.compose.error import BuildError
from lading.config.models.configuration import Configuration
from lading.config.models.retention import ImmutableTags, RetentionRule
from lading.oci import patterns
from lading.oci.patterns import Repositories, Selection
from lading.registry.immutability import Immutability
from lading.registry.ports import Storage
from lading.registry.pulls import Pulls
from lading.registry.retaining import Retaining
from lading.registry.retention import Rule

AGENT = f"lading/{__version__} (retention)"
"""Who deletes, in events."""


def immutability(configuration: Configuration) -> Immutability:
    """Raises `BuildError`."""
    made = [_selection(f"immutable[{number}]", each) for number, each in enumerate(configuration.immutable)]
    return Immutability(tuple(made), pulled_through(configuration) if made else patterns.none)


def retaining(configuration: Configuration) -> Retaining | None:
    """None where there are no rules. Raises `BuildError`."""
    section = configuration.retention
    made = [
        Rule(
            _selection(f"retention.rules[{number}]", each),
            last=each.last,
            pushed_within=each.pushedwithin,
            pulled_within=each.pulledwithin,
        )
        for number, each in enumerate(section.rules)
    ]
    if not made:
        if section.enabled:
            raise BuildError("retention.rules: needs an entry, or nothing would ever go")
        return None
    return Retaining(tuple(made), immutability(configuration), section.interval, pulled_through(configuration))


def scheduled(configuration: Configuration) -> Retaining | None:
    """None where nothing goes by itself, as it does not while the registry is read-only. Raises `BuildError`."""
    if not configuration.retention.enabled or configuration.storage.maintenance.readonly.enabled:
        return None
    return retaining(configuration)


def dated(configuration: Configuration) -> Repositories:
    """Tells where it matters when a tag was pushed last."""
    rules = retaining(configuration)
    return patterns.none if rules is None else rules.covers


def pulls(configuration: Configuration, storage: Storage) -> Pulls | None:
    """None where nobody asks when anything was pulled."""
    rules = retaining(configuration)
    if rules is None or configuration.storage.maintenance.readonly.enabled:
        return None
    asks = any(rule.pulled_within for rule in rules.rules)
    return Pulls(storage, rules.asks_for_pulls) if asks else None


def check(configuration: Configuration) -> None:
    """Raises `BuildError`."""
    immutability(configuration)
    retaining(configuration)


def _selection(key: str, section: ImmutableTags | RetentionRule) -> Selection:
    checks: tuple[tuple[str, list[str], Callable[[str], None]], ...] = (
        ("repositories", section.repositories, patterns.check),
        ("tags", section.tags, patterns.check_tag),
    )
    for name, values, checked in checks:
        if not values:
            raise BuildError(f"{key}.{name}: needs an entry")
        for value in values:
            try:
                checked(value)
            except ValueError as error:
                raise BuildError(f"{key}.{name}: {error}") from None
    return Selection(tuple(section.repositories), tuple(section.tags))


def pulled_through(configuration: Configuration) -> Repositories:
    """Tells whose content has a life of its own."""
    if not (configuration.proxy.remoteurl or configuration.upstreams):
        return patterns.none
    from lading.compose import proxy  # noqa: PLC0415  what it needs takes long to import

    return proxy.sources(configuration).has
