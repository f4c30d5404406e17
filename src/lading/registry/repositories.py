"""The repositories a storage holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from lading.registry import layout
from lading.registry.ports import PathNotFoundError, Storage


@dataclass(frozen=True, slots=True)
class Repositories:
    storage: Storage

    async def page(self, *, after: str, limit: int) -> tuple[list[str], bool]:
        """Up to `limit` names, and whether there are more."""
        names: list[str] = []
        async for name in self.walk(layout.MANIFESTS, after=after):
            if len(names) == limit:
                return names, True
            names.append(name)
        return names, False

    async def walk(self, marker: str, *, after: str = "") -> AsyncIterator[str]:
        """The names of all directories that hold an entry `marker`, depth first, each directory in byte order.

        That is the original's order: `a/1` sorts before `a`, whose `_manifests` comes after digits. Only names
        behind `after` are given, which need not exist any more.
        """
        bound = [*after.split("/"), marker] if after else []
        async for name in self._walk("", bound, marker):
            yield name

    async def _walk(self, parent: str, bound: list[str], marker: str) -> AsyncIterator[str]:
        directory = layout.repository(parent) if parent else layout.REPOSITORIES
        try:
            entries = [entry async for entry in self.storage.list(directory)]
        except PathNotFoundError:
            return
        for entry in entries:
            if bound and entry < bound[0]:
                continue
            inner = bound[1:] if bound and entry == bound[0] else []
            if entry == marker:
                if not (bound and entry == bound[0]):
                    yield parent
            elif not entry.startswith("_"):
                async for name in self._walk(f"{parent}/{entry}" if parent else entry, inner, marker):
                    yield name
