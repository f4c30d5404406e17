"""The `inmemory` driver: a tree of dictionaries in this process, gone when it ends. For tests and trials.

Nothing in it awaits, so every call is atomic in the event loop. An object is a list of the chunks it was written
in, which are neither copied nor changed: a reader keeps its view of them whatever happens to the key.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

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
    delete_each,
    run_steps,
    walk_tree,
)

T = TypeVar("T")

DRIVER = "inmemory"


@dataclass(slots=True, eq=False)
class _Object:
    modified: float
    held: bool = False
    """A writer is active."""
    chunks: list[bytes] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """The offset behind each chunk."""

    @property
    def size(self) -> int:
        return self.ends[-1] if self.ends else 0

    def append(self, chunk: bytes) -> None:
        if chunk:
            self.ends.append(self.size + len(chunk))
            self.chunks.append(bytes(chunk))  # no copy of what is `bytes` already


@dataclass(slots=True, eq=False)
class _Directory:
    modified: float
    children: dict[str, _Object | _Directory] = field(default_factory=dict)


class MemoryStorage:
    """See `lading.registry.ports.Storage`."""

    name = DRIVER
    traits = Traits(shared=False, renames=True, grows=True)

    def __init__(self) -> None:
        self._root = _Directory(time.time())
        self._held: dict[str, int] = {}
        """How many share a directory; -1 is one that does not."""
        self._released = asyncio.Condition()
        self._doors: dict[str, asyncio.Lock] = {}
        """Who waits to hold a directory alone stands in its door: nobody gets past."""

    async def stat(self, key: str) -> Stat:
        node = self._root if key == "/" else self._node(key)
        if isinstance(node, _Directory):
            return Stat(0, node.modified, is_directory=True)
        return Stat(node.size, node.modified, is_directory=False)

    async def get(self, key: str) -> bytes:
        return b"".join(self._object(key).chunks)

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> None:  # noqa: ARG002
        created = _Object(time.time())
        created.append(data)
        self._place(key, created)

    async def put_all(self, *stages: Objects, upon: Sequence[str] = ()) -> None:
        for key in itertools.chain(*stages):
            check_key(DRIVER, key)
        for key in upon:
            self._node(key)
        for objects in stages:
            for key, data in objects.items():
                await self.put(key, data)

    async def open(self, key: str, offset: int = 0) -> MemoryReader:
        if offset < 0:
            raise InvalidOffsetError(DRIVER, key, offset)
        return MemoryReader(key, self._object(key), offset)

    async def writer(self, key: str, *, append: bool) -> MemoryWriter:
        directory, name = self._parent(key, create=True)
        found = directory.children.get(name)
        if isinstance(found, _Directory):
            raise _is_directory(key)
        if found is not None and found.held:
            raise BusyError(DRIVER, f"another writer is active: {key}")
        if found is None or not append:
            found = _Object(time.time())
            self._place(key, found)
        return MemoryWriter(self, key, found)

    async def move(self, source: str, target: str, *, may_stay: bool = False) -> None:  # noqa: ARG002
        check_key(DRIVER, target)
        node = self._node(source)
        if source == target:
            return
        if f"{target}/".startswith(f"{source}/"):
            raise StorageError(DRIVER, f"cannot move a directory below itself: {source}")
        self._place(target, node)
        self._take(source, node)

    async def delete(self, key: str, *, if_empty: bool = False) -> None:
        if not if_empty:
            self._take(key, self._node(key))
            return
        with contextlib.suppress(PathNotFoundError):
            node = self._node(key)
            if isinstance(node, _Directory) and _prune(node):
                self._take(key, node)

    async def delete_all(self, keys: Sequence[str]) -> None:
        await delete_each(self, keys)

    def walk(self, key: str) -> AsyncIterator[tuple[str, Stat | None]]:
        return walk_tree(self, check_key(DRIVER, key))

    async def list(
        self, key: str, *, after: str = "", limit: int | None = None, holding: str = ""
    ) -> Sequence[str]:
        node = self._directory(key)
        if holding:
            check_key(DRIVER, f"/-/{holding}")
        names = (name for name in node.children if name > after)
        if holding:
            names = (name for name in names if _exists(node.children[name], holding))
        return sorted(names) if limit is None else heapq.nsmallest(limit, names)

    async def explore(self, steps: Steps[T]) -> T:
        return run_steps(steps, self._names)

    def _names(self, key: str) -> Sequence[str]:
        try:
            return sorted(self._directory(check_key(DRIVER, key)).children)
        except PathNotFoundError:
            return []

    def _directory(self, key: str) -> _Directory:
        node = self._root if key == "/" else self._node(key)
        if not isinstance(node, _Directory):
            raise PathNotFoundError(DRIVER, key)
        return node

    @contextlib.asynccontextmanager
    async def hold(self, key: str, *, shared: bool) -> AsyncIterator[None]:
        self._parent(f"{key}/-", create=True)
        async with self._doors.setdefault(key, asyncio.Lock()), self._released:
            await self._released.wait_for(lambda: key not in self._held or (shared and self._held[key] > 0))
            self._held[key] = self._held.get(key, 0) + 1 if shared else -1
        try:
            yield
        finally:
            async with self._released:
                if self._held[key] > 1:
                    self._held[key] -= 1
                else:
                    del self._held[key]
                self._released.notify_all()

    async def redirect(self, key: str, method: str, client: str = "") -> str | None:  # noqa: ARG002
        check_key(DRIVER, key)
        return None

    def _node(self, key: str) -> _Object | _Directory:
        directory, name = self._parent(key)
        try:
            return directory.children[name]
        except KeyError:
            raise PathNotFoundError(DRIVER, key) from None

    def _object(self, key: str) -> _Object:
        node = self._node(key)
        if isinstance(node, _Directory):
            raise _is_directory(key)
        return node

    def _parent(self, key: str, *, create: bool = False) -> tuple[_Directory, str]:
        *names, last = check_key(DRIVER, key)[1:].split("/")
        directory = self._root
        for name in names:
            node = directory.children.get(name)
            if node is None and create:
                directory.modified = time.time()
                node = directory.children[name] = _Directory(directory.modified)
            if isinstance(node, _Object) and create:
                raise StorageError(DRIVER, f"not a directory: {name} in {key}")
            if not isinstance(node, _Directory):
                raise PathNotFoundError(DRIVER, key)
            directory = node
        return directory, last

    def _place(self, key: str, node: _Object | _Directory) -> None:
        """Hang `node` in under `key`; only an object replaces an object, and nothing a directory."""
        directory, name = self._parent(key, create=True)
        found = directory.children.get(name)
        if isinstance(found, _Directory):
            raise _is_directory(key)
        if found is not None and isinstance(node, _Directory):
            raise StorageError(DRIVER, f"not a directory: {key}")
        directory.children[name] = node
        directory.modified = time.time()

    def _take(self, key: str, node: _Object | _Directory) -> None:
        """Take `node` out, if it still is what lies under `key`."""
        try:
            directory, name = self._parent(key)
        except PathNotFoundError:
            return
        if directory.children.get(name) is node:
            del directory.children[name]
            directory.modified = time.time()


class MemoryReader:
    """See `lading.registry.ports.Reader`. Reads at most one of the object's chunks at a time."""

    def __init__(self, key: str, source: _Object, offset: int) -> None:
        self.size = source.size
        self.path: str | None = None
        self._key = key
        self._chunks = source.chunks
        self._ends = source.ends
        self._closed = False
        self.seek(offset)

    def fileno(self) -> int:
        raise OSError("no file holds the object")

    async def read(self, limit: int) -> bytes:
        if self._closed:
            raise StorageError(DRIVER, f"already closed: {self._key}")
        # An object may have grown since it was opened.
        limit = min(limit, self.size - self._offset)
        if limit <= 0:
            return b""
        start = self._ends[self._index - 1] if self._index else 0
        data = self._chunks[self._index][self._offset - start : self._offset - start + limit]
        self._offset += len(data)
        self._index += self._offset == self._ends[self._index]
        return data

    def seek(self, offset: int) -> None:
        self._offset = offset
        self._index = bisect.bisect_right(self._ends, offset)

    async def close(self) -> None:
        self._closed = True
        self._chunks, self._ends = [], []


class MemoryWriter:
    """See `lading.registry.ports.Writer`. The key is held by a mark on the object."""

    def __init__(self, storage: MemoryStorage, key: str, target: _Object) -> None:
        self.size = target.size
        self._storage = storage
        self._key = key
        self._object = target
        self._ended = ""
        target.held = True

    async def write(self, chunks: Sequence[bytes], also: Callable[[bytes], None] | None = None) -> None:
        self._check_open()
        for chunk in chunks:
            self._object.append(chunk)
            if also is not None:
                also(chunk)
        self._object.modified = time.time()
        self.size = self._object.size

    async def close(self) -> None:
        if not self._ended:
            self._end("closed")

    async def commit(
        self, target: str | None = None, then: Objects | None = None, remove: str | None = None
    ) -> None:
        self._check_open()
        for key in (target, remove, *(then or {})):
            if key is not None:
                check_key(DRIVER, key)
        self._end("committed")
        if target is not None:
            await self._storage.move(self._key, target)
        await self._storage.put_all(then or {})
        if remove is not None:
            with contextlib.suppress(PathNotFoundError):
                await self._storage.delete(remove)

    async def cancel(self) -> None:
        self._check_open()
        self._end("cancelled")
        self._storage._take(self._key, self._object)

    def _check_open(self) -> None:
        if self._ended:
            raise StorageError(DRIVER, f"already {self._ended}: {self._key}")

    def _end(self, how: str) -> None:
        self._ended = how
        self._object.held = False


def _prune(directory: _Directory) -> bool:
    """Whether it is empty now."""
    for name, node in list(directory.children.items()):
        if isinstance(node, _Directory) and _prune(node):
            del directory.children[name]
    return not directory.children


def _exists(node: _Object | _Directory | None, path: str) -> bool:
    for name in path.split("/"):
        if not isinstance(node, _Directory):
            return False
        node = node.children.get(name)
    return node is not None


def _is_directory(key: str) -> StorageError:
    return StorageError(DRIVER, f"is a directory: {key}")
