"""Quarantine: what was taken out of the registry, but is not gone.

A batch is a directory whose name tells when it was begun, and why: `20260131T120000.000000Z.collected`. Things
lie in it under the key they had below the root of the registry; to put away and to bring back is a move. What was
collected is brought back by a copy alone where that is half of a move: its batch holds it until that is discarded.
"""

from __future__ import annotations

import asyncio
import datetime
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from lading.registry import layout
from lading.registry.ports import PathNotFoundError, Stat, Storage, found

COLLECTED, CORRUPT, EXPIRED = "collected", "corrupt", "expired"
"""Why something is here. Only what was collected is ever brought back, or discarded, by the registry itself."""

FRESH_SECONDS = 1.0
"""For how long a process believes to know the batches."""

ANNOUNCED_SECONDS = 2.0
"""How long a batch is there before anything is put into it: then whoever misses that thing knows of the batch."""

SETTLE_SECONDS = 60.0
"""Who refers to something so long after having looked at it looks again before anybody is told."""

_ANNOUNCED = "announced"
_NAME = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)\.([a-z]+)", re.ASCII)
_TIME = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True, slots=True, order=True)
class Batch:
    name: str

    @property
    def begun(self) -> float:
        """In seconds since 1970, by the clock of who began it."""
        text = self.name.partition("Z.")[0]
        return datetime.datetime.strptime(f"{text}Z", _TIME).replace(tzinfo=datetime.UTC).timestamp()

    @property
    def reason(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def key(self) -> str:
        return f"{layout.QUARANTINE}/{self.name}"

    def key_of(self, key: str) -> str:
        """Where the thing lies that lay under `key`, which is below the root of the registry."""
        return self.key + key.removeprefix(layout.ROOT)

    @classmethod
    def named(cls, name: str) -> Batch | None:
        """None for what is no name of a batch."""
        try:
            batch = cls(name)
            return batch if _NAME.fullmatch(name) and batch.begun else None
        except ValueError:
            return None


@dataclass(slots=True)
class Quarantine:
    """Raises `StorageError`, as the storage does."""

    storage: Storage
    _known: tuple[float, list[Batch]] = field(default=(float("-inf"), []))

    async def batches(self, reason: str = "") -> list[Batch]:
        """Oldest first; all of them, or those that were made for `reason`."""
        try:
            names = await self.storage.list(layout.QUARANTINE)
        except PathNotFoundError:
            return []
        batches = [batch for name in names if (batch := Batch.named(name)) is not None]
        return [batch for batch in batches if reason in ("", batch.reason)]

    async def begin(self, reason: str) -> Batch:
        """A new batch. What is collected goes there `ANNOUNCED_SECONDS` later, at the earliest."""
        now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
        batch = Batch(f"{now.strftime(_TIME)}.{reason}")
        await self.storage.put(f"{batch.key}/{_ANNOUNCED}", b"")
        return batch

    async def put_away(self, batch: Batch, key: str) -> None:
        """Move an object there. Raises `PathNotFoundError` where nothing lies under `key`."""
        there = batch.key_of(key)
        if self.storage.traits.renames or layout.blob_of(key) is not None:
            await self.storage.move(key, there)
            return
        # Between the copy and the removal a client may delete a link, with the batch's copy, and push it again.
        content = await self.storage.get(key)
        await self.storage.put(there, content)
        await self.storage.delete_all([key])
        if await found(self.storage, there) is None:
            await self.storage.put(key, content)

    async def rescue(self, key: str) -> bool:
        """Bring back what lay under `key`, if it was collected. True if something lies there now.

        To be called by whoever misses it. Where nothing is in quarantine it costs nothing, or, once in
        `FRESH_SECONDS`, one listing.
        """
        batches = await self._fresh()
        if not batches:
            return False
        for _ in range(self._looks):
            there = await asyncio.gather(*(found(self.storage, batch.key_of(key)) for batch in batches))
            for batch, held in zip(batches, there, strict=True):
                if held is not None and not held.is_directory and await self._bring_back(batch, key):
                    return True
            # What a batch held a moment ago is back, or deleted.
            looked = self.storage.traits.renames or any(held is not None for held in there)
            if looked and await found(self.storage, key) is not None:
                return True
        return False

    async def rescue_listed(self, directory: str, listed: Callable[[], Awaitable[Sequence[str]]]) -> set[str]:
        """Bring back the links that were collected from `directory`. Returns all names, those `listed` included.

        What is put away between the looks is in the second.
        """
        names = set(await listed())
        batches = await self._fresh()
        for _ in range(self._looks if batches else 0):
            for batch in batches:
                for name in await self._names(batch.key_of(directory)):
                    if name not in names:
                        await self._bring_back(batch, f"{directory}/{name}/link")
                        names.add(name)
            if self.storage.traits.renames:
                names.update(await listed())
        return names

    @property
    def _looks(self) -> int:
        """Somebody else may bring a thing back between two looks, and a collector put it away again."""
        return 2 if self.storage.traits.renames else 1

    async def forget(self, key: str) -> bool:
        """Delete what was collected from `key`, or from below it. True if there was anything."""
        if f"/{layout.UPLOADS}/" in key:
            return False
        gone = [await self._delete(batch.key_of(key)) for batch in await self._fresh()]
        return any(gone)

    async def _fresh(self) -> list[Batch]:
        """What may be brought back, newest first."""
        asked, batches = self._known
        if time.monotonic() - asked > FRESH_SECONDS:
            asked = time.monotonic()
            batches = (await self.batches(COLLECTED))[::-1]
            self._known = asked, batches
        return batches

    async def restore(self, batch: Batch, key: str) -> bool:
        """Bring one thing back to `key`. False where something lies there, or the batch does not hold it."""
        return await found(self.storage, key) is None and await self._bring_back(batch, key)

    async def _bring_back(self, batch: Batch, key: str) -> bool:
        try:
            # Whoever removed what was collected could remove what somebody else puts away in that moment.
            await self.storage.move(batch.key_of(key), key, may_stay=batch.reason == COLLECTED)
        except PathNotFoundError:
            return False
        return True

    async def entries(self, batch: Batch) -> AsyncIterator[tuple[str, Stat | None]]:
        """The keys that things in the batch had, in no particular order, and what `Storage.walk` tells of them."""
        async for key, stat in self.storage.walk(batch.key):
            if key != f"{batch.key}/{_ANNOUNCED}":
                yield layout.ROOT + key.removeprefix(batch.key), stat

    async def discard(self, batch: Batch) -> None:
        """Delete it with all that it holds."""
        await self._delete(batch.key)

    async def _delete(self, key: str) -> bool:
        try:
            await self.storage.delete(key)
        except PathNotFoundError:
            return False
        return True

    async def _names(self, key: str) -> list[str]:
        try:
            return list(await self.storage.list(key))
        except PathNotFoundError:
            return []
