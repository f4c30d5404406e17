"""Any storage, with somebody who watches what is done and how long it takes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from lading.operations.figures import Figures
from lading.registry.ports import Objects, Reader, Stat, Steps, Storage, Writer

T = TypeVar("T")


class Watcher(Protocol):
    def begin(self, action: str, driver: str, detail: Mapping[str, Any]) -> Any:
        """An action begins. `detail` has the key as `path`, and what else it was called with."""
        ...

    def end(self, action: str, driver: str, begun: Any, failure: BaseException | None) -> None:
        """It is over. `begun` is what `begin` returned;"""
        ...


class Stopwatch:
    """Counts actions, and the time they take."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def begin(self, action: str, driver: str, detail: Mapping[str, Any]) -> float:  # noqa: ARG002
        return time.perf_counter()

    def end(self, action: str, driver: str, begun: float, failure: BaseException | None) -> None:
        self._figures.acted(action, driver, time.perf_counter() - begun, failure)


class WatchedStorage:
    """Actions have the original's names; `Reader` and `Writer` are the opening of one."""

    def __init__(self, storage: Storage, watcher: Watcher) -> None:
        self.name = storage.name
        self.traits = storage.traits
        self._storage = storage
        self._watcher = watcher

    async def stat(self, key: str) -> Stat:
        return await self._watched("Stat", {"path": key}, self._storage.stat(key))

    async def get(self, key: str) -> bytes:
        return await self._watched("GetContent", {"path": key}, self._storage.get(key))

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        detail = {"path": key, "content.length": len(data)}
        await self._watched("PutContent", detail, self._storage.put(key, data, durable=durable))

    async def put_all(self, *stages: Objects, upon: Sequence[str] = ()) -> None:
        # One action, of which the last key tells most: in a push it is that of the tag.
        keys = [key for stage in stages for key in stage]
        detail = {"path": keys[-1], "objects": len(keys)} if keys else {"objects": 0}
        await self._watched("PutContent", detail, self._storage.put_all(*stages, upon=upon))

    async def open(self, key: str, offset: int = 0) -> Reader:
        detail = {"path": key, "offset": offset}
        return await self._watched("Reader", detail, self._storage.open(key, offset))

    async def writer(self, key: str, *, append: bool) -> Writer:
        detail = {"path": key, "append": append}
        return await self._watched("Writer", detail, self._storage.writer(key, append=append))

    async def move(self, source: str, target: str, *, may_stay: bool = False) -> None:
        detail = {"source.path": source, "dest.path": target}
        await self._watched("Move", detail, self._storage.move(source, target, may_stay=may_stay))

    async def delete(self, key: str, *, if_empty: bool = False) -> None:
        await self._watched("Delete", {"path": key}, self._storage.delete(key, if_empty=if_empty))

    async def delete_all(self, keys: Sequence[str]) -> None:
        await self._watched("Delete", {"objects": len(keys)}, self._storage.delete_all(keys))

    def walk(self, key: str) -> AsyncIterator[tuple[str, Stat | None]]:
        return self._storage.walk(key)

    async def list(
        self, key: str, *, after: str = "", limit: int | None = None, holding: str = ""
    ) -> Sequence[str]:
        listing = self._storage.list(key, after=after, limit=limit, holding=holding)
        return await self._watched("List", {"path": key}, listing)

    async def explore(self, steps: Steps[T]) -> T:
        return await self._watched("Explore", {}, self._storage.explore(steps))

    def hold(self, key: str, *, shared: bool) -> AbstractAsyncContextManager[None]:
        return self._storage.hold(key, shared=shared)

    async def redirect(self, key: str, method: str, client: str = "") -> str | None:
        return await self._watched("RedirectURL", {"path": key}, self._storage.redirect(key, method, client))

    async def _watched(self, action: str, detail: Mapping[str, Any], call: Awaitable[T]) -> T:
        begun = self._watcher.begin(action, self.name, detail)
        failure: BaseException | None = None
        try:
            return await call
        except BaseException as error:
            failure = error
            raise
        finally:
            self._watcher.end(action, self.name, begun, failure)
