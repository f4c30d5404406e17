"""Names in directories, page by page. The store sorts whole keys: `a-b/…` lies before `a/…`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lading.registry.ports import PathNotFoundError
from lading.storage.s3.bucket import DRIVER, Bucket, together

_COMPONENT = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_PAGE = 1000
"""No store lists more at a time."""
_LAST = "~"
"""Sorts behind all that may be in a key."""


async def names(bucket: Bucket, key: str, after: str, limit: int | None, holding: str) -> list[str]:
    """As `Storage.list`; none where there is no such directory."""
    walk = _Walk(bucket, key, after, holding)
    # Where names are to hold something, most have two objects: a tag its current link and one of its history.
    keys = _PAGE if limit is None else (limit * 2 if holding else limit) + 8
    while not walk.ended and (limit is None or len(walk.found) < limit):
        await walk.step(min(_PAGE, keys))
        keys *= 2
    if limit is None:
        return sorted(walk.found)
    return await walk.first(limit)


async def check_directory(bucket: Bucket, key: str) -> None:
    """Raises `PathNotFoundError` unless there is something below."""
    if await bucket.first(key, bucket.below(key)) is None:
        raise PathNotFoundError(DRIVER, key)


class _Walk:
    """The names seen so far of a directory that is read in the order of the store."""

    def __init__(self, bucket: Bucket, key: str, after: str, holding: str) -> None:
        self._bucket = bucket
        self._key = key
        self._prefix = bucket.below(key)
        self._after = after
        self._holding = holding
        self._position = self._prefix + after if after else ""
        """The store is read on behind this name."""
        self.found: set[str] = set()
        self.ended = False

    async def step(self, limit: int) -> None:
        # To know what names hold, all below them is listed: half a thousand tags in one request.
        arguments: dict[str, object] = {} if self._holding else {"Delimiter": "/"}
        if self._position:
            arguments["StartAfter"] = self._position
        page = await self._bucket.call(
            "list_objects_v2",
            self._key,
            Prefix=self._prefix,
            MaxKeys=limit,
            **arguments,
        )
        objects = [found["Key"] for found in page.get("Contents", [])]
        directories = [found["Prefix"] for found in page.get("CommonPrefixes", [])]
        for name in objects if self._holding else [*objects, *directories]:
            self._see(name)
        self.ended = not page.get("IsTruncated")
        if objects or directories:
            # Behind all of the last name, which may have more below it than a page.
            last = max([*objects, *directories])
            name, slash, _ = last[len(self._prefix) :].partition("/")
            done = not self._holding or name in self.found
            self._position = f"{self._prefix}{name}/{_LAST}" if slash and done else last

    def _see(self, full: str) -> None:
        name, _, inner = full[len(self._prefix) :].partition("/")
        if name <= self._after or _COMPONENT.fullmatch(name) is None:
            return
        if not self._holding or inner == self._holding or inner.startswith(f"{self._holding}/"):
            self.found.add(name)

    async def first(self, limit: int) -> list[str]:
        """The first names in byte order, where a directory `a` may come behind all that begins with `a-`."""
        while True:
            page = sorted(self.found)[:limit]
            if self.ended or not page or len(page) < limit:
                return page
            # Whatever is unseen and sorts before the last is the beginning of it.
            unseen = [
                name
                for name in _beginnings(page[-1])
                if name > self._after and name not in self.found and f"{self._prefix}{name}/" > self._position
            ]
            there = await together([self._exists(name) for name in unseen])
            if not any(there):
                return page
            self.found.update(name for name, is_there in zip(unseen, there, strict=True) if is_there)

    async def _exists(self, name: str) -> bool:
        return await exists(self._bucket, self._key, f"{self._prefix}{name}/{self._holding}")


async def exists(bucket: Bucket, key: str, full: str) -> bool:
    """Whether there is an object of this name, or one below it."""
    if full.endswith("/"):
        return await bucket.first(key, full) is not None
    found = await bucket.first(key, full)
    if found is None or found["Key"] == full or found["Key"].startswith(f"{full}/"):
        return found is not None
    return await bucket.first(key, f"{full}/") is not None


def _beginnings(name: str) -> Iterator[str]:
    for index, character in enumerate(name):
        if index and character in "-.":
            yield name[:index]


def all_names(full: Sequence[str], prefix: str) -> set[str]:
    return {name.removeprefix(prefix).partition("/")[0] for name in full}
