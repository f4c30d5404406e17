"""Who may write under a key, among all processes: an object beside it, made only where there is none."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from email.utils import parsedate_to_datetime
from typing import Any

from lading.registry.ports import BusyError, PathNotFoundError, StorageError
from lading.storage.s3.bucket import DRIVER, Bucket, ConditionError, errors

LEASE_SECONDS = 10.0
"""So long after its last renewal a lease counts as abandoned: its process has ended, or is cut off."""

RENEWAL_SECONDS = 3.0

_SUFFIX = "~lock"


def name(bucket: Bucket, key: str) -> str:
    """No key ends so: the object is in no listing."""
    return bucket.name(key) + _SUFFIX


class Lease:
    """Held from `acquire` until `release`, and renewed in between."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._name = name(bucket, key)
        self._token = secrets.token_hex(16).encode()
        self._etag = ""
        self._sure = 0.0
        """When it was last known to be ours."""
        self._renewing: asyncio.Task[None] | None = None

    @property
    def fresh(self) -> bool:
        """It was ours just now, and long before another may take it over."""
        return time.monotonic() - self._sure <= RENEWAL_SECONDS + 1

    async def acquire(self) -> None:
        """Raises `BusyError`."""
        try:
            await self._put(IfNoneMatch="*")
        except ConditionError:
            await self._take_over()
        self._renewing = asyncio.create_task(self._renew())

    async def check(self) -> None:
        """Raises `PathNotFoundError` where the key was deleted meanwhile, `BusyError` where it is another's."""
        asked = time.monotonic()
        answer = await self._bucket.call("head_object", self._key, Key=self._name)
        if answer["ETag"] != self._etag:
            raise self._busy()
        self._sure = asked

    async def release(self, *, gone: bool = False) -> None:
        """`gone` if the object was deleted already."""
        if self._renewing is not None:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing
            self._renewing = None
        if not gone:
            # Left behind it only makes the next writer wait until it is old; a client waits for this one.
            with contextlib.suppress(StorageError, TimeoutError):
                async with asyncio.timeout(LEASE_SECONDS):
                    if not self.fresh:
                        await self.check()
                    await self._bucket.call("delete_object", self._key, Key=self._name)

    async def _put(self, **condition: str) -> None:
        asked = time.monotonic()
        answer = await self._bucket.call("put_object", self._key, Key=self._name, Body=self._token, **condition)
        self._etag, self._sure = answer["ETag"], asked

    async def _take_over(self) -> None:
        try:
            found, mine = await self._look()
            if mine:
                return  # the answer to an earlier attempt was lost
            # Both times are the store's: clocks of nodes may differ. Where it tells none, no lease is abandoned.
            date, renewed = found["ResponseMetadata"]["HTTPHeaders"].get("date"), found.get("LastModified")
            if date is None or renewed is None:
                raise self._busy()
            left = LEASE_SECONDS - (parsedate_to_datetime(date) - renewed).total_seconds()
            if left > 0:
                raise self._busy(left)
            await self._put(IfMatch=found["ETag"])
        except (ConditionError, PathNotFoundError) as error:
            raise self._busy() from error

    async def _look(self) -> tuple[Any, bool]:
        """What is there, and whether it is ours."""
        asked = time.monotonic()
        found: Any = await self._bucket.call("get_object", self._key, Key=self._name)
        with errors(self._key):
            async with found["Body"] as body:
                mine = await body.read() == self._token
        if mine:
            self._etag, self._sure = found["ETag"], asked
        return found, mine

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            with contextlib.suppress(StorageError):
                if not await self._is_renewed():
                    return  # lost: the check before the end tells

    async def _is_renewed(self) -> bool:
        try:
            await self._put(IfMatch=self._etag)
        except ConditionError:
            _, mine = await self._look()
            return mine
        except PathNotFoundError:
            return False
        return True

    def _busy(self, left: float = 0.0) -> BusyError:
        return BusyError(DRIVER, f"another writer is active: {self._key}", left)
