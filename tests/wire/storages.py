"""Storages that watch, refuse, redirect or break off: around any other one."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from lading.registry.ports import Objects, PathNotFoundError, Reader, Stat, Steps, Storage, Writer

T = TypeVar("T")

_KEY = re.compile(r"(/[A-Za-z0-9._-]+)+", re.ASCII)
ROOT = "/docker/registry/v2/"

Before = Callable[[str, str], None]
"""Is told the operation and the key, and may raise."""


@dataclass
class Watched:
    """Notes every call as (operation, key), and every key that no registry may ever ask for."""

    inner: Storage
    before: Before = lambda _operation, _key: None
    calls: list[tuple[str, str]] = field(default_factory=list)
    astray: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = self.inner.name
        self.traits = self.inner.traits

    def keys(self, *operations: str) -> list[str]:
        return [key for operation, key in self.calls if operation in operations]

    def _note(self, operation: str, key: str) -> None:
        self.calls.append((operation, key))
        components = key.split("/")
        below = f"{key}/".startswith(ROOT)
        if not below or _KEY.fullmatch(key) is None or not {".", ".."}.isdisjoint(components):
            self.astray.append(f"{operation} {key}")
        self.before(operation, key)

    async def stat(self, key: str) -> Stat:
        self._note("stat", key)
        return await self.inner.stat(key)

    async def get(self, key: str) -> bytes:
        self._note("get", key)
        return await self.inner.get(key)

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        self._note("put", key)
        await self.inner.put(key, data, durable=durable)

    async def put_all(self, *stages: Objects, upon: Sequence[str] = ()) -> None:
        for objects in stages:
            for key, data in objects.items():
                self._note("put", key)
                await self.inner.put_all({key: data}, upon=upon)

    async def open(self, key: str, offset: int = 0) -> Reader:
        self._note("open", key)
        return await self.inner.open(key, offset)

    async def writer(self, key: str, *, append: bool) -> Writer:
        self._note("writer", key)
        return WatchedWriter(self, key, await self.inner.writer(key, append=append))

    async def move(self, source: str, target: str, *, may_stay: bool = False) -> None:
        self._note("move", source)
        self._note("move", target)
        await self.inner.move(source, target, may_stay=may_stay)

    async def delete(self, key: str, *, if_empty: bool = False) -> None:
        self._note("delete", key)
        await self.inner.delete(key, if_empty=if_empty)

    async def delete_all(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._note("delete", key)
        await self.inner.delete_all(keys)

    def walk(self, key: str) -> AsyncIterator[tuple[str, Stat | None]]:
        self._note("walk", key)
        return self.inner.walk(key)

    async def list(
        self, key: str, *, after: str = "", limit: int | None = None, holding: str = ""
    ) -> Sequence[str]:
        self._note("list", key)
        return await self.inner.list(key, after=after, limit=limit, holding=holding)

    async def explore(self, steps: Steps[T]) -> T:
        return await self.inner.explore(self._noting(steps))

    def _noting(self, steps: Steps[T]) -> Steps[T]:
        try:
            keys = next(steps)
            while True:
                for key in keys:
                    self._note("list", key)
                keys = steps.send((yield keys))
        except StopIteration as end:
            result: T = end.value
            return result

    def hold(self, key: str, *, shared: bool) -> AbstractAsyncContextManager[None]:
        self._note("hold", key)
        return self.inner.hold(key, shared=shared)

    async def redirect(self, key: str, method: str, client: str = "") -> str | None:
        self._note("redirect", key)
        return await self.inner.redirect(key, method)


class WatchedWriter:
    def __init__(self, storage: Watched, key: str, inner: Writer) -> None:
        self._storage = storage
        self._key = key
        self._inner = inner

    @property
    def size(self) -> int:
        return self._inner.size

    async def write(self, chunks: Sequence[bytes], also: Callable[[bytes], None] | None = None) -> None:
        self._storage._note("write", self._key)
        await self._inner.write(chunks, also)

    async def close(self) -> None:
        await self._inner.close()

    async def commit(
        self, target: str | None = None, then: Objects | None = None, remove: str | None = None
    ) -> None:
        self._storage._note("commit", target or self._key)
        await self._inner.commit(target)
        await self._storage.put_all(then or {})
        if remove is not None:
            with contextlib.suppress(PathNotFoundError):
                await self._storage.delete(remove)

    async def cancel(self) -> None:
        await self._inner.cancel()


class Redirecting(Watched):
    """Sends clients of blobs elsewhere."""

    def __post_init__(self) -> None:
        self.name = self.inner.name
        self.traits = replace(self.inner.traits, redirects=True)

    async def redirect(self, key: str, method: str, client: str = "") -> str | None:
        self._note("redirect", key)
        return None if key.endswith("00/data") else f"https://bucket.example{key}?for={method}&signed=1"
