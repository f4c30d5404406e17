"""What may stand at a place of the tree. Overrides and the search for unknown keys walk by these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Leaf(Enum):
    TEXT = "text"
    OTHER = "a flag, a number or a duration"
    ANY = "anything: it has no type"


@dataclass(frozen=True, slots=True)
class Struct:
    """A mapping with known keys, each under its segment in the names of variables."""

    fields: Mapping[str, Kind]
    segments: Mapping[str, str]
    group: str | None = None
    """A segment that may stand before those of the fields, which then match in any case."""


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping with keys of the operator's choice."""

    item: Kind
    fixed: Mapping[str, Kind] = field(default_factory=dict)
    """Keys that are known; they may hold `_`, and are matched in any case."""
    closed: bool = False
    """No other keys than `fixed` have an effect."""
    word: bool = False
    """A bare word stands for the map with that key."""


@dataclass(frozen=True, slots=True)
class ListOf:
    item: Kind


Kind = Leaf | Struct | MapOf | ListOf
