"""The storage, as it is with a disk cache in front."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lading.oci.digest import Digest
from lading.registry.ports import Reader, Storage, check_key
from lading.storage.wrappers.diskcache.files import FAILURES, Files, Held, Incoming
from lading.storage.wrappers.diskcache.readers import CachedReader, FillingReader
from lading.storage.wrappers.passing import PassingStorage

log = logging.getLogger(__name__)

TOUCH_SECONDS = 5.0
QUIET_SECONDS = 60.0


class DiskCacheStorage(PassingStorage):
    """`digest_of` tells which keys are blobs. Only what is read from its beginning to its end is kept.

    That a blob is there, and its size, is asked of `inner` each time. Clients are never redirected: they are to be
    served from here. No error of the disk reaches them.
    """

    def __init__(
        self, inner: Storage, directory: str, size: int, digest_of: Callable[[str], Digest | None]
    ) -> None:
        """At most `size` bytes are kept, beside what is just on its way."""
        super().__init__(inner)
        self.traits = replace(inner.traits, redirects=False)
        names = ("hits", "misses", "hit_bytes", "kept_bytes", "evictions", "dropped", "failures")
        self.counts: dict[str, int] = dict.fromkeys(names, 0)
        self._make = functools.partial(Files, directory.rstrip("/"), size)
        self._files: Files | None = None
        self._starting: asyncio.Future[Files] | None = None
        self._digest_of = digest_of
        self._touched: dict[str, float] = {}
        self._touched_at = time.monotonic()
        self._quiet_until = 0.0
        self._tasks: set[asyncio.Future[Any]] = set()

    async def close(self) -> None:
        """Finish what is under way. For whoever does not end with the process."""
        self._flush()
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        if self._files is not None:
            self._files.close()
            self._files = None

    async def redirect(self, key: str, method: str, client: str = "") -> str | None:  # noqa: ARG002
        check_key(self.name, key)
        return None

    async def open(self, key: str, offset: int = 0) -> Reader:
        digest = self._digest_of(key)
        files = None if digest is None or offset < 0 else await self._ready()
        if digest is None or files is None:
            return await self.inner.open(key, offset)
        held = await self._look(files, digest)
        if held is not None:
            try:
                there = await self.inner.stat(key)
            except BaseException:
                os.close(held.descriptor)
                raise
            if there.size == held.size:
                self.counts["hits"] += 1
                self.counts["hit_bytes"] += held.size
                self._touch(digest)
                return CachedReader(self.name, held.descriptor, held.path, held.size, offset)
            os.close(held.descriptor)
        self.counts["misses"] += 1
        inner = await self.inner.open(key, offset)
        filling = _Filling(self, files, digest, inner.size)
        return FillingReader(inner, offset, filling.feed, filling.end)

    async def _ready(self) -> Files | None:
        """None while the directory cannot be used."""
        if self._files is not None:
            return self._files
        if self._starting is None:
            if time.monotonic() < self._quiet_until:
                return None
            self._starting = asyncio.get_running_loop().run_in_executor(None, self._make)
        try:
            self._files = await asyncio.shield(self._starting)
        except FAILURES as error:
            self.failed(error)
            return None
        finally:
            if self._starting is not None and self._starting.done():
                self._starting = None
        return self._files

    async def _look(self, files: Files, digest: Digest) -> Held | None:
        held = None
        try:
            held = files.look(digest)
            if held is None or held.identity == held.seen:
                return held
            if await asyncio.to_thread(files.verify, digest, held):
                return held
            log.warning("disk cache: the file of %s is damaged or gone: it is dropped", digest)
            self.counts["dropped"] += await asyncio.to_thread(files.drop, digest, held.seen)
        except FAILURES as error:
            self.failed(error)
        if held is not None and held.descriptor >= 0:
            os.close(held.descriptor)
        return None

    def failed(self, error: Exception) -> None:
        """Once a minute it is said."""
        self.counts["failures"] += 1
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + QUIET_SECONDS
            log.error("disk cache: %s: clients are served from the storage", error)

    def in_thread(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        task = asyncio.get_running_loop().run_in_executor(None, function, *arguments)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.failed(error)

    def _touch(self, digest: Digest) -> None:
        self._touched[digest] = time.time()
        if time.monotonic() - self._touched_at >= TOUCH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        """Uses are written down together: one write for a read would be dear."""
        used, self._touched = self._touched, {}
        self._touched_at = time.monotonic()
        if used and self._files is not None:
            self.in_thread(self._files.touch, used)


class _Filling:
    """One blob that is being read from its beginning on, and kept if its end is reached."""

    def __init__(self, cache: DiskCacheStorage, files: Files, digest: Digest, size: int) -> None:
        self._cache = cache
        self._files = files
        self._digest = digest
        self._size = size
        self._incoming: Incoming | None = None
        self._position = 0
        """How much was handed over; -1 once that is over."""
        self._working: asyncio.Future[Any] | None = None

    async def feed(self, offset: int, data: bytes) -> None:
        """Returns when the data before this is written; this is, while the client gets it."""
        if offset != self._position:
            self.end()
            return
        if self._working is not None:
            await asyncio.wait([self._working])
        self._position += len(data)
        self._working = self._cache.in_thread(self._write, data, offset == 0)

    def end(self) -> None:
        """Let go of what is not complete."""
        if 0 < self._position < self._size:
            working, self._working = self._working, None
            if working is None or working.done():
                self._cache.in_thread(self._abandon)
            else:
                working.add_done_callback(lambda _: self._cache.in_thread(self._abandon))
        self._position = -1

    def _write(self, data: bytes, first: bool) -> None:
        """In a thread, one piece after the other."""
        if first:
            self._incoming = self._files.begin(self._digest, self._size)
        if self._incoming is None:
            return
        gone = self._incoming.write(data)
        if gone is not None:
            self._cache.counts["evictions"] += gone
            self._cache.counts["kept_bytes"] += self._size

    def _abandon(self) -> None:
        if self._incoming is not None:
            self._incoming.abandon()
