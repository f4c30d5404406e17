"""The repositories a storage holds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from lading.registry import layout
from lading.registry.ports import Steps, Storage

AHEAD = 32
"""The directories a storage is told of at a time: it may list them at once."""

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Repositories:
    storage: Storage

    async def page(self, *, after: str, limit: int) -> tuple[list[str], bool]:
        """Up to `limit` names, and whether there are more."""
        names = await self._find(layout.MANIFESTS, after, limit + 1)
        return names[:limit], len(names) > limit

    async def walk(self, marker: str) -> AsyncIterator[str]:
        """The names of all directories that hold an entry `marker`, in the order of the catalog."""
        after = ""
        while names := await self._find(marker, after, PAGE):
            for name in names:
                yield name
            after = names[-1]

    async def _find(self, marker: str, after: str, limit: int) -> list[str]:
        """Up to `limit` names of directories that hold an entry `marker`, depth first, each in byte order.

        That is the original's order: `a/1` sorts before `a`, whose `_manifests` comes after digits. Only names
        behind `after` are given, which need not exist any more.
        """
        found: list[str] = []
        await self.storage.explore(_walk(marker, [*after.split("/"), marker] if after else [], found, limit))
        return found


def _walk(marker: str, bound: list[str], found: list[str], limit: int) -> Steps[None]:
    entries = yield [layout.REPOSITORIES]
    yield from _inside("", entries[0], marker, bound, found, limit)


def _inside(
    parent: str, entries: Sequence[str], marker: str, bound: list[str], found: list[str], limit: int
) -> Steps[None]:
    """Adds to `found`, up to `limit` names."""
    known: list[Sequence[str]] = []
    ahead: list[str] = []
    for position in range(bisect_left(entries, bound[0]) if bound else 0, len(entries)):
        entry = entries[position]
        at_bound = bool(bound) and entry == bound[0]
        if entry == marker:
            if parent and not at_bound:
                found.append(parent)
        elif not entry.startswith("_"):
            if not known:
                ahead = ahead or _directories(parent, entries[position : position + AHEAD])
                known = list((yield ahead))[::-1]
                del ahead[: len(known)]
            child = f"{parent}/{entry}" if parent else entry
            names = known.pop()
            if at_bound or not _is_leaf(names):
                yield from _inside(child, names, marker, bound[1:] if at_bound else [], found, limit)
            elif marker in names:
                found.append(child)
        if len(found) == limit:
            return


def _is_leaf(names: Sequence[str]) -> bool:
    """Whether all of these, which are in byte order, are the repository's own."""
    return not names or (names[0].startswith("_") and names[-1].startswith("_"))


def _directories(parent: str, entries: Sequence[str]) -> list[str]:
    start = layout.repository(parent) if parent else layout.REPOSITORIES
    return [f"{start}/{entry}" for entry in entries if not entry.startswith("_")]
