"""Keys nobody reads: a typing error more often than not, and the original says nothing of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from lading.config.kinds import Kind, ListOf, MapOf, Struct
from lading.config.problems import Path, Place, report
from lading.config.yaml import ListNode, MapNode, Node


def unknown_keys(root: Node, kind: Kind) -> list[str]:
    """One warning for each key that the schema does not have."""
    return [_warning(*found) for found in _unknown(root, kind, ())]


def _unknown(node: Node, kind: Kind, path: Path) -> Iterator[tuple[Place, Path, str, list[str]]]:
    if isinstance(node, ListNode) and isinstance(kind, ListOf):
        for index, item in enumerate(node.items):
            yield from _unknown(item, kind.item, (*path, index))
    if not isinstance(node, MapNode) or not isinstance(kind, Struct | MapOf):
        return
    for key, value in node.entries.items():
        below = _kind_of(kind, key)
        if below is not None:
            yield from _unknown(value, below, (*path, key))
        else:
            yield node.keys.get(key, value.place), path, key, list(_known(kind))


def _known(kind: Struct | MapOf) -> Mapping[str, Kind]:
    return kind.fields if isinstance(kind, Struct) else kind.fixed


def _kind_of(kind: Struct | MapOf, key: str) -> Kind | None:
    if isinstance(kind, Struct):
        return kind.fields.get(key)
    return kind.fixed.get(key.lower()) or (None if kind.closed else kind.item)


def _warning(place: Place, path: Path, key: str, known: list[str]) -> str:
    close = get_close_matches(key.lower(), known, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return report(place, (*path, key), f"unknown key, ignored{hint}")
