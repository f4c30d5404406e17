"""The objects of one container: found, read, made and removed. They never change, so headers are remembered."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from lading.registry.ports import StorageError
from lading.storage.frostfs import messages
from lading.storage.frostfs.encoding import Message, Nested, encode
from lading.storage.frostfs.messages import (
    DRIVER,
    FILE_NAME,
    FILE_PATH,
    NONCE,
    TIMESTAMP,
    Filter,
    Info,
    StatusError,
)
from lading.storage.frostfs.peer import Peer, UnreachableError
from lading.storage.frostfs.pool import Pool

T = TypeVar("T")

CHUNK_BYTES = 1024**2
"""Nodes take messages of 4 MiB; each is in memory several times."""

REMEMBERED = 100_000
"""Headers, some 600 bytes each."""

KEPT_BYTES = 16 * 1024**2
"""What small objects hold is kept up to this sum: like headers it never changes."""

SMALL_BYTES = 1024**2
"""What a small object holds at most."""

AT_ONCE = 16
"""Requests about single objects that are under way at a time."""

READ_FAILURES = 6
"""Broken streams in a row, without a byte between them, until reading is given up."""

_SERVICE = "object.ObjectService/"
_OTHER_SIZE = "sent another number of bytes than was asked for"


class Payload(Protocol):
    """What an object holds. `size` is in bytes, `digest` the SHA-256."""

    size: int

    @property
    def digest(self) -> bytes: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """All of it, from the start each time, in pieces of at most `CHUNK_BYTES`, none of them empty."""
        ...


class Piece:
    """A payload in memory."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self.digest = hashlib.sha256(data).digest()
        self.data = data

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, self.size, CHUNK_BYTES):
            yield self.data[start : start + CHUNK_BYTES]


class Objects:
    """Raises `StorageError` only."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._known: OrderedDict[bytes, Info] = OrderedDict()
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._kept_bytes = 0

    async def search(self, *filters: Filter, most: int | None = None) -> list[bytes]:
        """The ids of those that meet every filter, in no order; about `most` of them are enough."""
        await self.pool.open()
        body = messages.search(self.pool.author.container, filters)

        async def search(peer: Peer) -> list[bytes]:
            found: dict[bytes, None] = {}
            async with contextlib.aclosing(peer.stream(f"{_SERVICE}Search", body)) as answers:
                async for answer in answers:
                    found.update(dict.fromkeys(Message(raw).data(1) for raw in answer.all(1)))
                    if most is not None and len(found) >= most:
                        break
            return list(found)

        return await self.pool.run(search)

    async def head(self, object_id: bytes) -> Info | None:
        """None if it is gone. What is remembered may be gone too: a search says what is there."""
        known = self._known.get(object_id)
        if known is not None:
            self._known.move_to_end(object_id)
            return known
        try:
            answer = await self.pool.call(f"{_SERVICE}Head", encode((1, self._address(object_id))))
        except StatusError as error:
            if error.gone:
                return None
            raise
        if not answer.has(1):
            raise StorageError(DRIVER, "a node answered with a kind of header that is not known here")
        return self._remember(messages.info(object_id, answer.message(1, 1)))

    async def heads(self, ids: Iterable[bytes]) -> list[Info]:
        """Of those that are not gone."""
        found = await at_once([functools.partial(self.head, each) for each in ids])
        return [info for info in found if info is not None]

    def unknown(self, ids: Iterable[bytes]) -> int:
        """How many of these objects a node must be asked about."""
        return sum(each not in self._known for each in ids)

    async def find(self, *filters: Filter, ids: list[bytes] | None = None) -> list[Info]:
        """What meets every filter, in no order. `ids` are those that a search has just found.

        What is gone by the time it is looked at may have been replaced: then it is searched for again. But a node
        may also go on to name what is long gone.
        """
        gone: set[bytes] = set()
        while True:
            ids = [each for each in ids or await self.search(*filters) if each not in gone]
            found = await self.heads(ids)
            if len(found) == len(ids):
                return found
            gone |= set(ids) - {info.id for info in found}
            ids = None

    def forget(self, object_id: bytes) -> None:
        """The object is gone."""
        self._known.pop(object_id, None)
        self._kept_bytes -= len(self._kept.pop(object_id, b""))

    async def whole(self, object_id: bytes) -> bytes:
        """A small object, which a search has just found. Raises `StatusError`."""
        kept = self._kept.get(object_id)
        if kept is not None and object_id in self._known:
            self._kept.move_to_end(object_id)
            return kept
        body = encode((1, self._address(object_id)))

        async def fetch(peer: Peer) -> tuple[Info, bytes]:
            async with contextlib.aclosing(peer.stream(f"{_SERVICE}Get", body)) as stream:
                answers = [answer async for answer in stream]
            if not answers or not answers[0].has(1):
                raise StorageError(DRIVER, "a node answered with a kind of object that is not known here")
            found = messages.info(object_id, answers[0].message(1, 3))
            data = b"".join(answer.data(2) for answer in answers)
            if len(data) != found.size:
                raise UnreachableError(peer.address.target, _OTHER_SIZE)
            return found, data

        found, data = await self.pool.run(fetch)
        self._remember(found)
        return self._keep(object_id, data)

    async def read(self, object_id: bytes, offset: int, end: int) -> AsyncGenerator[bytes]:
        """The bytes from `offset` up to `end`. A stream that breaks is continued from another peer."""
        failures = 0
        while offset < end:
            span = encode((1, offset), (2, end - offset))
            peer = await self.pool.peer()
            try:
                body = encode((1, self._address(object_id)), (2, span))
                async with contextlib.aclosing(peer.stream(f"{_SERVICE}GetRange", body)) as answers:
                    async for answer in answers:
                        chunk = answer.data(1)
                        if offset + len(chunk) > end:
                            raise UnreachableError(peer.address.target, _OTHER_SIZE)
                        offset += len(chunk)
                        failures = 0
                        yield chunk
                if offset != end:
                    raise UnreachableError(peer.address.target, _OTHER_SIZE)
            except StorageError as error:
                self.pool.blame(peer, error)
                failures += 1
                if failures == READ_FAILURES:
                    raise
                await self.pool.recover(failures)

    def attributes(self, path: str, order: int) -> list[tuple[str, str]]:
        """Of an object under the key `path`."""
        return [
            (FILE_PATH, path),
            (FILE_NAME, path.rpartition("/")[2]),
            (TIMESTAMP, str(order // 10**9)),
            nonce(order),
        ]

    async def put(self, payload: Payload, attributes: list[tuple[str, str]], split: Nested | None = None) -> Info:
        """Make an object, whose id is known before it is sent: sending it again is harmless."""
        await self.pool.open()
        author = self.pool.author
        header = author.header(self.pool.epoch, payload.size, payload.digest, attributes, split)
        object_id, signature = author.signed(header)
        init = encode((1, messages.identifier(object_id)), (2, signature), (3, header))
        await self.pool.put(init, payload.chunks, payload.size)
        if isinstance(payload, Piece):
            self._keep(object_id, payload.data)
        return self.remember(object_id, header)

    async def delete(self, ids: Iterable[bytes]) -> None:
        """Those that are gone already are no failure."""
        await at_once([functools.partial(self._delete, each) for each in ids])

    def remember(self, object_id: bytes, header: bytes) -> Info:
        return self._remember(messages.info(object_id, Message(header)))

    async def _delete(self, object_id: bytes) -> None:
        try:
            await self.pool.call_in_session(f"{_SERVICE}Delete", encode((1, self._address(object_id))))
        except StatusError as error:
            if not error.gone:
                raise
        self.forget(object_id)

    def _remember(self, info: Info) -> Info:
        self._known[info.id] = info
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return info

    def _keep(self, object_id: bytes, data: bytes) -> bytes:
        if len(data) <= SMALL_BYTES and object_id not in self._kept:
            self._kept[object_id] = data
            self._kept_bytes += len(data)
            while self._kept_bytes > KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return data

    def _address(self, object_id: bytes) -> Nested:
        return messages.address(self.pool.author.container, object_id)


def nonce(order: int) -> tuple[str, str]:
    """The attribute that makes each object another one: what was removed cannot be made again."""
    return NONCE, f"{order}-{os.urandom(8).hex()}"


def new_order(replaced: Sequence[Info]) -> int:
    """Nanoseconds since 1970: now, but behind all that is replaced, whoever's clock that was written by."""
    return max([time.time_ns(), *(info.order + 1 for info in replaced)])


async def at_once(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """What they return; a bounded number is under way at a time. After the first failure none is."""
    if len(calls) == 1:
        return [await calls[0]()]
    gate = asyncio.Semaphore(AT_ONCE)

    async def run(call: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await call()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(call)) for call in calls]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def to_the_end(work: Awaitable[T]) -> T:
    """Who is cancelled meanwhile waits for it all the same."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
