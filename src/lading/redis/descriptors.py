"""Descriptors of blobs in redis, under the keys and with the values of CNCF Distribution.

    repository::<name>::blobs             a set: the digests of the repository's blobs
    repository::<name>::blobs::<digest>   a hash: mediatype, as that repository has it
    blobs::<digest>                       a hash: digest, size, mediatype

Lading never believes an entry: it compares those that it comes across with the storage, adds what is missing and
puts right what is wrong. No request waits for that. What is deleted is cleared, since others do believe.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from redis.exceptions import ResponseError

from lading.oci.digest import Digest
from lading.oci.media import OCTET_STREAM
from lading.oci.names import RepositoryName
from lading.redis.connecting import Client, Options, connect

log = logging.getLogger(__name__)

BATCH = 32
"""Blobs in a round trip."""

WAITING = 10_000
"""Blobs that wait to be told of; more are left out, and told of when they are seen again."""

GONE = 100_000
"""Blobs that wait to be cleared while redis is away."""

TOLD = 10_000
"""Blobs that are not compared again, those seen last."""

CLEAR_SECONDS = 1.0
"""How long a deletion waits for its entry to be cleared."""

FIRST_PAUSE, LAST_PAUSE = 0.25, 8.0
"""Between two tries to reach a redis that is away; in seconds, doubled each time."""

STALE = "redis: %d deleted blobs may still be in it, and served by other registries that use it: flush it"

Blob = tuple[RepositoryName, Digest]
Observe = Callable[[str, float], None]


def _members(name: RepositoryName) -> str:
    return f"repository::{name}::blobs"


def _own(name: RepositoryName, digest: Digest) -> str:
    return f"repository::{name}::blobs::{digest}"


def _everywhere(digest: Digest) -> str:
    return f"blobs::{digest}"


def _finish(cleared: asyncio.Future[None]) -> None:
    if not cleared.done():
        cleared.set_result(None)


class Number(Protocol):
    """A buffer of one byte."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


class RedisDescriptors:
    """For one process. `holds` says of a blob whether its repository has it.

    `away` is one number that all processes share: so that only one of them says that redis is away, or back.

    Implements `registry.ports.Descriptors`.
    """

    def __init__(
        self,
        options: Options,
        holds: Callable[[RepositoryName, Digest], Awaitable[bool]],
        observe: Observe,
        away: Number,
    ) -> None:
        self.asked = self.hits = self.errors = 0
        self._options = options
        self._holds = holds
        self._observe = observe
        self._away = away
        self._told: OrderedDict[Blob, None] = OrderedDict()
        self._waiting: OrderedDict[Blob, int] = OrderedDict()
        self._gone: OrderedDict[Blob, asyncio.Future[None]] = OrderedDict()
        self._missed = 0
        self._down = self._slow = self._corrected = False
        self._client: Client = None
        self._made = self._used = 0.0
        self._wake = asyncio.Event()

    def seen(self, name: RepositoryName, digest: Digest, size: int) -> None:
        blob = name, digest
        if blob in self._told:
            self._told.move_to_end(blob)
        elif not self._down and len(self._waiting) < WAITING:
            self._waiting[blob] = size
            self._told[blob] = None
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
            cleared.add_done_callback(lambda _: _finish(before))
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
                    await self._step()
                except Exception as error:  # noqa: BLE001  a server may answer anything; nobody is to suffer from it
                    self._fall(error)
                    await self._hang_up()
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LAST_PAUSE)
                else:
                    # What was refused is tried again: an answer to something else shows nothing.
                    if not self._gone and not self._waiting:
                        self._rise()
                        pause = FIRST_PAUSE
        finally:
            if self._gone:
                log.warning(STALE, len(self._gone))
            await self._hang_up()

    async def _step(self) -> None:
        """What comes next, or the wait for it."""
        now, options = time.monotonic(), self._options
        idle = options.idle is not None and now - self._used > options.idle
        if idle or (options.lifetime is not None and now - self._made > options.lifetime):
            await self._hang_up()
        if self._client is None:
            self._client, self._made = connect(options), now
            await self._client.ping()
        elif self._gone:
            gone = dict(itertools.islice(self._gone.items(), BATCH))
            await self._clear(gone)
            for blob, cleared in gone.items():
                if self._gone.get(blob) is cleared:
                    del self._gone[blob]
                _finish(cleared)
        elif self._waiting:
            blobs = dict(itertools.islice(self._waiting.items(), BATCH))
            await self._compare(blobs)
            for blob in blobs:
                self._waiting.pop(blob, None)
        else:
            self._slow = False
            self._wake.clear()
            await self._wake.wait()
            return
        self._used = time.monotonic()

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                await client.aclose()
            except Exception as error:  # noqa: BLE001  it is being thrown away
                log.debug("redis: %s", error)

    def _fall(self, error: Exception) -> None:
        self.errors += 1
        if not self._down and not self._away[0]:
            self._away[0] = 1
            log.warning("redis: %s; requests go on without it", str(error) or type(error).__name__)
        self._down = True
        self._told.clear()
        while len(self._waiting) > BATCH:  # enough to find out whether it is back
            self._waiting.popitem()
        for cleared in self._gone.values():
            _finish(cleared)  # nobody waits on; the entry does

    def _rise(self) -> None:
        self._down = self._slow = self._corrected = False
        if self._away[0]:
            self._away[0] = 0
            log.warning("redis answers again")
        if self._missed:
            log.warning(STALE, self._missed)
            self._missed = 0

    async def _compare(self, blobs: dict[Blob, int]) -> None:
        asking = self._client.pipeline(transaction=False)
        for name, digest in blobs:
            asking.sismember(_members(name), digest)
            asking.hmget(_everywhere(digest), "digest", "size", "mediatype")
            asking.hget(_own(name, digest), "mediatype")
        answers = iter(await self._execute("RepoStat", asking))
        wanting: dict[Blob, int] = {}
        wrong_types: set[str] = set()
        for blob, size in blobs.items():
            name, digest = blob
            given = member, everywhere, own = next(answers), next(answers), next(answers)
            keys = _members(name), _everywhere(digest), _own(name, digest)
            wrong = {key for key, answer in zip(keys, given, strict=True) if isinstance(answer, ResponseError)}
            wrong_types |= wrong
            self.asked += 1
            told = [*(everywhere if isinstance(everywhere, list) else [everywhere]), own]
            truth = [digest.encode(), b"%d" % size, OCTET_STREAM.encode(), OCTET_STREAM.encode()]
            if member == 1 and told == truth:
                self.hits += 1
                continue
            wanting[blob] = size
            if wrong or any(said not in (None, true) for said, true in zip(told, truth, strict=True)):
                self._correct(blob)
        if wanting:
            await self._write(wanting, wrong_types)

    def _correct(self, blob: Blob) -> None:
        self.errors += 1
        level = logging.DEBUG if self._corrected else logging.WARNING
        log.log(level, "redis: what it said of %s@%s was not so: corrected, and so are others from here on", *blob)
        self._corrected = True

    async def _write(self, blobs: dict[Blob, int], wrong_types: Iterable[str]) -> None:
        writing = self._client.pipeline(transaction=False)
        for key in wrong_types:
            writing.delete(key)
        for (name, digest), size in blobs.items():
            fields = {"digest": str(digest), "size": str(size), "mediatype": OCTET_STREAM}
            writing.sadd(_members(name), digest)
            writing.hset(_everywhere(digest), mapping=fields)
            writing.hset(_own(name, digest), "mediatype", OCTET_STREAM)
        await self._execute("RepoSetDescriptor", writing)
        # Another process may have deleted it since it was seen, and have cleared what was not yet there.
        there = await asyncio.gather(*(self._is_there(blob) for blob in blobs))
        await self._clear(blob for blob, is_there in zip(blobs, there, strict=True) if not is_there)

    async def _is_there(self, blob: Blob) -> bool:
        try:
            return await self._holds(*blob)
        except Exception as error:  # noqa: BLE001  a storage in trouble: better no entry than a wrong one
            log.debug("redis: %s", error)
            return False

    async def _clear(self, blobs: Iterable[Blob]) -> None:
        # In a cluster the keys lie apart, and there are no transactions. None of them suffices without the others.
        clearing = self._client.pipeline(transaction=not self._options.cluster)
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
        return answers
