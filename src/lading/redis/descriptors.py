"""Descriptors of blobs in redis, under the keys and with the values of CNCF Distribution.

    repository::<name>::blobs             a set: the digests of the repository's blobs
    repository::<name>::blobs::<digest>   a hash: mediatype, as that repository has it
    blobs::<digest>                       a hash: digest, size, mediatype

Lading never believes an entry: it compares those that it comes across with the storage, adds what is missing and
puts right what is wrong. No request waits for that. What is deleted is cleared, since others do believe.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from redis.exceptions import RedisError, ResponseError

from lading.oci.digest import Digest
from lading.oci.media import OCTET_STREAM
from lading.oci.names import RepositoryName
from lading.redis.connecting import Client, Options, connect

log = logging.getLogger(__name__)

BATCH = 100
"""Blobs in a round trip."""

WAITING = 10_000
"""Blobs that wait to be told of; more are left out, and told of when they are seen again."""

GONE = 100_000
"""Blobs that wait to be cleared while redis is away."""

TOLD = 10_000
"""Blobs that are not compared again, those seen last."""

CLEAR_SECONDS = 1.0
"""How long a deletion waits for its entry to be cleared."""

FIRST_PAUSE, LAST_PAUSE = 0.5, 15.0
"""Between two tries to reach a redis that is away; in seconds, doubled each time."""

Blob = tuple[RepositoryName, Digest]
Observe = Callable[[str, float], None]


def _members(name: RepositoryName) -> str:
    return f"repository::{name}::blobs"


def _own(name: RepositoryName, digest: Digest) -> str:
    return f"repository::{name}::blobs::{digest}"


def _everywhere(digest: Digest) -> str:
    return f"blobs::{digest}"


class RedisDescriptors:
    """For one process. `holds` says of a blob whether its repository has it.

    Implements `registry.ports.Descriptors`.
    """

    def __init__(
        self, options: Options, holds: Callable[[RepositoryName, Digest], Awaitable[bool]], observe: Observe
    ) -> None:
        self.asked = self.hits = self.errors = 0
        self._options = options
        self._holds = holds
        self._observe = observe
        self._told: OrderedDict[Blob, None] = OrderedDict()
        self._waiting: OrderedDict[Blob, int] = OrderedDict()
        self._gone: OrderedDict[Blob, asyncio.Future[None]] = OrderedDict()
        self._missed = 0
        self._down = self._slow = self._corrected = False
        self._client: Client = None
        self._made = self._used = 0.0
        self._wake = asyncio.Event()

    def seen(self, name: RepositoryName, digest: Digest, size: int) -> None:
        if (name, digest) in self._told:
            self._told.move_to_end((name, digest))
        else:
            self.stored(name, digest, size)

    def stored(self, name: RepositoryName, digest: Digest, size: int) -> None:
        if self._down or len(self._waiting) >= WAITING:
            return
        self._waiting[name, digest] = size
        self._told[name, digest] = None
        if len(self._told) > TOLD:
            self._told.popitem(last=False)
        self._wake.set()

    async def gone(self, name: RepositoryName, digest: Digest) -> None:
        blob = name, digest
        self._waiting.pop(blob, None)
        self._told.pop(blob, None)
        cleared = asyncio.get_running_loop().create_future()
        before = self._gone.pop(blob, None)
        if before is not None:
            cleared.add_done_callback(lambda _: before.done() or before.set_result(None))
        self._gone[blob] = cleared
        if len(self._gone) > GONE:
            self._gone.popitem(last=False)
            self._missed += 1
        self._wake.set()
        if not self._down and not self._slow:
            await asyncio.wait([cleared], timeout=CLEAR_SECONDS)
            self._slow = not cleared.done()

    async def run(self) -> None:
        """Until cancelled."""
        pause = FIRST_PAUSE
        try:
            while True:
                try:
                    await self._serve()
                    continue
                except Exception as error:  # noqa: BLE001  a server may answer anything; nobody is to suffer from it
                    if not self._down and await self._answers():
                        continue
                    self._fall(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE) if self._down else FIRST_PAUSE
                if await self._answers():
                    self._rise()
                    pause = FIRST_PAUSE
        finally:
            await self._hang_up()

    # -- reaching redis

    async def _answers(self) -> bool:
        await self._hang_up()
        try:
            await self._connected().ping()
        except Exception as error:  # noqa: BLE001  as above
            log.debug("redis: %s", error)
            return False
        return True

    def _connected(self) -> Client:
        """Valid until the next `await`: a connection that is too old is not used again."""
        now = time.monotonic()
        if self._client is None:
            self._client, self._made = connect(self._options), now
        self._used = now
        return self._client

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                await client.aclose()
            except Exception as error:  # noqa: BLE001  it is being thrown away
                log.debug("redis: %s", error)

    async def _refresh(self) -> None:
        now, options = time.monotonic(), self._options
        idle = options.idle is not None and now - self._used > options.idle
        if idle or (options.lifetime is not None and now - self._made > options.lifetime):
            await self._hang_up()

    def _fall(self, error: Exception) -> None:
        self.errors += 1
        if not self._down:
            told = str(error) or type(error).__name__
            log.warning("redis: %s; it is left alone until it answers: the storage knows all", told)
        self._down = True
        self._waiting.clear()
        self._told.clear()
        for cleared in self._gone.values():
            if not cleared.done():
                cleared.set_result(None)  # nobody waits on; the entry does

    def _rise(self) -> None:
        if not self._down:
            return
        self._down = self._slow = self._corrected = False
        log.warning("redis answers again; deleted blobs to be cleared there: %d", len(self._gone))
        if self._missed:
            what = "redis: %d deleted blobs may still be in the cache, and served by others that use it: flush it"
            log.warning(what, self._missed)
            self._missed = 0

    # -- working

    async def _serve(self) -> None:
        if self._client is None and not await self._answers():
            await self._connected().ping()  # once more, for its error
        while True:
            if not self._gone and not self._waiting:
                self._slow = False
                self._wake.clear()
                await self._wake.wait()
            await self._refresh()
            if self._gone:
                gone = dict(list(self._gone.items())[:BATCH])
                await self._clear(gone)
                for blob, cleared in gone.items():
                    if self._gone.get(blob) is cleared:
                        del self._gone[blob]
                    if not cleared.done():
                        cleared.set_result(None)
            elif self._waiting:
                blobs = [self._waiting.popitem(last=False) for _ in range(min(BATCH, len(self._waiting)))]
                await self._compare(dict(blobs))

    async def _compare(self, blobs: dict[Blob, int]) -> None:
        asking = self._connected().pipeline(transaction=False)
        for name, digest in blobs:
            asking.sismember(_members(name), digest)
            asking.hmget(_everywhere(digest), "digest", "size", "mediatype")
            asking.hget(_own(name, digest), "mediatype")
        answers = await self._execute("RepoStat", asking)
        wanting: dict[Blob, int] = {}
        wrong_types: set[str] = set()
        for (number, (blob, size)) in enumerate(blobs.items()):
            member, everywhere, own = answers[3 * number : 3 * number + 3]
            name, digest = blob
            for key, answer in (
                (_members(name), member),
                (_everywhere(digest), everywhere),
                (_own(name, digest), own),
            ):
                if isinstance(answer, ResponseError):
                    wrong_types.add(key)
            self.asked += 1
            told = [*(everywhere if isinstance(everywhere, list) else [everywhere]), own]
            truth = [digest.encode(), b"%d" % size, OCTET_STREAM.encode(), OCTET_STREAM.encode()]
            if bool(member) and told == truth:
                self.hits += 1
                continue
            wanting[blob] = size
            if any(is_told not in (None, true) for is_told, true in zip(told, truth, strict=False)):
                self._correct(blob)
        if wanting:
            await self._write(wanting, wrong_types)

    def _correct(self, blob: Blob) -> None:
        self.errors += 1
        level = logging.DEBUG if self._corrected else logging.WARNING
        log.log(level, "redis: what it said of %s@%s is not so; corrected, as others are", *blob)
        self._corrected = True

    async def _write(self, blobs: dict[Blob, int], wrong_types: Iterable[str]) -> None:
        writing = self._connected().pipeline(transaction=False)
        for key in wrong_types:
            writing.delete(key)
        for (name, digest), size in blobs.items():
            fields = {"digest": str(digest), "size": str(size), "mediatype": OCTET_STREAM}
            writing.sadd(_members(name), digest)
            writing.hset(_everywhere(digest), mapping=fields)
            writing.hset(_own(name, digest), "mediatype", OCTET_STREAM)
        await self._execute("RepoSetDescriptor", writing)
        # Another process may have deleted it since it was seen, and have cleared what was not yet there.
        gone = [blob for blob in blobs if blob not in self._gone and not await self._is_there(blob)]
        await self._clear(gone)

    async def _is_there(self, blob: Blob) -> bool:
        try:
            return await self._holds(*blob)
        except Exception as error:  # noqa: BLE001  a storage in trouble: better no entry than a wrong one
            log.debug("redis: %s", error)
            return False

    async def _clear(self, blobs: Iterable[Blob]) -> None:
        # In a cluster the keys lie apart: membership, without which nobody looks further, goes first.
        clearing = self._connected().pipeline(transaction=not self._options.cluster)
        for name, digest in blobs:
            clearing.srem(_members(name), digest)
            clearing.delete(_own(name, digest))
            clearing.hdel(_everywhere(digest), "digest", "size", "mediatype")
        if len(clearing):
            await self._execute("Clear", clearing)

    async def _execute(self, operation: str, pipeline: Any) -> list[Any]:
        """What came back. Keys of another type than ours are answers; any other refusal is raised."""
        begun = time.perf_counter()
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        self._observe(operation, time.perf_counter() - begun)
        for answer in answers:
            if isinstance(answer, Exception) and not str(answer).startswith("WRONGTYPE"):
                raise answer
        if not isinstance(answers, list):
            raise RedisError("an answer that is none")
        return answers
