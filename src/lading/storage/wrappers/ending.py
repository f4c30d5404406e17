"""Deletions end the trust in what was seen before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lading.registry.ports import Storage
from lading.storage.wrappers.passing import PassingStorage


class EndingStorage(PassingStorage):
    """Calls `end` when something was deleted or moved away, or may have been, before anybody is told of it."""

    def __init__(self, inner: Storage, end: Callable[[], None]) -> None:
        super().__init__(inner)
        self._end = end

    async def move(self, source: str, target: str, *, may_stay: bool = False) -> None:
        try:
            await self.inner.move(source, target, may_stay=may_stay)
        finally:
            self._end()

    async def delete_all(self, keys: Sequence[str]) -> None:
        try:
            await self.inner.delete_all(keys)
        finally:
            self._end()

    async def delete(self, key: str, *, if_empty: bool = False) -> None:
        try:
            await self.inner.delete(key, if_empty=if_empty)
        finally:
            self._end()
