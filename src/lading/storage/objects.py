"""What the drivers of object stores share: `lading.registry.ports.Storage` over a flat store of named objects.

A driver brings a `Bucket` (a dozen requests that its store answers) and subclasses `ObjectStorage` with its
`redirect`. Everything here needs only this of a store: what was written is seen at once by everybody, and an
object can be created only where none is, or replaced and removed only where it is still the one that was seen.

- Keys are names: a prefix, and the key without its first slash. Directories are what names have in common.
- Whoever writes an upload, or holds a directory, says so in an object whose name is no key (`~lading/…`), and
  renews it; if that is not done for `STALE_SECONDS` by the store's clock, the next one takes over.
- Objects are read in blocks, the next one while the last is sent; a reader never mixes two versions of one.
- A small object that was never sent in part is put under its target at once: nothing is copied.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

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
)

T = TypeVar("T")
R = TypeVar("R")

FIRST_BYTES = 1024 * 1024
"""What opening an object reads: all of most manifests, in one request."""

BLOCK_BYTES = 4 * 1024 * 1024
"""What is read at a time from there on; a reader keeps two of them."""

CONCURRENCY = 32
"""Requests at a time of one call, where they do not depend on each other."""

ATTEMPTS = 20
"""How often a race with those who replace an object may be lost before it counts as a failure."""

STALE_SECONDS = 30.0
"""When who has not renewed a claim is taken for dead; it is renewed three times as often."""

POLL_SECONDS = 0.2
"""How often somebody who waits for a directory looks again."""

HASHED_INLINE = 64 * 1024
"""Up to so many bytes are shown in the event loop, more in a thread."""

_COMPONENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]+", re.ASCII)


class ChangedError(StorageError):
    """The object is not the one that was meant."""


class Found(NamedTuple):
    """An object. `tag` is what tells this version of it from any other."""

    size: int
    modified: float
    tag: str
    age: float = 0.0
    """Seconds since `modified` by the store's clock."""


class Pending(Protocol):
    """An object on its way to its name, in one process at a time. All raise `PathNotFoundError` if it is gone."""

    size: int
    """Bytes that the store has accepted from `extend` so far, by any process."""
    unit: int
    """`extend` takes multiples of this many bytes."""

    async def extend(self, data: bytes) -> None: ...

    async def suspend(self, rest: bytes) -> None:
        """Keep the rest too, so that `Bucket.begin` finds all of it. If the object is gone, nothing is made."""
        ...

    async def complete(self, rest: bytes) -> None:
        """With the rest the object is whole, and under its name."""
        ...


class Bucket(Protocol):
    """What a store does. Raises `StorageError`; that there is nothing is an answer, unless said otherwise."""

    driver: str

    async def head(self, name: str) -> Found | None: ...

    async def fetch(self, name: str, start: int, length: int, tag: str = "") -> tuple[bytes, Found] | None:
        """These bytes, fewer only at the end. Raises `ChangedError` if `tag` is given and no longer right."""
        ...

    async def put(self, name: str, data: bytes, only: str | None = None) -> str | None:
        """The new tag; None if `only` is not the tag of what is there, "" if nothing is."""
        ...

    async def remove(self, name: str, tag: str = "") -> bool:
        """Whether there was something, with this tag if one is given."""
        ...

    async def copy(self, source: str, target: str) -> bool:
        """Whether there was a source."""
        ...

    def pages(
        self, prefix: str, *, start: str = "", flat: bool = False, size: int = 1000
    ) -> AsyncGenerator[Sequence[str], None]:
        """Whole names below the prefix in byte order, from `start` on at the latest.

        Unless `flat`, those with a slash behind the prefix are cut behind it, and come once.
        """
        ...

    async def begin(self, name: str, *, append: bool) -> tuple[Pending, bytes]:
        """An empty object, made at once, or the one there is and the bytes of it that `extend` has not got yet."""
        ...


class ObjectStorage:
    """See `lading.registry.ports.Storage`."""

    traits = Traits(shared=True, redirects=True)

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        """`prefix` is empty or ends with a slash."""
        self.name = bucket.driver
        self._bucket = bucket
        self._prefix = prefix

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
        found = await self._bucket.fetch(name, offset, FIRST_BYTES)
        if found is None:
            raise PathNotFoundError(self.name, key)
        return ObjectReader(self._bucket, key, name, found, offset)

    async def writer(self, key: str, *, append: bool) -> ObjectWriter:
        name = self._name(key)
        claim = await _Claim.make(self._bucket, f"{self._prefix}~lading/writers{key}")
        if claim is None:
            raise BusyError(self.name, f"another writer is active: {key}")
        try:
            pending, rest = await self._bucket.begin(name, append=append)
        except BaseException:
            await to_the_end(claim.release())
            raise
        return ObjectWriter(self, key, name, claim, pending, rest)

    async def move(self, source: str, target: str) -> None:
        name, to = self._name(source), self._name(target)

        async def move() -> bool:
            if not await self._bucket.copy(name, to):
                return False
            await self._bucket.remove(name)
            return True

        if source != target and not await to_the_end(move()):
            raise PathNotFoundError(self.name, source)

    async def delete(self, key: str) -> None:
        name = self._name(key)
        if not await to_the_end(self._delete(name)):
            raise PathNotFoundError(self.name, key)

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
            while refused and shared and await self._is_claimed(alone):
                await asyncio.sleep(POLL_SECONDS)
            claim = await _Claim.make(self._bucket, f"{sharing}{uuid.uuid4().hex}" if shared else alone)
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

    def _name(self, key: str) -> str:
        return self._prefix + check_key(self.name, key)[1:]

    async def _is_claimed(self, name: str) -> bool:
        names = [name]
        if name.endswith("/"):
            names = [each async for page in self._bucket.pages(name, flat=True) for each in page]
        found = await together(self._bucket.head, names)
        return any(each is not None and each.age < STALE_SECONDS for each in found)

    async def _has_children(self, name: str) -> bool:
        async with contextlib.aclosing(self._bucket.pages(f"{name}/", flat=True, size=1)) as pages:
            async for page in pages:
                if page:
                    return True
        return False

    async def _children(self, prefix: str, after: str, limit: int | None) -> list[str]:
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

    async def _holding(self, prefix: str, after: str, limit: int | None, holding: str) -> list[str]:
        async def holds(name: str) -> bool:
            inner = f"{prefix}{name}/{holding}"
            return await self._bucket.head(inner) is not None or await self._has_children(inner)

        found: list[str] = []
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


class ObjectReader:
    """See `lading.registry.ports.Reader`."""

    def __init__(self, bucket: Bucket, key: str, name: str, first: tuple[bytes, Found], offset: int) -> None:
        self._data, found = first
        self.size = found.size
        self.path: str | None = None
        self._bucket = bucket
        self._key = key
        self._name = name
        self._tag = found.tag
        self._start = self._offset = offset
        self._ahead: tuple[int, asyncio.Task[bytes]] | None = None
        self._closed = False

    def fileno(self) -> int:
        raise OSError("no file holds the object")

    async def read(self, limit: int) -> bytes:
        if self._closed:
            raise StorageError(self._bucket.driver, f"already closed: {self._key}")
        limit = min(limit, self.size - self._offset)
        if limit <= 0:
            return b""
        if not self._start <= self._offset < self._start + len(self._data):
            await self._turn()
        at = self._offset - self._start
        data = self._data[at : at + limit]
        self._offset += len(data)
        return data

    def seek(self, offset: int) -> None:
        self._offset = offset

    async def close(self) -> None:
        self._closed = True
        self._data = b""
        self._drop()

    async def _turn(self) -> None:
        """Have the block at the offset, and ask for the next one."""
        if self._ahead is None or self._ahead[0] != self._offset:
            self._drop()
            self._ahead = self._offset, asyncio.create_task(self._fetch(self._offset))
        self._start, task = self._ahead
        self._data = await task
        end = self._start + len(self._data)
        self._ahead = None if end >= self.size else (end, asyncio.create_task(self._fetch(end)))

    async def _fetch(self, start: int) -> bytes:
        length = min(BLOCK_BYTES, self.size - start)
        found = await self._bucket.fetch(self._name, start, length, self._tag)
        if found is None:
            raise PathNotFoundError(self._bucket.driver, self._key)
        if len(found[0]) != length:
            raise StorageError(self._bucket.driver, f"{len(found[0])} bytes for {length}: {self._key}")
        return found[0]

    def _drop(self) -> None:
        if self._ahead is not None:
            self._ahead[1].cancel()
            self._ahead[1].add_done_callback(lambda task: task.cancelled() or task.exception())
            self._ahead = None


class ObjectWriter:
    """See `lading.registry.ports.Writer`. The key is held by a claim."""

    def __init__(
        self, storage: ObjectStorage, key: str, name: str, claim: _Claim, pending: Pending, rest: bytes
    ) -> None:
        self.size = pending.size + len(rest)
        self._storage = storage
        self._bucket = storage._bucket
        self._key = key
        self._name = name
        self._claim = claim
        self._pending = pending
        self._rest = bytearray(rest)
        self._ended = ""

    async def write(self, chunks: Sequence[bytes], also: Callable[[bytes], None] | None = None) -> None:
        self._check_open()
        for chunk in chunks:
            self._rest += chunk
            self.size += len(chunk)
        if len(self._rest) >= self._pending.unit:
            await to_the_end(self._send())
        if also is None:
            return
        if sum(map(len, chunks)) <= HASHED_INLINE:
            _show(chunks, also)
        else:
            await to_the_end(asyncio.to_thread(_show, chunks, also))

    async def close(self) -> None:
        if not self._ended:
            self._ended = "closed"
            await to_the_end(self._close())

    async def commit(
        self, target: str | None = None, then: Objects | None = None, remove: str | None = None
    ) -> None:
        self._check_open()
        for key in (target, remove, *(then or {})):
            if key is not None:
                check_key(self._bucket.driver, key)
        self._ended = "committed"
        await to_the_end(self._commit(target, then or {}, remove))

    async def cancel(self) -> None:
        self._check_open()
        self._ended = "cancelled"
        await to_the_end(self._cancel())

    def _check_open(self) -> None:
        if self._ended:
            raise StorageError(self._bucket.driver, f"already {self._ended}: {self._key}")

    async def _send(self) -> None:
        if self._claim.lost:
            raise BusyError(self._bucket.driver, f"another writer has taken over: {self._key}")
        try:
            while len(self._rest) >= self._pending.unit:
                data = bytes(self._rest[: self._pending.unit])
                await self._pending.extend(data)
                del self._rest[: len(data)]
        except StorageError:
            self._rest.clear()
            self.size = self._pending.size
            raise

    async def _close(self) -> None:
        try:
            if not self._claim.lost:
                with contextlib.suppress(PathNotFoundError):
                    await self._pending.suspend(bytes(self._rest))
        finally:
            await self._claim.release()

    async def _commit(self, target: str | None, then: Objects, remove: str | None) -> None:
        try:
            if self._claim.lost:
                raise BusyError(self._bucket.driver, f"another writer has taken over: {self._key}")
            if target is not None and self._pending.size == 0:
                if await self._bucket.head(self._name) is None:
                    raise PathNotFoundError(self._bucket.driver, self._key)
                await self._storage.put(target, bytes(self._rest))
                await self._bucket.remove(self._name)
            else:
                await self._pending.complete(bytes(self._rest))
                if target is not None:
                    await self._storage.move(self._key, target)
            await self._storage.put_all(then)
            if remove is not None:
                with contextlib.suppress(PathNotFoundError):
                    await self._storage.delete(remove)
        finally:
            await self._claim.release()

    async def _cancel(self) -> None:
        try:
            await self._bucket.remove(self._name)
        finally:
            await self._claim.release()


class _Claim:
    """An object that says who is at work, for as long as it is renewed."""

    def __init__(self, bucket: Bucket, name: str, mark: bytes, tag: str) -> None:
        self.lost = False
        """Another may have taken over: nothing is to be written any more."""
        self._bucket = bucket
        self._name = name
        self._mark = mark
        self._tag = tag
        self._released = asyncio.Event()
        self._renewing = asyncio.create_task(self._renew())

    @classmethod
    async def make(cls, bucket: Bucket, name: str) -> _Claim | None:
        """None while another is at work."""
        mark = uuid.uuid4().hex.encode("ascii")

        async def make() -> str | None:
            only = ""
            for _ in range(3):
                tag = await bucket.put(name, mark, only)
                if tag is not None:
                    return tag
                there = await bucket.fetch(name, 0, FIRST_BYTES)
                if there is not None and there[0] == mark:
                    return there[1].tag  # the answer to the first attempt was lost
                if there is not None and there[1].age < STALE_SECONDS:
                    return None
                only = "" if there is None else there[1].tag
            return None

        tag = await to_the_end(make())
        return None if tag is None else cls(bucket, name, mark, tag)

    async def release(self) -> None:
        self._released.set()
        await self._renewing
        # If it cannot be removed now, it is stale soon.
        with contextlib.suppress(StorageError):
            await self._bucket.remove(self._name, self._tag)

    async def _renew(self) -> None:
        renewed = time.monotonic()
        while not self.lost:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._released.wait(), STALE_SECONDS / 3)
                return
            asked = time.monotonic()
            with contextlib.suppress(StorageError):
                tag = await self._bucket.put(self._name, self._mark, self._tag)
                if tag is None:
                    there = await self._bucket.fetch(self._name, 0, FIRST_BYTES)
                    tag = there[1].tag if there is not None and there[0] == self._mark else None
                    self.lost = tag is None
                self._tag, renewed = tag or self._tag, asked
            self.lost = self.lost or time.monotonic() - renewed > STALE_SECONDS


async def together(function: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """The results in their order, of `CONCURRENCY` calls at a time."""
    results: list[R] = []
    for start in range(0, len(items), CONCURRENCY):
        results += await asyncio.gather(*map(function, items[start : start + CONCURRENCY]))
    return results


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Its result. Who is cancelled meanwhile waits for it all the same."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _show(chunks: Sequence[bytes], also: Callable[[bytes], None]) -> None:
    for chunk in chunks:
        also(chunk)


def _settled(names: Sequence[str], last: Sequence[str]) -> bool:
    """Whether nothing that sorts before one of the names can follow behind the entry `last`.

    Only what begins one can: "1.0/" comes behind "1.0-rc1/".
    """
    starts = (name[:at] for name in names for at in range(1, len(name)) if name[at] in "-.")
    return not last or all(f"{start}/" <= last[0] for start in starts)
