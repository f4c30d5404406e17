"""What lies directly below a key. There are no directories: a search names every object below it, but not its key.

So each name costs the header of an object, once. A page of many names that are not known yet is looked for part by
part, by the letters that the names go on with, and takes no more headers than such a page needs.
"""

from __future__ import annotations

import bisect
import functools
import heapq
import itertools
import random
import string
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace

from lading.registry.ports import InvalidPathError, check_key
from lading.storage.frostfs.messages import DRIVER, FILE_PATH, ROOT, Filter, Info, equals, starts_with
from lading.storage.frostfs.objects import Objects, at_once

LOOKED_AT = 256
"""So many headers that are not known yet are asked for without dividing them."""

SAMPLE = 64
"""Headers that tell how the names of a part go on."""

LETTERS = "".join(sorted(f"-._{string.digits}{string.ascii_letters}"))
"""Of a key's components, in their order."""


async def paths_below(objects: Objects, key: str) -> Sequence[str]:
    """All keys below a key, sorted."""
    return _keys(await objects.find(ROOT, starts_with(FILE_PATH, _base(key))))


def names(paths: Sequence[str], key: str) -> Iterator[str]:
    """The names of the direct children of `key`, from the sorted keys below it; not in order."""
    base = _base(key)
    position = bisect.bisect_left(paths, base)
    while position < len(paths) and paths[position].startswith(base):
        name, slash, _ = paths[position][len(base) :].partition("/")
        yield name
        # "0" is what follows "/": behind all that lies below the child.
        position = bisect.bisect_left(paths, f"{base}{name}0") if slash else position + 1


@dataclass(frozen=True, slots=True)
class _Part:
    """The objects whose keys begin with `prefix`, or are it."""

    prefix: str
    ids: list[bytes]
    is_key: bool = False

    @property
    def wanted(self) -> Filter:
        return (equals if self.is_key else starts_with)(FILE_PATH, self.prefix)


@dataclass(frozen=True, slots=True)
class Page:
    """The first `limit` names below `key` that sort after `after`, and hold `holding` if that is given."""

    objects: Objects
    key: str
    after: str = ""
    limit: int | None = None
    holding: str = ""

    async def names(self) -> Sequence[str] | None:
        """None if nothing lies below the key."""
        part = await self._part(_base(self.key))
        if not part.ids:
            return None
        found: list[str] = []
        async for some in self._pieces(part):
            found += some
            if self.limit is not None and len(found) >= self.limit:
                break
        return found[: self.limit]

    async def _pieces(self, part: _Part) -> AsyncIterator[list[str]]:
        """The names of the part, in order, piece by piece."""
        if self.limit is None or part.is_key or self.objects.unknown(part.ids) <= LOOKED_AT:
            infos = await self.objects.find(ROOT, part.wanted, ids=part.ids)
            yield self._wanted(_keys(infos))
        elif part.prefix.endswith("/") and part.prefix != _base(self.key):
            yield await self._alone(part.prefix[:-1])
        else:
            for child in await self._divided(part):
                if not self._is_before(child.prefix):
                    async for some in self._pieces(child):
                        yield some

    def _wanted(self, paths: Sequence[str]) -> list[str]:
        found = {name for name in names(paths, self.key) if name > self.after}
        if self.holding:
            base = _base(self.key)
            found = {name for name in found if _exists(paths, f"{base}{name}/{self.holding}")}
        return sorted(found) if self.limit is None else heapq.nsmallest(self.limit, found)

    async def _alone(self, child: str) -> list[str]:
        """The name of a child that has very much below it."""
        if self.holding:
            held = f"{child}/{self.holding}"
            infos = await self.objects.find(ROOT, starts_with(FILE_PATH, held))
            if not _exists(_keys(infos), held):
                return []
        return [child[len(_base(self.key)) :]]

    async def _divided(self, part: _Part) -> list[_Part]:
        """Parts with longer prefixes, in the order of the names in them. Nothing that is in `part` is in none."""
        start, ids = len(part.prefix), set(part.ids)
        sample = await self.objects.heads(random.sample(part.ids, SAMPLE))
        known = [info.path for info in sample if info.path.startswith(part.prefix)]
        alike, slash, _ = _beginning(known)[start:].partition("/")
        if len(alike) > 1 or slash:
            longer = await self._part(f"{part.prefix}{alike}{slash}")
            if ids.issubset(longer.ids):
                return [longer]
        # A name that others begin with is rare: a sample may miss it, and all letters would be tried.
        letters = {"/"} | {path[start : start + 1] for path in known}
        parts = await self._parts(part.prefix, letters)
        if not ids.issubset(each for part in parts for each in part.ids):
            parts += await self._parts(part.prefix, {"", "/", *LETTERS} - letters)
        return sorted((part for part in parts if part.ids), key=lambda part: part.prefix.removesuffix("/"))

    async def _parts(self, prefix: str, letters: set[str]) -> list[_Part]:
        calls = [functools.partial(self._part, f"{prefix}{letter}", is_key=not letter) for letter in letters]
        return await at_once(calls)

    async def _part(self, prefix: str, *, is_key: bool = False) -> _Part:
        part = _Part(prefix, [], is_key)
        return replace(part, ids=await self.objects.search(ROOT, part.wanted))

    def _is_before(self, prefix: str) -> bool:
        """Whether every name in the part sorts before those that are wanted, or is `after` itself."""
        begun, slash, _ = prefix[len(_base(self.key)) :].partition("/")
        return begun <= self.after if slash else begun < self.after and not self.after.startswith(begun)


def _beginning(paths: Sequence[str]) -> str:
    """What all of them begin with."""
    first, last = min(paths, default=""), max(paths, default="")
    return "".join(
        one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    )


def _base(key: str) -> str:
    return "/" if key == "/" else f"{key}/"


def _keys(infos: Sequence[Info]) -> Sequence[str]:
    return sorted({info.path for info in infos if _is_key(info.path)})


def _is_key(path: str) -> bool:
    try:
        check_key(DRIVER, path)
    except InvalidPathError:
        return False
    return True


def _exists(paths: Sequence[str], key: str) -> bool:
    position = bisect.bisect_left(paths, key)
    if position < len(paths) and paths[position] == key:
        return True
    position = bisect.bisect_left(paths, f"{key}/")
    return position < len(paths) and paths[position].startswith(f"{key}/")
