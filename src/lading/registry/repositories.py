"""The repositories a storage holds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from lading.oci.names import RepositoryName
from lading.registry import layout, links
from lading.registry.access import EVERYTHING, Grants
from lading.registry.ports import AHEAD, PathNotFoundError, Steps, Storage, found

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Repositories:
    storage: Storage

    async def page(self, *, after: str, limit: int, grants: Grants = EVERYTHING) -> tuple[list[str], bool]:
        """Up to `limit` names that are shown to the caller, and whether there are more of them.

        Where no name can be shown nobody looks: callers who may see little of much cost little.
        """
        names = await self._find(layout.MANIFESTS, after, limit + 1, grants)
        return names[:limit], len(names) > limit

    async def walk(self, marker: str, *, after: str = "") -> AsyncIterator[str]:
        """The names behind `after` of all directories that hold an entry `marker`, in the order of the catalog."""
        while names := await self._find(marker, after, PAGE):
            for name in names:
                yield name
            after = names[-1]

    async def leave(self, name: RepositoryName) -> None:
        """Without manifests and tags it is listed no more, until something is pushed or pulled there again.

        What holds anything stays, and so does what comes meanwhile: only histories of tags that are gone go.
        """
        if await found(self.storage, layout.manifests(name)) is None:
            return
        tags = layout.tags(name)
        async with self.storage.hold(layout.manifests(name), shared=False):
            shown = set(await self._names(tags, holding=layout.CURRENT_LINK))
            for tag in await self._names(tags):
                if tag not in shown:
                    await links.delete(self.storage, f"{tags}/{tag}/{layout.HISTORY}")
            await self.storage.delete(layout.manifests(name), if_empty=True)

    async def tidy(self, name: RepositoryName) -> None:
        """Directories go in which nothing is left: that of the repository, and those above it."""
        directory = name.split("/")
        while directory and not await self._names(layout.repository("/".join(directory))):
            await self.storage.delete(layout.repository("/".join(directory)), if_empty=True)
            directory.pop()

    async def _names(self, key: str, holding: str = "") -> Sequence[str]:
        try:
            return await self.storage.list(key, holding=holding)
        except PathNotFoundError:
            return ()

    async def _find(self, marker: str, after: str, limit: int, grants: Grants = EVERYTHING) -> list[str]:
        """Up to `limit` names of directories that hold an entry `marker`, depth first, each in byte order.

        That is the original's order: `a/1` sorts before `a`, whose `_manifests` comes after digits. Only names
        behind `after` are given, which need not exist any more.
        """
        walk = _Walk(marker, limit, grants)
        await self.storage.explore(walk.steps([*after.split("/"), marker] if after else []))
        return walk.found


@dataclass(slots=True)
class _Walk:
    """Finds up to `limit` names."""

    marker: str
    limit: int
    grants: Grants
    found: list[str] = field(default_factory=list)

    def steps(self, bound: list[str]) -> Steps[None]:
        entries = yield [layout.REPOSITORIES]
        yield from self._inside("", entries[0], bound)

    def _inside(self, parent: str, entries: Sequence[str], bound: list[str]) -> Steps[None]:
        known: list[Sequence[str]] = []
        ahead: list[str] = []
        for position in range(bisect_left(entries, bound[0]) if bound else 0, len(entries)):
            entry = entries[position]
            at_bound = bool(bound) and entry == bound[0]
            if entry == self.marker:
                if parent and not at_bound:
                    self._add(parent)
            elif self._leads(parent, entry):
                if not known:
                    ahead = ahead or self._directories(parent, entries[position : position + AHEAD])
                    known = list((yield ahead))[::-1]
                    del ahead[: len(known)]
                child = f"{parent}/{entry}" if parent else entry
                names = known.pop()
                if at_bound or not _is_leaf(names):
                    yield from self._inside(child, names, bound[1:] if at_bound else [])
                elif self.marker in names:
                    self._add(child)
            if len(self.found) == self.limit:
                return

    def _leads(self, parent: str, entry: str) -> bool:
        if entry.startswith("_"):
            return False
        return self.grants.everything or self.grants.leads(f"{parent}/{entry}" if parent else entry)

    def _directories(self, parent: str, entries: Sequence[str]) -> list[str]:
        start = layout.repository(parent) if parent else layout.REPOSITORIES
        return [f"{start}/{entry}" for entry in entries if self._leads(parent, entry)]

    def _add(self, name: str) -> None:
        if self.grants.shows(name):
            self.found.append(name)


def _is_leaf(names: Sequence[str]) -> bool:
    """Whether all of these, which are in byte order, are the repository's own."""
    return not names or (names[0].startswith("_") and names[-1].startswith("_"))
