"""What a driver of an object store brings, and how requests that do not depend on each other are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from lading.registry.ports import StorageError

T = TypeVar("T")
R = TypeVar("R")

CONCURRENCY = 32
"""Requests at a time of one call, where they do not depend on each other."""


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
    tag: str
    """Once `complete` has returned: what tells the object from any other version."""

    async def extend(self, data: bytes) -> None: ...

    async def suspend(self, rest: bytes) -> None:
        """Keep the rest too, so that `Bucket.begin` finds all of it. If the object is gone, nothing is made."""
        ...

    async def complete(self, rest: bytes) -> None:
        """With the rest the object is whole, and under its name. Raises `BusyError` if another has changed it."""
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

    async def copy(self, source: str, target: str, tag: str = "", *, anew: bool = False) -> bool:
        """Whether there was a source. Raises `ChangedError` if `tag` is given and not the source's.

        With `anew` what is under the target is left as it is.
        """
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

    async def signed(self, name: str, method: str) -> str | None:
        """An address that is good for one GET or HEAD, or many, for a while."""
        ...

    async def close(self) -> None:
        """Let go of connections; the next request makes new ones."""
        ...


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
