"""Objects that say who is at work, where a store has no locks."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid

from lading.registry.ports import StorageError
from lading.storage.objects.bucket import Bucket, to_the_end

STALE_SECONDS = 30.0
"""When who has not renewed a claim is taken for dead; it is renewed three times as often."""

_MARK_BYTES = 1024


class Claim:
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
    async def make(cls, bucket: Bucket, name: str) -> Claim | None:
        """None while another is at work."""
        mark = uuid.uuid4().hex.encode("ascii")

        async def make() -> str | None:
            only = ""
            for _ in range(3):
                tag = await bucket.put(name, mark, only)
                if tag is not None:
                    return tag
                there = await bucket.fetch(name, 0, _MARK_BYTES)
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
                    there = await self._bucket.fetch(self._name, 0, _MARK_BYTES)
                    tag = there[1].tag if there is not None and there[0] == self._mark else None
                    self.lost = tag is None
                self._tag, renewed = tag or self._tag, asked
            self.lost = self.lost or time.monotonic() - renewed > STALE_SECONDS
