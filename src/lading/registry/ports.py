"""The ports: every promise the registry needs from the world outside, and the errors it may answer with.

A driver for `Storage` is proven by the contract suite in `lading.testing.storage`.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from lading.oci.digest import Digest
from lading.oci.names import RepositoryName

T = TypeVar("T")

Steps = Generator[Sequence[str], Sequence[Sequence[str]], T]
"""What `Storage.explore` is asked to do. It touches nothing that others change: it may run in another thread."""

Objects = Mapping[str, bytes]
"""Keys, and what is to lie there: links and manifests."""

AHEAD = 32
"""The directories that `explore` is told of at a time: it may list them at once."""

_KEY = re.compile(r"(?:/[A-Za-z0-9._-]+)+", re.ASCII)


class StorageError(Exception):
    """A storage operation failed; the text starts with the driver's name.

    The cause, where there is one, is chained. Nothing else leaves a driver.
    """

    def __init__(self, driver: str, detail: str) -> None:
        super().__init__(f"{driver}: {detail}")
        self.driver = driver
        self.detail = detail


class PathNotFoundError(StorageError):
    """There is nothing under the key."""

    def __init__(self, driver: str, key: str) -> None:
        super().__init__(driver, f"Path not found: {key}")
        self.key = key


class InvalidPathError(StorageError):
    """The key is not of the grammar `(/[A-Za-z0-9._-]+)+`, or has a `.` or `..` component."""

    def __init__(self, driver: str, key: str) -> None:
        super().__init__(driver, f"invalid path: {key}")
        self.key = key


class InvalidOffsetError(StorageError):
    """The offset to read from is negative."""

    def __init__(self, driver: str, key: str, offset: int) -> None:
        super().__init__(driver, f"invalid offset: {offset} for path: {key}")
        self.key = key
        self.offset = offset


class StorageFullError(StorageError):
    """There is no space, or no quota, left for the bytes."""


class UnavailableError(StorageError):
    """The storage cannot be reached, or asks to be left alone for a while: trying again later may help."""


class BusyError(StorageError):
    """Another writer holds the key, in this process or another.

    `left`: after so many seconds it counts as dead, unless it shows before that it lives; 0 if it never does.
    """

    def __init__(self, driver: str, detail: str, left: float = 0.0) -> None:
        super().__init__(driver, detail)
        self.left = left


class Stat(NamedTuple):
    """What is under a key. `size` is in bytes, 0 for a directory; `modified` is in seconds since 1970."""

    size: int
    modified: float
    is_directory: bool


@dataclass(frozen=True, slots=True)
class Traits:
    """What a driver is able to do: declared, never probed."""

    shared: bool
    """Other processes that are given the same configuration see the same content."""
    redirects: bool = False
    """`redirect` may answer with a URL."""
    flat: bool = False
    """There are no directories but what keys have in common: none has to be made."""
    locks: bool = True
    """`hold` keeps out the requests of all processes; otherwise those of its own process alone (decision 0008)."""

    renames: bool = False
    """A move is one step: nobody ever sees an object at both of its keys, or at none."""

    grows: bool = False
    """All processes can read an object while it is written, as cheaply as one that is complete."""


class Reader(Protocol):
    """The bytes of one object from an offset on. The object was there when it was opened."""

    size: int
    """The whole object's size in bytes, wherever reading starts."""
    path: str | None
    """A local file that holds exactly this object, if the driver keeps one: a server may send it itself."""

    def fileno(self) -> int:
        """The descriptor of that file, open for reading until `close`. Raises `OSError` without one."""
        ...

    async def read(self, limit: int) -> bytes:
        """Up to `limit` bytes, at least one; empty at the end. Raises `StorageError`."""
        ...

    def seek(self, offset: int) -> None:
        """Read on from `offset`, which is not negative. Where that costs a round trip, the next read pays."""
        ...

    async def close(self) -> None:
        """Always to be called; calling it twice is harmless. Reading after it raises `StorageError`."""
        ...


class Writer(Protocol):
    """Bytes on their way to a key. One writer at a time holds a key, until close, commit or cancel.

    After any of the three, every further call but `close` raises `StorageError`.
    """

    size: int
    """Bytes under the key, those of earlier writers included, once all writes have returned."""

    async def write(self, chunks: Sequence[bytes], also: Callable[[bytes], None] | None = None) -> None:
        """Append. On `StorageError` (`StorageFullError`, …) `size` tells how much was kept.

        `also` is called with each chunk that was written, in their order, in the thread that writes them.
        """
        ...

    async def close(self) -> None:
        """Make what was written durable and let go of the key: it can be appended to by any process.

        Where the key was deleted meanwhile, nothing is made anew.
        """
        ...

    async def commit(
        self, target: str | None = None, then: Objects | None = None, remove: str | None = None
    ) -> None:
        """As `close`; and the object is complete and lies under `target`, if one is given.

        Once it is durable there, the objects of `then` are put, and after them what is left under `remove` is
        deleted, if there is anything. Nobody else writes between the last write and the move. Raises
        `PathNotFoundError` where the key was deleted meanwhile, `InvalidPathError` for what is no key; the latter
        leaves the writer as it was.
        """
        ...

    async def cancel(self) -> None:
        """Remove what is under the key and let go of it."""
        ...


class Bulk(Protocol):
    """Many objects at a time: for those who look after a storage."""

    async def delete_all(self, keys: Sequence[str]) -> None:
        """Remove objects, in any order, in as few requests as can be. What is not there is no error.

        After another error some may be left.
        """
        ...

    def walk(self, key: str) -> AsyncIterator[tuple[str, Stat | None]]:
        """The keys of all objects below a directory, and what `stat` tells of them if that comes by itself.

        In any order; none if there is no such directory. Unfinished objects may be left out.
        """
        ...


class Storage(Bulk, Protocol):
    """Bytes under keys: the only truth of a registry.

    Keys are absolute (`/docker/registry/v2/…`) and come from `layout`; components of a key form directories.
    Digests and sizes are checked by the caller; a driver never hashes. Every method raises `InvalidPathError`
    for what is not a key, `PathNotFoundError` where there is nothing, and else only `StorageError`.
    An object that is still being written can be seen, and read as far as it was written.
    """

    name: str
    """The driver's name in the configuration; error texts start with it."""
    traits: Traits

    async def stat(self, key: str) -> Stat:
        """`/` is a directory, or not found in an empty store."""
        ...

    async def get(self, key: str) -> bytes:
        """A whole small object: links and manifests."""
        ...

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        """Create or replace, all or nothing for every reader.

        On return the bytes survive a crash of the process, and a power cut too unless `durable` is false.
        """
        ...

    async def put_all(self, *stages: Objects, upon: Sequence[str] = ()) -> None:
        """As `put` for each object, durable on return; where there is the same already, it may be left.

        They appear in their order, those of a later stage only when all of the stages before are durable; and the
        first only when the objects `upon` are, which somebody else may have put just now. Raises
        `PathNotFoundError`, having put nothing, where one of these is not there. After another error some may be.
        """
        ...

    async def open(self, key: str, offset: int = 0) -> Reader:
        """Raises `InvalidOffsetError` below zero. At or behind the end the reader is at its end."""
        ...

    async def writer(self, key: str, *, append: bool) -> Writer:
        """A new object, or with `append` the continuation of one that was closed, or of an empty one.

        With `append` a missing object counts as empty. Raises `BusyError` while another writer holds the key.
        """
        ...

    async def move(self, source: str, target: str, *, may_stay: bool = False) -> None:
        """Rename an object, replacing the target; durable on return.

        A missing source leaves the target as it was. With `may_stay` a driver to which this is a copy and a
        removal leaves the source where it is, and may leave the target: both are known to be the same.
        """
        ...

    async def delete(self, key: str, *, if_empty: bool = False) -> None:
        """Remove an object, or a directory with all below it, unfinished objects included.

        Never a sibling that shares a prefix. With `if_empty` only directories go, as far as there is no object in
        them, nor one that comes meanwhile; and nothing there is no error.
        """
        ...

    async def list(
        self, key: str, *, after: str = "", limit: int | None = None, holding: str = ""
    ) -> Sequence[str]:
        """The names (not keys) of the direct children that sort strictly after `after`, in byte order.

        At most `limit` of them; fewer only where there are no more. `holding` is a path below each child: those
        that have nothing there do not count. Foreign entries that cannot be part of a key are left out. `/` can
        always be listed; an object cannot: `PathNotFoundError`. A directory may go with the last of what it held.
        """
        ...

    async def explore(self, steps: Steps[T]) -> T:
        """List many directories in one go; returns what `steps` returns.

        `steps` yields keys: it needs the names below the first now, and probably those below the others next. It
        is sent the names, as `list` gives them, of the first or more of them, in their order; none for what is not
        there or no directory. A driver to which each request is a journey asks for several at a time.
        """
        ...

    def hold(self, key: str, *, shared: bool) -> AbstractAsyncContextManager[None]:
        """Keep others from the directory `key`, which is made if it is missing, for the length of the context.

        Any number may hold it as `shared`, or one otherwise, among all processes; others wait. It hinders nobody
        who does not ask. Without the trait `locks` it is among the requests of this process.
        """
        ...

    async def redirect(self, key: str, method: str, client: str = "") -> str | None:
        """A URL where a client may GET or HEAD the object itself for a while, or None: serve it yourself.

        `client` is the address that asks, empty where it is not known.
        """
        ...


class Descriptors(Protocol):
    """What other registries believe of blobs, in a cache that they share with this one. Nothing here fails."""

    def seen(self, name: RepositoryName, digest: Digest, size: int) -> None:
        """The storage has just shown that the repository has the blob, of so many bytes. Nobody waits."""
        ...

    async def gone(self, name: RepositoryName, digest: Digest) -> None:
        """The repository is not to be believed to have the blob.

        To be called before it is removed, for what a crash may leave, and after, for what was told meanwhile.
        """
        ...


async def found(storage: Storage, key: str) -> Stat | None:
    """What is under the key, None if there is nothing."""
    try:
        return await storage.stat(key)
    except PathNotFoundError:
        return None


@functools.lru_cache(maxsize=1024)
def check_key(driver: str, key: str) -> str:
    """Returns `key`. Raises `InvalidPathError` if it is none; `/` is not a key."""
    if not is_key(key):
        raise InvalidPathError(driver, key)
    return key


def is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None and "/./" not in f"{text}/" and "/../" not in f"{text}/"


def run_steps(steps: Steps[T], names: Callable[[str], Sequence[str]]) -> T:
    """`Storage.explore` for a driver that lists one directory after the other, as `names` does."""
    try:
        keys = next(steps)
        while True:
            keys = steps.send([names(keys[0])])
    except StopIteration as end:
        result: T = end.value
        return result


async def delete_each(storage: Storage, keys: Sequence[str]) -> None:
    """`Storage.delete_all` for a driver to which many are no less work than one by one."""
    for key in keys:
        with contextlib.suppress(PathNotFoundError):
            await storage.delete(key)


async def walk_tree(storage: Storage, key: str, levels: int = 3) -> AsyncIterator[tuple[str, Stat]]:
    """`Storage.walk` for a driver that has directories.

    Below so many levels those are listed in one go, above them one by one: no list holds the whole.
    """
    try:
        names = await storage.list(key)
    except PathNotFoundError:
        names = []
    for name in names:
        child = f"{key}/{name}"
        held = await found(storage, child)
        if held is None:
            continue
        if not held.is_directory:
            yield child, held
        elif levels:
            async for inner in walk_tree(storage, child, levels - 1):
                yield inner
        else:
            for end in await storage.explore(_ends(child)):
                held = await found(storage, end)
                if held is not None and not held.is_directory:
                    yield end, held


def _ends(key: str) -> Steps[list[str]]:
    """Keys below `key` that have nothing below them: objects and empty directories."""
    ends: list[str] = []
    pending = [key]
    while pending:
        inner: list[str] = []
        for names in (yield pending[: -AHEAD - 1 : -1]):
            directory = pending.pop()
            inner += [f"{directory}/{name}" for name in names]
            if not names:
                ends.append(directory)
        pending += inner
    return ends
