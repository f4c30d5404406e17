"""A large object on its way into the container, cut into parts that are made while it is still growing.

Each part names the one before it. The last one carries the header of the whole, its parent: with it the parent is
there. A link that names all the parts follows, so that a node need not walk from one to the next.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import tempfile
import uuid
from asyncio import Lock, to_thread
from collections.abc import AsyncIterator, Callable, Iterator
from typing import IO

from lading.oci.hashing import Hasher
from lading.registry.ports import StorageError, StorageFullError
from lading.storage.frostfs.encoding import Nested
from lading.storage.frostfs.messages import DRIVER, STATE, Info, Parent, parts_of, split
from lading.storage.frostfs.objects import CHUNK_BYTES, SMALL_BYTES, Objects, Piece, new_order, nonce, to_the_end

IN_MEMORY = 4 * 1024**2
"""What a part gathers beyond goes to a temporary file."""

LARGEST_PART = 64 * 1024**2

INLINE_BYTES = 64 * 1024
"""Less than this is gathered and hashed in the event loop."""

MOST_CHILDREN = 400
"""A link that names more is too large for a header; nodes then walk along the parts."""


class Spool:
    """A part that is gathered: its hash stands before it in what is sent."""

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._file: IO[bytes] = io.BytesIO()

    @property
    def digest(self) -> bytes:
        return self._hash.digest()

    @property
    def content(self) -> bytes:
        """All of it, which is little."""
        self._file.seek(0)
        return self._file.read(self.size)

    def write(self, data: bytes) -> None:
        """All or nothing. Raises `StorageError`."""
        with _faults():
            if isinstance(self._file, io.BytesIO) and self.size + len(data) > IN_MEMORY:
                self._file = _spilled(self._file)
            self._file.seek(self.size)
            _write(self._file, data)
        self._hash.update(data)
        self.size += len(data)

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, self.size, CHUNK_BYTES):
            yield self._read(start) if self.size <= IN_MEMORY else await to_thread(self._read, start)

    def _read(self, start: int) -> bytes:
        with _faults():
            self._file.seek(start)
            return self._file.read(min(CHUNK_BYTES, self.size - start))

    def close(self) -> None:
        self._file.close()


def _spilled(gathered: io.BytesIO) -> IO[bytes]:
    """The same in a file, which nothing is kept back from: what is written is written, or fails at once."""
    file: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  closed with its chain
    try:
        _write(file, gathered.getvalue())
    except OSError:
        file.close()
        raise
    return file


def _write(file: IO[bytes], data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """Faults of the temporary directory become `StorageError`."""
    try:
        yield
    except OSError as error:
        kind = StorageFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
        raise kind(DRIVER, f"{tempfile.gettempdir()}: {error.strerror}") from error


class Chain:
    """`size` are the bytes of all parts, that which is being gathered included."""

    def __init__(
        self, objects: Objects, split_id: bytes, parts: list[Info] | None = None, begun: bytes = b""
    ) -> None:
        """`begun` are the bytes before the first part, where there is none yet."""
        self.split_id = split_id
        self.parts = parts or []
        self._objects = objects
        self._turn = Lock()
        """Whoever reads what is unfinished has it flushed, while it is being written."""
        self._spool = Spool()
        self._made = sum(part.size for part in self.parts)
        self._hasher: Hasher | None = Hasher()
        if self.parts:
            state = self.parts[-1].state
            known = bytes.fromhex(state) if state.isalnum() and len(state) % 2 == 0 else b""
            self._hasher = Hasher.restore("sha256", known, self._made)
        self._gather(begun, None)
        self._whole = b""
        self._doubtful = bool(begun)
        """Whether there may be parts that are not among `parts`."""

    @classmethod
    async def of(cls, objects: Objects, split_id: bytes) -> tuple[Chain, bool]:
        """What has been made under the split id, and whether it is complete."""
        members = await members_of(objects, split_id)
        following = {member.previous: member for member in members if not member.is_link}
        parts, last = [], b""
        while (part := following.pop(last, None)) is not None:
            parts.append(part)
            last = part.id
        if len(parts) < sum(not member.is_link for member in members):
            raise StorageError(DRIVER, f"the parts of upload {uuid.UUID(bytes=split_id)} do not form one chain")
        return cls(objects, split_id, parts), any(member.has_parent for member in members)

    @property
    def size(self) -> int:
        return self._made + self._spool.size

    @property
    def _room(self) -> int:
        """Bytes that can be gathered before a part has to be made."""
        return min(self._objects.pool.limit, LARGEST_PART) - self._spool.size

    async def add(self, data: bytes, also: Callable[[bytes], None] | None = None) -> None:
        """`also` is called with what was taken, in pieces; who is cancelled meanwhile waits for the piece."""
        async with self._turn:
            start = 0
            while start < len(data):
                if not self._room:
                    await to_the_end(self._flush())
                piece = data if len(data) <= self._room and not start else data[start : start + self._room]
                if len(piece) <= INLINE_BYTES:
                    self._gather(piece, also)
                else:
                    await to_the_end(to_thread(self._gather, piece, also))
                start += len(piece)

    def _gather(self, data: bytes, also: Callable[[bytes], None] | None) -> None:
        self._spool.write(data)
        if self._hasher is not None:
            self._hasher.update(data)
        if also is not None:
            also(data)

    @property
    def gathered(self) -> bytes | None:
        """All there is, where it is too small to be a part."""
        most = min(self._objects.pool.limit, SMALL_BYTES)
        return None if self.parts or self.size > most else self._spool.content

    async def flush(self) -> None:
        """Make a part of what was gathered, if there is anything."""
        async with self._turn:
            await self._flush()

    async def _flush(self) -> None:
        if self._spool.size:
            await self._make(split(self.split_id, self._last()))

    async def finish(self, path: str, order: int) -> Info:
        """The object is complete, and lies under the key `path`."""
        await self._objects.pool.open()
        attributes = self._objects.attributes(path, order)
        if not self.parts:
            return await self._objects.put(self._spool, attributes)
        if self._hasher is None:
            self._hasher = await self._hash_again()
        author, size = self._objects.pool.author, self.size
        digest = bytes.fromhex(self._hasher.digest().encoded)
        header = author.header(self._objects.pool.epoch, size, digest, attributes)
        parent = Parent(*author.signed(header), header)
        self._whole = parent.id
        await self._make(split(self.split_id, self._last(), parent))
        if len(self.parts) <= MOST_CHILDREN:
            children = [part.id for part in self.parts]
            await self._objects.put(Piece(b""), [], split(self.split_id, b"", parent, children))
        return self._objects.remember(parent.id, header)

    async def discard(self) -> None:
        """Also of what `finish` had begun to make: the whole goes first, or it would stay as one without parts."""
        await self._objects.delete([self._whole] if self._whole else [])
        await self._objects.delete([part.id for part in self.parts])

    def close(self) -> None:
        self._spool.close()

    def _last(self) -> bytes:
        return self.parts[-1].id if self.parts else b""

    async def _make(self, chained: Nested) -> None:
        if self._doubtful:
            # Left by a process that died before the record told of them, or by a node that took one unheard.
            known = {part.id for part in self.parts}
            strays = await members_of(self._objects, self.split_id)
            await self._objects.delete([stray.id for stray in strays if stray.id not in known])
        state = None if self._hasher is None else self._hasher.export()
        attributes = [] if state is None else [(STATE, state.hex())]
        self._doubtful = True
        made = await self._objects.put(self._spool, [*attributes, nonce(new_order([]))], chained)
        self._doubtful = False
        self.parts.append(made)
        self._made += self._spool.size
        self._spool.close()
        self._spool = Spool()

    async def _hash_again(self) -> Hasher:
        hasher = Hasher()
        for part in self.parts:
            async for chunk in self._objects.read(part.id, 0, part.size):
                await to_thread(hasher.update, chunk)
        async for chunk in self._spool.chunks():
            hasher.update(chunk)
        return hasher


async def members_of(objects: Objects, split_id: bytes) -> list[Info]:
    """All that was made under the split id, in no order."""
    return await objects.find(*parts_of(split_id))
