"""Objects that say who is at work, where a store has no locks."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid

from lading.registry.ports import BusyError, StorageError
from lading.storage.objects.bucket import Bucket, Found, to_the_end

WRITING_SECONDS = 10.0
"""When who has not renewed a claim to write is taken for dead. Were it not, the store would refuse what it sends:
whatever it writes is conditional on what the next one changes."""

HOLDING_SECONDS = 30.0
"""The same for who holds a directory, whom nothing else stops. What a claim says of itself is what counts; earlier
versions said nothing, and meant this."""

RENEWAL_SECONDS = 3.0
"""Between two renewals; and when one that is not answered is made anew."""

RELEASE_SECONDS = 10.0
"""To take a claim back; a client waits for that."""

_INEXACT_SECONDS = 2.0
"""By how much less a claim counts for who has it: stores tell times in whole seconds."""

MARK_BYTES = 1024
"""No claim is longer."""


class Claim:
    """An object that says who is at work, for as long as it is renewed."""

    def __init__(self, bucket: Bucket, name: str, mark: bytes, seconds: float) -> None:
        self._bucket = bucket
        self._name = name
        self._mark = mark
        self._seconds = seconds
        self._tag = ""
        self._renewed = 0.0
        """When the last renewal that was successful was asked for."""
        self._taken = False
        self._released = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None

    @classmethod
    async def make(cls, bucket: Bucket, name: str, seconds: float) -> Claim:
        """Raises `BusyError` while another is at work. Others take over when it was not renewed for so long."""
        claim = cls(bucket, name, b"%b %d" % (uuid.uuid4().hex.encode("ascii"), seconds), seconds)
        try:
            await to_the_end(claim._make())
        except asyncio.CancelledError:
            await to_the_end(claim.release())
            raise
        return claim

    @property
    def lost(self) -> bool:
        """Another may have taken over: nothing is to be written any more."""
        return self._taken or time.monotonic() - self._renewed > self._seconds - _INEXACT_SECONDS

    async def release(self) -> None:
        self._released.set()
        if self._renewing is None:
            return
        await self._renewing
        # If it cannot be removed soon, it is stale then, and purged with stale uploads.
        with contextlib.suppress(StorageError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                if not await self._bucket.remove(self._name, self._tag) and await self._is_mine():
                    await self._bucket.remove(self._name, self._tag)

    async def _make(self) -> None:
        only, left = "", 0.0
        for _ in range(3):
            asked = time.monotonic()
            tag = await self._bucket.put(self._name, self._mark, only)
            there = None if tag is not None else await self._bucket.fetch(self._name, 0, MARK_BYTES)
            if there is not None and there[0] == self._mark:
                tag = there[1].tag  # the answer to the first attempt was lost
            if tag is not None:
                self._tag, self._renewed = tag, asked
                self._renewing = asyncio.create_task(self._renew())
                return
            left = 0.0 if there is None else seconds_left(*there)
            if left > 0:
                break
            only = "" if there is None else there[1].tag
        raise BusyError(self._bucket.driver, f"another is at work: {self._name}", left)

    async def _renew(self) -> None:
        while not self._taken:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._released.wait(), RENEWAL_SECONDS)
                return
            asked = time.monotonic()
            # Where an attempt that was given up is carried out all the same, the mark tells.
            with contextlib.suppress(StorageError, TimeoutError):
                async with asyncio.timeout(RENEWAL_SECONDS):
                    tag = await self._bucket.put(self._name, self._mark, self._tag)
                    self._taken = tag is None and not await self._is_mine()
                self._tag, self._renewed = tag or self._tag, asked

    async def _is_mine(self) -> bool:
        """Whether what is there is this one: the answer to an attempt to write it was lost."""
        there = await self._bucket.fetch(self._name, 0, MARK_BYTES)
        if there is None or there[0] != self._mark:
            return False
        self._tag = there[1].tag
        return True


def seconds_left(mark: bytes, found: Found) -> float:
    """For how long a claim still counts if it is not renewed; 0 or less for one that is stale."""
    _, _, told = mark.partition(b" ")
    return (float(told) if told.isdigit() else HOLDING_SECONDS) - found.age
