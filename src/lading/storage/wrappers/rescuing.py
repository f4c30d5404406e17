"""What was collected as garbage and is asked for again comes back: here, and nowhere else (decision 0010)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from lading.registry.ports import Objects, PathNotFoundError, Reader, Stat, Storage
from lading.storage.wrappers.passing import PassingStorage

T = TypeVar("T")

ATTEMPTS = 3
"""It may be collected again as soon as it is back, by somebody who has not seen what it is needed for."""


class Quarantine(Protocol):
    """See `lading.registry.quarantine.Quarantine`."""

    async def rescue(self, key: str) -> bool: ...

    async def rescue_listed(self, directory: str, listed: Callable[[], Awaitable[Sequence[str]]]) -> set[str]: ...

    async def forget(self, key: str) -> bool: ...


class RescuingStorage(PassingStorage):
    """`is_content` tells the keys of what is collected, `is_list` the directories whose listing is to find all.

    `settle` is how long a look at something counts.
    """

    def __init__(
        self,
        inner: Storage,
        quarantine: Quarantine,
        *,
        is_content: Callable[[str], bool],
        is_list: Callable[[str], bool],
        settle: float,
    ) -> None:
        super().__init__(inner)
        self._quarantine = quarantine
        self._is_content = is_content
        self._is_list = is_list
        self._settle = settle

    async def stat(self, key: str) -> Stat:
        return await self._rescuing([key], lambda: self.inner.stat(key))

    async def get(self, key: str) -> bytes:
        return await self._rescuing([key], lambda: self.inner.get(key))

    async def open(self, key: str, offset: int = 0) -> Reader:
        return await self._rescuing([key], lambda: self.inner.open(key, offset))

    def list(
        self, key: str, *, after: str = "", limit: int | None = None, holding: str = ""
    ) -> Coroutine[Any, Any, Sequence[str]]:
        if self._is_list(key):
            return self._list_rescuing(key, after, limit, holding)
        return self.inner.list(key, after=after, limit=limit, holding=holding)

    async def _list_rescuing(self, key: str, after: str, limit: int | None, holding: str) -> Sequence[str]:
        missing: PathNotFoundError | None = None

        async def listed() -> Sequence[str]:
            nonlocal missing
            try:
                return await self.inner.list(key, after=after, limit=limit, holding=holding)
            except PathNotFoundError as error:
                missing = error
                return []

        names = await self._quarantine.rescue_listed(key, listed)
        if missing is not None and not names:
            raise missing
        return sorted(name for name in names if name > after)[:limit]

    def put_all(self, *stages: Objects, upon: Sequence[str] = ()) -> Coroutine[Any, Any, None]:
        if not upon:
            return self.inner.put_all(*stages)
        return self._put_upon(stages, upon)

    async def _put_upon(self, stages: Sequence[Objects], upon: Sequence[str]) -> None:
        begun = time.monotonic()
        await self._rescuing(upon, lambda: self.inner.put_all(*stages, upon=upon))
        if time.monotonic() - begun > self._settle:
            for key in upon:
                await self.stat(key)

    async def delete(self, key: str, *, if_empty: bool = False) -> None:
        """With what was collected of it: what somebody deletes does not come back."""
        if if_empty:
            await self.inner.delete(key, if_empty=True)
            return
        # Before: whoever misses it when it is gone would bring back what a batch holds. After: it may just have
        # been put away.
        forgotten = await self._quarantine.forget(key)
        try:
            await self.inner.delete(key)
        except PathNotFoundError:
            if not (await self._quarantine.forget(key) or forgotten):
                raise
        else:
            await self._quarantine.forget(key)

    async def delete_all(self, keys: Sequence[str]) -> None:
        for key in keys:
            await self._quarantine.forget(key)
        await self.inner.delete_all(keys)
        for key in keys:
            await self._quarantine.forget(key)

    async def _rescuing(self, keys: Sequence[str], work: Callable[[], Awaitable[T]]) -> T:
        for _ in range(ATTEMPTS):
            try:
                return await work()
            except PathNotFoundError:
                if not any([self._is_content(key) and await self._quarantine.rescue(key) for key in keys]):
                    raise
        return await work()
