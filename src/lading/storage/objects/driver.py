"""`lading.registry.ports.Storage` over a `Bucket`."""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar
from weakref import WeakValueDictionary

from lading.registry.ports import (
    BusyError,
    InvalidOffsetError,
    Objects,
    PathNotFoundError,
    Stat,
    Steps,
    StorageError,
    Traits,
    check_key,
    is_key,
)
from lading.storage.objects.bucket import CONCURRENCY, Bucket, ChangedError, to_the_end, together
from lading.storage.objects.claims import HOLDING_SECONDS, MARK_BYTES, WRITING_SECONDS, Claim, seconds_left
from lading.storage.objects.reading import BLOCK_BYTES, ObjectReader
from lading.storage.objects.writing import ObjectWriter

T = TypeVar("T")
Names = list[str]

FIRST_BYTES = 1024 * 1024
"""What opening an object reads: all of most manifests, in one request."""

ATTEMPTS = 20
"""How often a race with those who replace an object may be lost before it counts as a failure."""

POLL_SECONDS = 0.2
"""How often somebody who waits for a directory looks again."""

_COMPONENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]+", re.ASCII)


class ObjectStorage:
    """See `lading.registry.ports.Storage`."""

    traits = Traits(shared=True, redirects=True, flat=True)

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        """`prefix` is empty or ends with a slash."""
        self.name = bucket.driver
        self._bucket = bucket
        self._prefix = prefix
        self._writing: WeakValueDictionary[str, ObjectWriter] = WeakValueDictionary()
        """Those of this process, by name: they hold back what is too short for their store."""

    async def stat(self, key: str) -> Stat:
        if key == "/":
            return Stat(0, 0.0, is_directory=True)
        name = self._name(key)
        found = await self._bucket.head(name)
        if found is not None:
            return Stat(found.size, found.modified, is_directory=False)
        if await self._has_children(name):
            return Stat(0, 0.0, is_directory=True)
        raise PathNotFoundError(self.name, key)

    async def get(self, key: str) -> bytes:
        for _ in range(ATTEMPTS):
            reader = await self.open(key)
            pieces = []
            with contextlib.suppress(ChangedError):
                while piece := await reader.read(BLOCK_BYTES):
                    pieces.append(piece)
                return b"".join(pieces)
        raise StorageError(self.name, f"changes all the time: {key}")

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> None:  # noqa: ARG002
        await to_the_end(self._bucket.put(self._name(key), data))

    async def put_all(self, *stages: Objects, upon: Sequence[str] = ()) -> None:
        named = [(self._name(key), data) for objects in stages for key, data in objects.items()]
        there = [self._name(key) for key in upon]

        async def put_all() -> None:
            for key, found in zip(upon, await together(self._bucket.head, there), strict=True):
                if found is None:
                    raise PathNotFoundError(self.name, key)
            for name, data in named:
                await self._bucket.put(name, data)

        # Whoever holds a directory around this lets go of it only when nothing changes any more.
        await to_the_end(put_all())

    async def open(self, key: str, offset: int = 0) -> ObjectReader:
        if offset < 0:
            raise InvalidOffsetError(self.name, key, offset)
        name = self._name(key)
        if (writer := self._writing.get(name)) is not None:
            await writer.make_readable()
        found = await self._bucket.fetch(name, offset, FIRST_BYTES)
        if found is None:
            raise PathNotFoundError(self.name, key)
        return ObjectReader(self._bucket, key, name, found, offset)

    async def writer(self, key: str, *, append: bool) -> ObjectWriter:
        name = self._name(key)
        claim = await Claim.make(self._bucket, f"{self._prefix}~lading/writers{key}", WRITING_SECONDS)
        try:
            pending, rest = await self._bucket.begin(name, append=append)
        except BaseException:
            await to_the_end(claim.release())
            raise
        self._writing[name] = writer = ObjectWriter(self, self._bucket, key, self._name, claim, pending, rest)
        return writer

    async def move(self, source: str, target: str, *, may_stay: bool = False) -> None:
        name, to = self._name(source), self._name(target)

        async def move() -> bool:
            if not await self._bucket.copy(name, to, anew=may_stay):
                return False
            if not may_stay:
                await self._bucket.remove(name)
            return True

        if source != target and not await to_the_end(move()):
            raise PathNotFoundError(self.name, source)

    async def delete(self, key: str, *, if_empty: bool = False) -> None:
        name = self._name(key)
        if not if_empty and not await to_the_end(self._delete(name)):
            raise PathNotFoundError(self.name, key)

    async def delete_all(self, keys: Sequence[str]) -> None:
        await to_the_end(together(self._bucket.remove, [self._name(key) for key in keys]))

    async def walk(self, key: str) -> AsyncIterator[tuple[str, Stat | None]]:
        prefix = self._name(key)
        async with contextlib.aclosing(self._bucket.pages(f"{prefix}/", flat=True)) as pages:
            async for page in pages:
                for child in (key + name.removeprefix(prefix) for name in page):
                    if is_key(child):
                        yield child, None

    async def list(
        self, key: str, *, after: str = "", limit: int | None = None, holding: str = ""
    ) -> Sequence[str]:
        prefix = self._prefix if key == "/" else self._name(key) + "/"
        if holding:
            check_key(self.name, f"/-/{holding}")
            names = await self._holding(prefix, after, limit, holding)
        else:
            names = await self._children(prefix, after, limit)
        if not names and key != "/" and not await self._has_children(prefix[:-1]):
            raise PathNotFoundError(self.name, key)
        return names

    async def explore(self, steps: Steps[T]) -> T:
        async def names(key: str) -> Sequence[str]:
            return await self._children(self._name(key) + "/", "", None)

        try:
            keys = next(steps)
            while True:
                keys = steps.send(await together(names, keys[:CONCURRENCY]))
        except StopIteration as end:
            result: T = end.value
            return result

    @contextlib.asynccontextmanager
    async def hold(self, key: str, *, shared: bool) -> AsyncIterator[None]:
        self._name(key)
        alone, sharing = f"{self._prefix}~lading/holds{key}/~alone", f"{self._prefix}~lading/holds{key}/~shared/"
        refused = False
        while True:
            while refused and shared and await self._is_claimed(alone):  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
            claim = await self._hold(f"{sharing}{uuid.uuid4().hex}" if shared else alone)
            if claim is not None:
                try:
                    # Either side makes its claim first and looks for the other's then: both never miss each other.
                    while await self._is_claimed(alone if shared else sharing):
                        if shared:
                            break  # lets go, or the other would wait for this one
                        await asyncio.sleep(POLL_SECONDS)
                    else:
                        yield
                        return
                finally:
                    await to_the_end(claim.release())
            refused = True
            if not shared:
                await asyncio.sleep(POLL_SECONDS)

    async def redirect(self, key: str, method: str, client: str = "") -> str | None:  # noqa: ARG002
        name = self._name(key)
        return await self._bucket.signed(name, method) if method in {"GET", "HEAD"} else None

    async def abort_older(self, key: str, before: float, *, dry_run: bool = False) -> int:
        """Remove what dead processes have claimed below a directory; how much there was.

        Of claims that nobody takes over nothing else tells. Only those count that were last renewed before a time,
        the store's, in seconds since 1970.
        """
        count = 0
        for kind in ("writers", "holds"):
            async for page in self._bucket.pages(f"{self._prefix}~lading/{kind}{key}/", flat=True):
                found = await together(self._bucket.head, page)
                stale = {
                    name: each.tag
                    for name, each in zip(page, found, strict=True)
                    if each is not None and each.modified < before and each.age > HOLDING_SECONDS
                }
                count += len(stale)
                if not dry_run:
                    await together(lambda name: self._bucket.remove(name, stale[name]), list(stale))  # noqa: B023
        return count

    async def close(self) -> None:
        await self._bucket.close()

    async def _hold(self, name: str) -> Claim | None:
        with contextlib.suppress(BusyError):
            return await Claim.make(self._bucket, name, HOLDING_SECONDS)
        return None

    def _name(self, key: str) -> str:
        return self._prefix + check_key(self.name, key)[1:]

    async def _is_claimed(self, name: str) -> bool:
        names = [name]
        if name.endswith("/"):
            names = [each async for page in self._bucket.pages(name, flat=True) for each in page]
        found = await together(lambda each: self._bucket.fetch(each, 0, MARK_BYTES), names)
        return any(each is not None and seconds_left(*each) > 0 for each in found)

    async def _has_children(self, name: str) -> bool:
        async with contextlib.aclosing(self._bucket.pages(f"{name}/", flat=True, size=1)) as pages:
            async for page in pages:
                if page:
                    return True
        return False

    async def _children(self, prefix: str, after: str, limit: int | None) -> Sequence[str]:
        # What sorts behind `after` as a name, but before it with a slash behind, begins with it and "-" or ".".
        start = f"{prefix}{after}-" if after else ""
        names: set[str] = set()
        async with contextlib.aclosing(self._bucket.pages(prefix, start=start)) as pages:
            async for page in pages:
                entries = [entry[len(prefix) :] for entry in page]
                found = [entry.removesuffix("/") for entry in entries]
                names.update(name for name in found if name > after and _COMPONENT.fullmatch(name) is not None)
                if limit is not None and len(names) >= limit and _settled(sorted(names)[:limit], entries[-1:]):
                    break
        return sorted(names)[:limit]

    async def _holding(self, prefix: str, after: str, limit: int | None, holding: str) -> Sequence[str]:
        async def holds(name: str) -> bool:
            inner = f"{prefix}{name}/{holding}"
            return await self._bucket.head(inner) is not None or await self._has_children(inner)

        found: Names = []
        names = await self._children(prefix, after, None)
        for start in range(0, len(names), CONCURRENCY):
            if limit is not None and len(found) >= limit:
                break
            some = names[start : start + CONCURRENCY]
            held = await together(holds, some)
            found += [name for name, is_held in zip(some, held, strict=True) if is_held]
        return found[:limit]

    async def _delete(self, name: str) -> bool:
        """The object, and all below it."""
        deleted = await self._bucket.remove(name)
        async for page in self._bucket.pages(f"{name}/", flat=True):
            deleted = True
            await together(self._bucket.remove, page)
        return deleted


def _settled(names: Sequence[str], last: Sequence[str]) -> bool:
    """Whether nothing that sorts before one of the names can follow behind the entry `last`.

    Only what begins one can: "1.0/" comes behind "1.0-rc1/".
    """
    starts = (name[:at] for name in names for at in range(1, len(name)) if name[at] in "-.")
    return not last or all(f"{start}/" <= last[0] for start in starts)
