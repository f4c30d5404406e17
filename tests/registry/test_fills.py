"""What a blob on its way shows, and what it keeps in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName
from lading.registry import layout
from lading.registry.blobs import Blobs
from lading.registry.fill import WINDOW_BYTES, Fill, FillReader
from lading.registry.fills import Fills
from lading.registry.ports import StorageError
from lading.registry.sources import Source
from lading.registry.upstream import Download, count_nothing
from lading.storage.filesystem import FilesystemStorage

PIECE = bytes(1024 * 1024)


async def nothing(offset: int) -> Download:
    raise NotImplementedError


def test_what_is_not_written_yet_stays_in_memory() -> None:
    fill = Fill("/session", nothing)
    for _ in range(4 * WINDOW_BYTES // len(PIECE)):
        fill.push(PIECE)
    assert fill.recent(0, 10) == PIECE[:10]
    fill.written = fill.have
    fill.push(PIECE)
    assert fill.recent(0, 10) == b""
    assert sum(len(piece) for _, piece in fill.window) <= WINDOW_BYTES


def test_the_last_byte_is_shown_when_all_is_verified() -> None:
    fill = Fill("/session", nothing)
    fill.size = 2 * len(PIECE)
    fill.push(PIECE)
    assert fill.shown == len(PIECE)
    fill.push(PIECE)
    assert fill.shown == fill.size - 1
    fill.verified = True
    assert fill.shown == fill.size


class Lying:
    """An upstream that sends other bytes than it should, until it is well."""

    host = "lying.test"

    def __init__(self, data: bytes) -> None:
        self.data, self.well, self.gate = data, False, asyncio.Event()
        self.asked: list[int] = []

    async def size(self, name: str, digest: Digest) -> int:
        return len(self.data)

    async def blob(self, name: str, digest: Digest, offset: int = 0) -> Sending:
        self.asked.append(offset)
        return Sending(self, offset)


class Sending:
    def __init__(self, upstream: Lying, offset: int) -> None:
        self.upstream, self.size, self.offset = upstream, len(upstream.data), offset

    async def __aiter__(self) -> AsyncIterator[bytes]:
        half = self.size // 2
        if self.offset < half:
            yield (self.upstream.data if self.upstream.well else bytes(half))[self.offset : half]
        await self.upstream.gate.wait()
        self.upstream.well = True
        yield self.upstream.data[max(self.offset, half) :]

    async def close(self) -> None: ...


async def test_a_follower_does_not_go_on_from_what_was_discarded(tmp_path: Path) -> None:
    """Two processes, of which the first is told lies: the second's client must not get the rest of the truth."""
    data = b"x" * 500_000 + b"y" * 500_000
    name, digest, upstream = RepositoryName("up/app"), Digest.of(data, "sha256"), Lying(data)
    source = Source("up", upstream)  # type: ignore[arg-type]
    fills = []
    for _ in range(2):
        storage = FilesystemStorage(str(tmp_path))
        fills.append(Fills(storage, Blobs(storage), count_nothing))
    readers = [await each.open(source, name, "app", digest) for each in fills]
    half = len(data) // 2
    for reader in readers:
        assert await read(reader, half) == bytes(half)
    upstream.gate.set()
    for reader in readers:
        rest = b""
        with contextlib.suppress(RegistryError, StorageError):
            while len(rest) < half:
                rest += await reader.read(half)
        # Neither to the end, nor anything from elsewhere in the blob.
        assert len(rest) < half
        assert b"x" not in rest
        await reader.close()
    again = await fills[1].open(source, name, "app", digest)
    assert await read(again, len(data)) == data
    await again.close()


async def test_a_follower_goes_on_when_its_leader_and_what_that_wrote_are_gone(tmp_path: Path) -> None:
    """As where the leader's disk is full: its client has seen half, and gets the other half."""
    data = b"x" * 500_000 + b"y" * 500_000
    name, digest, upstream = RepositoryName("up/app"), Digest.of(data, "sha256"), Lying(data)
    upstream.well = True
    source, storage = Source("up", upstream), FilesystemStorage(str(tmp_path))  # type: ignore[arg-type]
    leading, following = (Fills(storage, Blobs(storage), count_nothing) for _ in range(2))
    readers = [await each.open(source, name, "app", digest) for each in (leading, following)]
    half = len(data) // 2
    for reader in readers:
        assert await read(reader, half) == data[:half]
    session = (await storage.list(layout.uploads(name)))[0]
    (task,) = leading._tasks
    task.cancel()
    await asyncio.wait([task])
    await storage.delete(layout.upload(name, session))
    upstream.gate.set()
    assert await read(readers[1], half) == data[half:]
    assert upstream.asked == [0, half]
    for reader in readers:
        await reader.close()
    await asyncio.wait(following._tasks)
    assert await storage.get(layout.blob_data(digest)) == data


async def read(reader: FillReader, length: int) -> bytes:
    got = b""
    while len(got) < length:
        got += await reader.read(length - len(got))
    return got
