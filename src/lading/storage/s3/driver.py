"""The `s3` driver."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

from lading.registry.ports import (
    BusyError,
    InvalidOffsetError,
    Objects,
    PathNotFoundError,
    Stat,
    Steps,
    StorageError,
    Traits,
    check_key,
    is_key,
)
from lading.storage.s3 import lease, listing, multipart
from lading.storage.s3.bucket import DRIVER, MISSING, Bucket, Options, modified, together
from lading.storage.s3.reader import S3Reader
from lading.storage.s3.writer import S3Writer

T = TypeVar("T")

DELETED_AT_ONCE = 1000
"""No store takes more names in one request."""

AT_A_TIME = 16
"""Directories that are listed in advance."""


class S3Storage:
    """See `lading.registry.ports.Storage`.

    Objects are unfinished only below directories of the name `uploads`, or anywhere if it is empty: elsewhere the
    requests that look for them are spared. A key that ends in one of the names `files` is never a directory; one
    that ends in one of the names `small` is an object that needs no parts.
    """

    name = DRIVER
    traits = Traits(shared=True, redirects=True, flat=True, locks=False)

    def __init__(
        self, options: Options, uploads: str = "", files: Sequence[str] = (), small: Sequence[str] = ()
    ) -> None:
        self._bucket = Bucket(options)
        self._uploads = uploads
        self._files = tuple(f"/{name}" for name in files)
        self._small = tuple(f"/{name}" for name in small)
        self._writers: dict[str, S3Writer | None] = {}
        """Those open in this process; None while one is being opened."""
        self._held: dict[str, _Hold] = {}

    async def connect(self) -> None:
        """Make the client that requests will use: it takes long. What is wrong the first of them will say."""
        with contextlib.suppress(StorageError):
            await self._bucket.connect()

    async def close(self) -> None:
        await self._bucket.close()

    async def stat(self, key: str) -> Stat:
        if key != "/":
            check_key(DRIVER, key)
            if self._may_be_unfinished(key) and (unfinished := await self._stat_unfinished(key)) is not None:
                return unfinished
            if not self._uploads or not key.endswith(f"/{self._uploads}"):
                with contextlib.suppress(PathNotFoundError):
                    answer = await self._bucket.call("head_object", key, Key=self._bucket.name(key))
                    return Stat(answer["ContentLength"], modified(answer), is_directory=False)
            if key.endswith(self._files):
                raise PathNotFoundError(DRIVER, key)
        found = await self._bucket.first(key, self._bucket.below(key))
        if found is not None:
            return Stat(0, modified(found), is_directory=True)
        if self._is_of_uploads(key):
            async for upload in multipart.uploads(self._bucket, key, self._bucket.below(key)):
                return Stat(0, upload.initiated.timestamp(), is_directory=True)
        raise PathNotFoundError(DRIVER, key)

    async def get(self, key: str) -> bytes:
        reader = await self.open(key)
        try:
            pieces = []
            while piece := await reader.read(max(reader.size, 1)):
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            await reader.close()

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> None:  # noqa: ARG002
        await self._bucket.call(
            "put_object",
            check_key(DRIVER, key),
            Key=self._bucket.name(key),
            Body=data,
            **self._bucket.options.attributes,
        )

    async def put_all(self, *stages: Objects, upon: Sequence[str] = ()) -> None:
        for key in itertools.chain(upon, *stages):
            check_key(DRIVER, key)
        # What is there is durable already.
        await together(self._bucket.call("head_object", key, Key=self._bucket.name(key)) for key in upon)
        for objects in stages:
            for key, data in objects.items():
                await self.put(key, data)

    async def open(self, key: str, offset: int = 0) -> S3Reader:
        if offset < 0:
            raise InvalidOffsetError(DRIVER, key, offset)
        check_key(DRIVER, key)
        if self._may_be_unfinished(key):
            await self._make_readable(key)
        name = self._bucket.name(key)
        if offset:
            answer: Any = await self._bucket.call("head_object", key, Key=name)
        else:
            answer = await self._bucket.call("get_object", key, Key=name)
        return S3Reader(self._bucket, key, answer, offset)

    async def writer(self, key: str, *, append: bool) -> S3Writer:
        check_key(DRIVER, key)
        if key in self._writers:
            raise BusyError(DRIVER, f"another writer is active: {key}")
        self._writers[key] = None
        writer = S3Writer(self._bucket, key, self.put_all, self._remove, lambda: self._let_go(key))
        try:
            await writer.start(append=append)
        except BaseException:
            del self._writers[key]
            raise
        self._writers[key] = writer
        return writer

    async def move(self, source: str, target: str, *, may_stay: bool = False) -> None:
        name = self._bucket.name(check_key(DRIVER, source))
        check_key(DRIVER, target)
        size = 0
        if source == target or not source.endswith(self._small):
            size = (await self._bucket.call("head_object", source, Key=name))["ContentLength"]
        if source != target:
            await multipart.copy(self._bucket, source, target, size)
            if not may_stay:
                await self._bucket.call("delete_object", source, Key=name)

    async def delete(self, key: str, *, if_empty: bool = False) -> None:
        check_key(DRIVER, key)
        if if_empty:
            return
        found = self._is_of_uploads(key) and await self._abort(key)
        if self._may_be_unfinished(key):
            # The lease goes first: a writer that finds it gone makes nothing anew.
            lock = lease.name(self._bucket, key)
            there = await self._bucket.first(key, lock)
            if there is not None and there["Key"] == lock:
                found = True
                await self._delete(key, [lock])
        removed = await self._remove(key)
        # Nothing is below an object: links are deleted often.
        if not self._is_of_uploads(key) and removed != self._bucket.name(key):
            found = await self._abort(key)
        if not removed and not found:
            raise PathNotFoundError(DRIVER, key)

    async def delete_all(self, keys: Sequence[str]) -> None:
        names = [self._bucket.name(check_key(DRIVER, key)) for key in keys]
        for start in range(0, len(names), DELETED_AT_ONCE):
            await self._delete(keys[start], names[start : start + DELETED_AT_ONCE])

    async def walk(self, key: str) -> AsyncIterator[tuple[str, Stat | None]]:
        below = self._bucket.below(check_key(DRIVER, key))
        async for page in self._bucket.pages(key, below):
            for found in page.get("Contents", []):
                child = f"{key}/{found['Key'].removeprefix(below)}"
                if is_key(child):
                    yield child, Stat(found["Size"], modified(found), is_directory=False)

    async def list(
        self, key: str, *, after: str = "", limit: int | None = None, holding: str = ""
    ) -> Sequence[str]:
        if key != "/":
            check_key(DRIVER, key)
        if holding:
            check_key(DRIVER, f"/-/{holding}")
        found = await listing.names(self._bucket, key, after, limit, holding)
        if self._uploads and key.endswith(f"/{self._uploads}"):
            prefix = self._bucket.below(key)
            names = [upload.name async for upload in multipart.uploads(self._bucket, key, prefix)]
            strays = listing.all_names(names, prefix)
            found = sorted({*found, *(name for name in strays if name > after)})[:limit]
        if not found and key != "/":
            await listing.check_directory(self._bucket, key)
        return found

    async def explore(self, steps: Steps[T]) -> T:
        try:
            keys = next(steps)
            while True:
                keys = steps.send(await together(map(self._names, keys[:AT_A_TIME])))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _names(self, key: str) -> Sequence[str]:
        return await listing.names(self._bucket, check_key(DRIVER, key), "", None, "")

    @contextlib.asynccontextmanager
    async def hold(self, key: str, *, shared: bool) -> AsyncIterator[None]:
        """Among the requests of this process alone: decision 0008 tells what another may do meanwhile."""
        held = self._held.setdefault(check_key(DRIVER, key), _Hold())
        held.users += 1
        try:
            await held.enter(shared=shared)
            try:
                yield
            finally:
                held.leave()
        finally:
            held.users -= 1
            if not held.users:
                self._held.pop(key, None)

    async def redirect(self, key: str, method: str, client: str = "") -> str | None:  # noqa: ARG002
        operation = {"GET": "get_object", "HEAD": "head_object"}.get(method)
        check_key(DRIVER, key)
        return None if operation is None else await self._bucket.url(operation, key)

    def object_name(self, key: str) -> str:
        """What the object is called in the bucket: where a CDN in front of the bucket finds it."""
        return self._bucket.name(check_key(DRIVER, key))

    async def abort_older(self, key: str, before: float, *, dry_run: bool = False) -> int:
        """Abort the unfinished objects below a directory that began before a time; how many there were.

        Of those that dead processes leave nothing else tells. Times are the store's, in seconds since 1970.
        """
        prefix = self._bucket.below(check_key(DRIVER, key))
        found = [
            upload
            async for upload in multipart.uploads(self._bucket, key, prefix)
            if upload.initiated.timestamp() < before
        ]
        for upload in () if dry_run else found:
            await multipart.abort(self._bucket, key, upload.name, upload.id)
        return len(found)

    def _may_be_unfinished(self, key: str) -> bool:
        return not self._uploads or (key.endswith("/data") and self._is_of_uploads(key))

    def _is_of_uploads(self, key: str) -> bool:
        return not self._uploads or f"/{self._uploads}/" in key

    def _let_go(self, key: str) -> None:
        self._writers.pop(key, None)

    async def _stat_unfinished(self, key: str) -> Stat | None:
        found = await multipart.uploads_of(self._bucket, key)
        if not found:
            return None
        upload, parts = found[0]
        return Stat(sum(part.size for part in parts), upload.initiated.timestamp(), is_directory=False)

    async def _make_readable(self, key: str) -> None:
        """Parts of an upload cannot be read."""
        writer = self._writers.get(key)
        if writer is not None:
            await writer.make_readable()
        elif await multipart.uploads_of(self._bucket, key):
            writer = await self.writer(key, append=True)
            try:
                await writer.make_readable()
            finally:
                await writer.close()

    async def _abort(self, key: str) -> bool:
        """Whether there was an unfinished object of this name, or any below it."""
        name, below = self._bucket.name(key), self._bucket.below(key)
        found = False
        async for upload in multipart.uploads(self._bucket, key, name):
            if upload.name == name or upload.name.startswith(below):
                found = True
                await multipart.abort(self._bucket, key, upload.name, upload.id)
        return found

    async def _remove(self, key: str) -> str:
        """The name of the object, or else of the first below it; empty where there was none."""
        name, below = self._bucket.name(key), self._bucket.below(key)
        page = await self._bucket.call("list_objects_v2", key, Prefix=name)
        names = [each["Key"] for each in page.get("Contents", [])]
        mine = [
            each for each in names if each.startswith(below) or each in (name, multipart.begun(self._bucket, key))
        ]
        first = mine[0] if mine else ""
        await self._delete(key, mine)
        if page.get("IsTruncated"):
            # Whatever else begins with the same letters is passed over.
            async for page in self._bucket.pages(key, below):
                names = [each["Key"] for each in page.get("Contents", [])]
                first = first or next(iter(names), "")
                await self._delete(key, names)
        return first

    async def _delete(self, key: str, names: Sequence[str]) -> None:
        if len(names) == 1:
            with contextlib.suppress(PathNotFoundError):
                await self._bucket.call("delete_object", key, Key=names[0])
        elif names:
            answer = await self._bucket.call(
                "delete_objects", key, Delete={"Objects": [{"Key": name} for name in names], "Quiet": True}
            )
            if failed := [each for each in answer.get("Errors", []) if each.get("Code") not in MISSING]:
                raise StorageError(DRIVER, f"{failed[0].get('Code')}: {len(failed)} objects are left of {key}")


class _Hold:
    """Requests that hold a directory. Who waits to have it alone comes before those that ask to share it later."""

    def __init__(self) -> None:
        self.users = 0
        self._count = 0
        """How many share it; -1 is one that has it alone."""
        self._waiting: list[tuple[asyncio.Future[None], bool]] = []

    async def enter(self, *, shared: bool) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((future, shared))
        self._admit()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.leave()
            self._waiting = [each for each in self._waiting if each[0] is not future]
            self._admit()
            raise

    def leave(self) -> None:
        self._count = max(self._count - 1, 0)
        self._admit()

    def _admit(self) -> None:
        while self._waiting and (self._count == 0 or (self._count > 0 and self._waiting[0][1])):
            future, shared = self._waiting.pop(0)
            if not future.done():
                self._count = self._count + 1 if shared else -1
                future.set_result(None)
