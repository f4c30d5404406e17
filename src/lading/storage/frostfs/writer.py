"""An unfinished object: a record under its key names the chain of its parts."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from lading.registry.ports import Objects as Contents
from lading.registry.ports import PathNotFoundError, StorageError, check_key
from lading.storage.frostfs.chain import Chain
from lading.storage.frostfs.locks import Lock
from lading.storage.frostfs.messages import DRIVER, Info
from lading.storage.frostfs.objects import to_the_end

if TYPE_CHECKING:
    from lading.storage.frostfs.driver import FrostfsStorage


class FrostfsWriter:
    """See `lading.registry.ports.Writer`. The key is held by a lock of this host."""

    def __init__(self, storage: FrostfsStorage, key: str, lock: Lock, record: Info, chain: Chain) -> None:
        self._storage = storage
        self._key = key
        self._lock = lock
        self._record = record
        self._chain = chain
        self._ended = ""
        self.size = chain.size

    async def write(self, chunks: Sequence[bytes], also: Callable[[bytes], None] | None = None) -> None:
        self._check_open()
        try:
            for chunk in chunks:
                await self._chain.add(chunk, also)
        finally:
            self.size = self._chain.size

    async def close(self) -> None:
        if not self._ended:
            await self._end("closed", self._keep)

    async def commit(
        self, target: str | None = None, then: Contents | None = None, remove: str | None = None
    ) -> None:
        self._check_open()
        for key in (target, remove, *(then or {})):
            if key is not None:
                check_key(DRIVER, key)

        async def commit() -> None:
            storage, inside = self._storage, remove is not None and self._key.startswith(f"{remove}/")
            left = await storage.below(remove) if remove is not None and inside else None
            await self._check_there(left)
            await storage.complete(self._chain, self._key if target is None else target, self._record)
            await storage.put_all(then or {})
            if left is not None:
                await storage.remove([info for info in left if info.id != self._record.id])
            elif remove is not None:
                with contextlib.suppress(PathNotFoundError):
                    await storage.delete(remove)

        await self._end("committed", commit)

    async def cancel(self) -> None:
        self._check_open()
        await self._end("cancelled", self._discard)

    async def _keep(self) -> None:
        gathered, old = self._chain.gathered, self._record
        if gathered is None:
            await self._chain.flush()
        if old.size != len(gathered or b""):
            # First the new record: what was written before is never without one.
            self._record = await self._storage.record(self._key, self._chain, gathered or b"", [old])
        try:
            await self._check_there(record=old)
        except PathNotFoundError:
            await self._storage.objects.delete([self._record.id])
        else:
            if self._record is not old:
                await self._storage.objects.delete([old.id])

    async def _check_there(self, here: Sequence[Info] | None = None, record: Info | None = None) -> None:
        """What was deleted meanwhile takes along what was written since. Raises `PathNotFoundError`.

        `here` are objects that have just been found.
        """
        objects, record = self._storage.objects, record or self._record
        here = await self._storage.under(self._key) if here is None else here
        if record.id in [info.id for info in here]:
            return
        # A node that was asked for the first time may not have come to index it.
        objects.forget(record.id)
        if await objects.head(record.id) is not None:
            return
        await self._chain.discard()
        raise PathNotFoundError(DRIVER, self._key)

    async def _discard(self) -> None:
        await self._chain.discard()
        await self._storage.objects.delete([self._record.id])

    def _check_open(self) -> None:
        if self._ended:
            raise StorageError(DRIVER, f"already {self._ended}: {self._key}")

    async def _end(self, how: str, last: Callable[[], Awaitable[None]]) -> None:
        self._ended = how
        try:
            await to_the_end(last())
        finally:
            self._storage.written(self._chain)
            self._chain.close()
            self._lock.release()
