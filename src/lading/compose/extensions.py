"""What other distributions add: storage drivers and storage middleware, by entry points."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

from lading.compose.error import BuildError
from lading.registry.ports import Storage, Traits

DRIVERS = "lading.storage"
"""Called with a mapping of the driver's parameters."""

MIDDLEWARE = "lading.storage_middleware"
"""Called with the storage that it wraps, and a mapping of its options."""


def names(group: str) -> list[str]:
    return sorted({point.name for point in importlib.metadata.entry_points(group=group)})


def find(group: str, name: str, place: str) -> Callable[..., Any] | None:
    """What goes by this name, None if nothing does. Raises `BuildError` where it cannot be had, about `place`."""
    points = importlib.metadata.entry_points(group=group, name=name)
    found = {point.value: point for point in points}
    if not found:
        return None
    if len(found) > 1:
        raise BuildError(f"{place}: {name} is what several distributions call theirs: {', '.join(sorted(found))}")
    [point] = found.values()
    try:
        factory: Callable[..., Any] = point.load()
    except Exception as error:
        raise BuildError(f"{place}: cannot load {point.value}: {type(error).__name__}: {error}") from error
    return factory


def make(place: str, factory: Callable[..., Any], *arguments: object) -> Storage:
    """Raises `BuildError`, about `place`, for a `ValueError` of the factory."""
    try:
        made: Storage = factory(*arguments)
    except ValueError as error:
        raise BuildError(f"{place}: {error}") from error
    if not isinstance(getattr(made, "traits", None), Traits):
        raise BuildError(f"{place}: {factory!r} has made no storage")
    return made
