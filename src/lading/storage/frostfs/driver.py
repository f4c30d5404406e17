"""The `frostfs` driver: every key is an object of one container, found by its attribute `FilePath`.

Objects never change: to replace one is to make another and to remove the first, and of several under one key the
newest counts. Directories are what keys have in common. docs/storage/frostfs.md tells what lies in the container.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TypeVar
from weakref import WeakValueDictionary

from lading.registry import ports
from lading.registry.ports import (
    BusyError,
    InvalidOffsetError,
    PathNotFoundError,
    Stat,
    Steps,
    StorageError,
    Traits,
    check_key,
    delete_each,
)
from lading.storage.frostfs.chain import LARGEST_PART, Chain, members_of
from lading.storage.frostfs.listing import Page, names, paths_below
from lading.storage.frostfs.locks import Lock, Locks
from lading.storage.frostfs.messages import DRIVER, FILE_PATH, ROOT, UPLOAD, Info, StatusError, equals, starts_with
from lading.storage.frostfs.objects import Objects, Piece, at_once, new_order, to_the_end
from lading.storage.frostfs.peer import Address
from lading.storage.frostfs.pool import Pool, Target, Timing
from lading.storage.frostfs.reader import WHOLE_BYTES, FrostfsReader
from lading.storage.frostfs.signing import Key
from lading.storage.frostfs.writer import FrostfsWriter

T = TypeVar("T")

Answers = list[Sequence[str]]

HOLD_SECONDS = 0.005
"""How often somebody who waits for a directory looks again."""

DATED = 16
"""So many of the objects below a directory tell how old it is."""

ATTEMPTS = 20
"""How often a key is looked up again because what it stood for has been replaced."""


class FrostfsStorage:
    """See `lading.registry.ports.Storage`. Nothing is connected before the first call."""

    name = DRIVER
    traits = Traits(shared=True, flat=True)

    def __init__(
        self,
        key: Key,
        peers: Sequence[Address],
        container: str,
        rpc_endpoint: str = "",
        timing: Timing = Timing(),  # noqa: B008  immutable
    ) -> None:
        self._pool = Pool(key, peers, Target(container, rpc_endpoint), timing)
        self._locks = Locks(container)
        self.objects = Objects(self._pool)
        self._written: WeakValueDictionary[bytes, Chain] = WeakValueDictionary()
        """What writers of this process have not closed yet, by split id."""

    async def check(self) -> None:
        """Raises `StorageError` where the registry could not work: no peer, no container, no session."""
        await self._pool.open()
        await self._pool.check()
        await self._search_root()

    async def _search_root(self) -> None:
        """Nothing lies there, but a node has to answer, and to let us search."""
        await self.objects.search(ROOT, equals(FILE_PATH, "/"))

    async def close(self) -> None:
        await self._pool.close()

    async def stat(self, key: str) -> Stat:
        if key == "/":
            await self._search_root()
            return Stat(0, 0.0, is_directory=True)
        check_key(DRIVER, key)
        here, below = await self._around(key)
        if here:
            size = here[0].size
            if here[0].upload:
                chain = self._written.get(here[0].upload) or (await self._chain(here[0]))[0]
                size = chain.size
            return Stat(size, here[0].modified, is_directory=False)
        if not below:
            raise PathNotFoundError(DRIVER, key)
        return Stat(0, max(info.modified for info in below), is_directory=True)

    async def _around(self, key: str) -> tuple[Sequence[Info], Sequence[Info]]:
        """What lies under the key, the newest first, and if there is nothing, some of what lies below it."""
        ids = await self.objects.search(ROOT, starts_with(FILE_PATH, key), most=DATED)
        found = await self.objects.heads(ids[:DATED])
        here = _newest_first(info for info in found if info.path == key)
        below = [info for info in found if info.path.startswith(f"{key}/")]
        full = len(ids) >= DATED
        if (below and not here) or (not full and (here or len(found) == len(ids))):
            return here, below
        # Others whose names begin alike fill the answer, or something was replaced meanwhile.
        here = await self.under(key)
        if here:
            return here, []
        ids = await self.objects.search(ROOT, starts_with(FILE_PATH, f"{key}/"), most=DATED)
        below = await self.objects.heads(ids[:DATED])
        if ids and not below:
            below = await self.objects.find(ROOT, starts_with(FILE_PATH, f"{key}/"))
        return [], below

    async def get(self, key: str) -> bytes:
        check_key(DRIVER, key)
        gone: set[bytes] = set()
        for _ in range(ATTEMPTS):
            ids = [each for each in await self.objects.search(ROOT, equals(FILE_PATH, key)) if each not in gone]
            if len(ids) > 1:
                ids = [info.id for info in _newest_first(await self.objects.heads(ids))]
            if not ids:
                raise PathNotFoundError(DRIVER, key)
            try:
                data = await self.objects.whole(ids[0])
                [found] = await self.objects.heads(ids[:1])
                if found.upload:
                    return await _all_of(FrostfsReader(self.objects, key, await self._pieces(found), 0))
                return data
            except StatusError as error:
                self._check_gone(error, ids[0])
                gone.add(ids[0])
        raise _restless(key)

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> None:  # noqa: ARG002
        check_key(DRIVER, key)
        replaced = await self.under(key)
        await self._put(key, data, replaced)

    async def put_all(self, *stages: ports.Objects, upon: Sequence[str] = ()) -> None:
        for objects in (*stages, upon):
            for key in objects:
                check_key(DRIVER, key)
        there = await at_once([functools.partial(self.under, key) for key in upon])
        for key, found in zip(upon, there, strict=True):
            if not found:
                raise PathNotFoundError(DRIVER, key)
        for objects in stages:
            await at_once([functools.partial(self._put_other, *each) for each in objects.items()])

    async def open(self, key: str, offset: int = 0) -> FrostfsReader:
        if offset < 0:
            raise InvalidOffsetError(DRIVER, key, offset)
        check_key(DRIVER, key)
        for _ in range(ATTEMPTS):
            here = await self.under(key)
            if not here:
                raise PathNotFoundError(DRIVER, key)
            if here[0].upload:
                return FrostfsReader(self.objects, key, await self._pieces(here[0]), offset)
            if here[0].size > WHOLE_BYTES:
                return FrostfsReader(self.objects, key, here[:1], offset)
            try:
                whole = await self.objects.whole(here[0].id)
            except StatusError as error:
                self._check_gone(error, here[0].id)
            else:
                return FrostfsReader(self.objects, key, here[:1], offset, whole)
        raise _restless(key)

    async def writer(self, key: str, *, append: bool) -> FrostfsWriter:
        check_key(DRIVER, key)
        lock = self._locks.take(f"writer {key}")
        try:
            await self._pool.open()
            here = await self.under(key)
            if append and here and here[0].upload:
                chain, complete = await self._chain(here[0])
                if not complete:
                    return self._writing(key, lock, here[0], chain)
            elif append and here and here[0].size:
                raise StorageError(DRIVER, f"cannot append to what is complete: {key}")
            chain = Chain(self.objects, uuid.uuid4().bytes)
            record = await self.record(key, chain, b"", here)
            await self.remove(here)
            return self._writing(key, lock, record, chain)
        except BaseException:
            lock.release()
            raise

    def _writing(self, key: str, lock: Lock, record: Info, chain: Chain) -> FrostfsWriter:
        self._written[chain.split_id] = chain
        return FrostfsWriter(self, key, lock, record, chain)

    async def record(self, key: str, chain: Chain, content: bytes, replaced: Sequence[Info]) -> Info:
        """What stands at the key of an unfinished object, and holds what is too small to be a part."""
        attributes = self.objects.attributes(key, new_order(replaced))
        return await self.objects.put(
            Piece(content), [*attributes, (UPLOAD, str(uuid.UUID(bytes=chain.split_id)))]
        )

    def written(self, chain: Chain) -> None:
        """Its writer has come to its end."""
        self._written.pop(chain.split_id, None)

    async def complete(self, chain: Chain, target: str, record: Info) -> None:
        """What was written becomes the object under `target`; `record` goes, whichever key it stands at."""
        replaced = await self.under(target)
        await chain.finish(target, new_order([*replaced, record]))
        await self.remove([info for info in replaced if info.id != record.id])
        await self.objects.delete([record.id])

    async def move(self, source: str, target: str, *, may_stay: bool = False) -> None:
        check_key(DRIVER, target)
        reader = await self.open(source)
        if source == target:
            return await reader.close()
        chain = Chain(self.objects, uuid.uuid4().bytes)
        moved = [] if may_stay else await self.under(source)
        try:
            while data := await reader.read(WHOLE_BYTES):
                await chain.add(data)
            replaced = await self.under(target)
            await chain.finish(target, new_order(replaced))
        except BaseException:
            await chain.discard()
            raise
        finally:
            chain.close()
            await reader.close()
        await self.remove([*replaced, *moved])
        return None

    async def delete(self, key: str, *, if_empty: bool = False) -> None:
        check_key(DRIVER, key)
        if if_empty:
            return
        gone = await self.below(key) or await self.under(key)
        if not gone:
            raise PathNotFoundError(DRIVER, key)
        await self.remove(gone)

    async def delete_all(self, keys: Sequence[str]) -> None:
        await delete_each(self, keys)

    async def walk(self, key: str) -> AsyncIterator[tuple[str, Stat | None]]:
        for path in await paths_below(self.objects, check_key(DRIVER, key)):
            yield path, None

    async def list(
        self, key: str, *, after: str = "", limit: int | None = None, holding: str = ""
    ) -> Sequence[str]:
        if key != "/":
            check_key(DRIVER, key)
        if holding:
            check_key(DRIVER, f"/-/{holding}")
        names = await Page(self.objects, key, after, limit, holding).names()
        if names is None and key != "/":
            raise PathNotFoundError(DRIVER, key)
        return names or []

    async def explore(self, steps: Steps[T]) -> T:
        """What lies below a key is searched for once, and answers for all keys below it too."""
        known = ""
        paths: Sequence[str] = ()
        try:
            keys = next(steps)
            while True:
                answers: Answers = []
                for key in keys:
                    check_key(DRIVER, key)
                    if not known or not f"{key}/".startswith(f"{known}/"):
                        if answers:
                            break
                        known, paths = key, await paths_below(self.objects, key)
                    answers.append(sorted(names(paths, key)))
                keys = steps.send(answers)
        except StopIteration as end:
            result: T = end.value
            return result

    @contextlib.asynccontextmanager
    async def hold(self, key: str, *, shared: bool) -> AsyncIterator[None]:
        check_key(DRIVER, key)
        # Who waits to be alone keeps those away who come later.
        gate = await self._taken(f"gate {key}", shared=shared)
        try:
            lock = await self._taken(f"directory {key}", shared=shared)
        finally:
            gate.release()
        try:
            yield
        finally:
            lock.release()

    async def _taken(self, name: str, *, shared: bool) -> Lock:
        while True:
            with contextlib.suppress(BusyError):
                return self._locks.take(name, shared=shared)
            await asyncio.sleep(HOLD_SECONDS)

    async def redirect(self, key: str, method: str, client: str = "") -> str | None:  # noqa: ARG002
        check_key(DRIVER, key)
        return None

    async def under(self, key: str) -> Sequence[Info]:
        """What lies under exactly that key, the newest first."""
        return _newest_first(await self.objects.find(ROOT, equals(FILE_PATH, key)))

    def _check_gone(self, error: StatusError, object_id: bytes) -> None:
        """What is gone has been replaced or deleted: look again. Raises `error` if it says something else."""
        if not error.gone:
            raise error
        self.objects.forget(object_id)

    async def _put_other(self, key: str, data: bytes) -> None:
        """As `put`, but the same content is left where it is."""
        replaced = await self.under(key)
        same = len(replaced) == 1 and not replaced[0].upload and replaced[0].size == len(data)
        if not same or replaced[0].digest != hashlib.sha256(data).digest():
            await self._put(key, data, replaced)

    async def _put(self, key: str, data: bytes, replaced: Sequence[Info]) -> None:
        order = new_order(replaced)
        await self._pool.open()
        if len(data) <= min(self._pool.limit, LARGEST_PART):
            await self.objects.put(Piece(data), self.objects.attributes(key, order))
        else:
            chain = Chain(self.objects, uuid.uuid4().bytes)
            try:
                await chain.add(data)
                await chain.finish(key, order)
            except BaseException:
                await chain.discard()
                raise
            finally:
                chain.close()
        await self.remove(replaced)

    async def below(self, key: str) -> Sequence[Info]:
        return await self.objects.find(ROOT, starts_with(FILE_PATH, f"{key}/"))

    async def remove(self, infos: Sequence[Info]) -> None:
        """Objects, and with unfinished ones their parts; the record last, for only it tells of them."""
        for info in infos:
            parts = await members_of(self.objects, info.upload) if info.upload else []
            if not any(part.has_parent for part in parts):
                await self.objects.delete([part.id for part in parts])
        await self.objects.delete([info.id for info in infos])

    async def _chain(self, record: Info) -> tuple[Chain, bool]:
        """And whether it is complete."""
        if not record.size:
            return await Chain.of(self.objects, record.upload)
        return Chain(self.objects, record.upload, begun=await self.objects.whole(record.id)), False

    async def _pieces(self, record: Info) -> Sequence[Info]:
        """The parts so far; what a writer of this process still gathers becomes one."""
        written = self._written.get(record.upload)
        if written is not None:
            await to_the_end(written.flush())
            return [*written.parts]
        if record.size:
            return [record]
        chain, _ = await self._chain(record)
        return chain.parts


async def _all_of(reader: FrostfsReader) -> bytes:
    read = bytearray()
    while data := await reader.read(WHOLE_BYTES):
        read += data
    await reader.close()
    return bytes(read)


def _newest_first(infos: Iterable[Info]) -> Sequence[Info]:
    return sorted(infos, key=lambda info: (info.order, info.id), reverse=True)


def _restless(key: str) -> StorageError:
    return StorageError(DRIVER, f"replaced again and again: {key}")
