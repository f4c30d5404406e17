"""Objects read in pieces, from an offset."""

from __future__ import annotations

import asyncio
import os
import urllib.request
from email.message import Message

from lading.registry.ports import InvalidOffsetError, PathNotFoundError, Reader, StorageError
from lading.testing.storage.trial import Trial, equal, noise


async def case_read_from_an_offset(t: Trial) -> None:
    key, content = t.key("object"), noise(96)
    await t.storage.put(key, content)
    for offset in (0, 32, 64, 95, 96, 97, 10_000):
        equal(await t.read(key, offset), content[offset:], f"from {offset}")
        reader = await t.peer.open(key, offset)
        equal(reader.size, 96, f"the size of a reader from {offset}")
        await reader.close()


async def case_read_from_below_zero(t: Trial) -> None:
    key = t.key("object")
    await t.storage.put(key, b"content")
    with t.refused(InvalidOffsetError, key=key, offset=-1):
        await t.storage.open(key, -1)


async def case_open_nothing(t: Trial) -> None:
    key = t.key("missing", "object")
    for offset in (0, 64):
        with t.refused(PathNotFoundError, key=key):
            await t.storage.open(key, offset)


async def case_read_in_pieces(t: Trial) -> None:
    key, pieces = t.key("object"), [noise(size, size) for size in (1, 100, 5000, 7, 64)]
    await t.write(key, *pieces)
    for limit in (1, 7, 64, 10_000):
        for offset in (0, 1, 100, 101, 5101, 5108):
            equal(await t.read(key, offset, limit), b"".join(pieces)[offset:], f"from {offset} by {limit}")


async def case_the_end_stays_the_end(t: Trial) -> None:
    key = t.key("object")
    await t.storage.put(key, b"content")
    reader = await t.storage.open(key, 3)
    equal(await reader.read(100), b"tent", "the rest")
    for _ in range(3):
        equal(await reader.read(100), b"", "at the end")
    await reader.close()


async def case_seek(t: Trial) -> None:
    key, content = t.key("object"), noise(300_000)
    await t.write(key, content[:1000], content[1000:])
    reader = await t.storage.open(key, 50)
    for offset in (0, 999, 1000, 1001, 299_999, 20, 20, 300_000, 300_001, 150_000):
        reader.seek(offset)
        equal(await _read_exactly(reader, 10), content[offset : offset + 10], f"at {offset}")
    equal(reader.size, 300_000, "the object's size")
    reader.seek(0)
    equal(await _read_exactly(reader, reader.size), content, "all, from the start again")
    await reader.close()


async def case_readers_do_not_disturb_each_other(t: Trial) -> None:
    key, content = t.key("object"), noise(4096)
    await t.storage.put(key, content)
    readers = [await t.storage.open(key, offset) for offset in (0, 1000)]
    for start in range(0, 3000, 500):
        for reader, offset in zip(readers, (0, 1000), strict=True):
            equal(await _read_exactly(reader, 500), content[offset:][start : start + 500], f"at {start}")
    for reader in readers:
        await reader.close()


async def case_close_a_reader_twice(t: Trial) -> None:
    key = t.key("object")
    await t.storage.put(key, b"content")
    reader = await t.storage.open(key)
    await reader.close()
    await reader.close()
    with t.refused():
        await reader.read(1)


async def case_a_local_path_holds_the_object(t: Trial) -> None:
    key, content = t.key("object"), noise(1000)
    await t.storage.put(key, content)
    reader = await t.storage.open(key, 500)
    if reader.path is not None:
        with await asyncio.to_thread(open, reader.path, "rb") as file:
            equal(file.read(), content, "the local file")
        assert os.path.isabs(reader.path), f"not absolute: {reader.path}"
    await reader.close()


async def case_a_reader_outlives_a_replacement(t: Trial) -> None:
    key, old, new = t.key("object"), noise(300_000, 1), noise(200_000, 2)
    await t.storage.put(key, old)
    fresh, started = await t.storage.open(key), await t.storage.open(key)
    first = await _read_exactly(started, 1000)
    await t.storage.put(key, new)
    assert await _read_exactly(fresh, fresh.size) in (old, new), "neither the old nor the new content"
    equal(first + await _read_exactly(started, started.size), old, "a reader that had begun")
    await fresh.close()
    await started.close()
    equal(await t.read(key), new, "a reader from now on")


async def case_a_reader_of_a_deleted_object(t: Trial) -> None:
    key, content = t.key("object"), noise(300_000)
    await t.storage.put(key, content)
    reader = await t.storage.open(key)
    await t.storage.delete(key)
    try:
        equal(await _read_exactly(reader, reader.size), content, "what was still read")
    except StorageError as error:
        equal(error.driver, t.storage.name, "the error's driver")
    await reader.close()


async def case_redirect(t: Trial) -> None:
    key, content = t.key("object"), noise(32)
    await t.storage.put(key, content)
    for method in ("GET", "HEAD"):
        url = await t.storage.redirect(key, method)
        if url is None:
            continue
        assert t.storage.traits.redirects, "a redirect that the traits do not tell of"
        status, headers, body = await asyncio.to_thread(_fetch, url, method)
        equal(status, 200, f"the status of {method}")
        equal(headers["Content-Length"], "32", f"the length of {method}")
        equal(body, content if method == "GET" else b"", f"the body of {method}")


async def _read_exactly(reader: Reader, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := await reader.read(size - len(data))):
        data += piece
    return data


def _fetch(url: str, method: str) -> tuple[int, Message, bytes]:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as response:
        return response.status, response.headers, response.read()
