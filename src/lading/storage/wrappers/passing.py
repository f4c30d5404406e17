"""What all wrappers are: a storage that leaves the work to another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any, TypeVar

from lading.registry.ports import Objects, Reader, Stat, Steps, Storage, Writer

T = TypeVar("T")


class PassingStorage:
    """Everything is passed on to `inner`, whose name and traits it has. Made to be inherited from."""

    counts: Mapping[str, int] = MappingProxyType({})
    """What happened how often, for those that count something."""

    def __init__(self, inner: Storage) -> None:
        self.inner = inner
        self.name = inner.name
        self.traits = inner.traits

    def stat(self, key: str) -> Coroutine[Any, Any, Stat]:
        return self.inner.stat(key)

    def get(self, key: str) -> Coroutine[Any, Any, bytes]:
        return self.inner.get(key)

    def put(self, key: str, data: bytes, *, durable: bool = True) -> Coroutine[Any, Any, None]:
        return self.inner.put(key, data, durable=durable)

    def put_all(self, *stages: Objects, upon: Sequence[str] = ()) -> Coroutine[Any, Any, None]:
        return self.inner.put_all(*stages, upon=upon)

    def open(self, key: str, offset: int = 0) -> Coroutine[Any, Any, Reader]:
        return self.inner.open(key, offset)

    def writer(self, key: str, *, append: bool) -> Coroutine[Any, Any, Writer]:
        return self.inner.writer(key, append=append)

    def move(self, source: str, target: str, *, may_stay: bool = False) -> Coroutine[Any, Any, None]:
        return self.inner.move(source, target, may_stay=may_stay)

    def delete(self, key: str, *, if_empty: bool = False) -> Coroutine[Any, Any, None]:
        return self.inner.delete(key, if_empty=if_empty)

    def delete_all(self, keys: Sequence[str]) -> Coroutine[Any, Any, None]:
        return self.inner.delete_all(keys)

    def walk(self, key: str) -> AsyncIterator[tuple[str, Stat | None]]:
        return self.inner.walk(key)

    def list(
        self, key: str, *, after: str = "", limit: int | None = None, holding: str = ""
    ) -> Coroutine[Any, Any, Sequence[str]]:
        return self.inner.list(key, after=after, limit=limit, holding=holding)

    def explore(self, steps: Steps[T]) -> Coroutine[Any, Any, T]:
        return self.inner.explore(steps)

    def hold(self, key: str, *, shared: bool) -> AbstractAsyncContextManager[None]:
        return self.inner.hold(key, shared=shared)

    def redirect(self, key: str, method: str, client: str = "") -> Coroutine[Any, Any, str | None]:
        return self.inner.redirect(key, method, client)
