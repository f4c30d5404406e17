"""Large objects and many at once. `Sizes` says how large; memory stays small whatever it says."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator

from lading.testing.storage.trial import MIB, Trial, equal, noise
from lading.testing.storage.writers import append_three


async def case_stream_a_large_object(t: Trial) -> None:
    key = t.key("large")
    expected = await _write(t, key, t.sizes.stream, seed=1)
    equal((await t.peer.stat(key)).size, t.sizes.stream, "the object's size")
    equal(await _checksum(t, key), expected, "the checksum")


async def case_append_large_pieces(t: Trial) -> None:
    await append_three(t, t.sizes.append)


async def case_concurrent_reads_of_one_object(t: Trial) -> None:
    key, size = t.key("shared"), t.sizes.shared
    await _write(t, key, size, seed=2)
    content = b"".join(_pieces(size, seed=2))
    offsets = [random.Random(number).randrange(size) for number in range(10)]
    found = await asyncio.gather(*(_checksum(t, key, offset) for offset in offsets))
    for offset, checksum in zip(offsets, found, strict=True):
        equal(checksum, hashlib.sha256(memoryview(content)[offset:]).hexdigest(), f"from {offset}")


async def case_concurrent_streams(t: Trial) -> None:
    await asyncio.gather(*(_write_and_check(t, number) for number in range(t.sizes.files)))


async def _write_and_check(t: Trial, number: int) -> None:
    key = t.key("parallel", str(number))
    expected = await _write(t, key, t.sizes.file, seed=number)
    equal(await _checksum(t, key), expected, key)


async def _write(t: Trial, key: str, size: int, seed: int) -> str:
    """The checksum of what was written."""
    checksum = hashlib.sha256()
    writer = await t.storage.writer(key, append=False)
    for piece in _pieces(size, seed):
        await asyncio.to_thread(checksum.update, piece)
        await writer.write([piece[:1000], piece[1000:]])
    await writer.commit()
    equal(writer.size, size, "the writer's size")
    return checksum.hexdigest()


async def _checksum(t: Trial, key: str, offset: int = 0) -> str:
    checksum = hashlib.sha256()
    reader = await t.peer.open(key, offset)
    while piece := await reader.read(MIB):
        await asyncio.to_thread(checksum.update, piece)
    await reader.close()
    return checksum.hexdigest()


def _pieces(size: int, seed: int) -> Iterator[bytes]:
    """`size` bytes in pieces of 1 MiB, no two of them alike."""
    block = noise(MIB, seed)
    for start in range(0, size, MIB):
        yield (start.to_bytes(8, "big") + block[8:])[: size - start]
