"""Objects written in pieces, by one writer after another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from lading.registry.ports import BusyError, InvalidPathError, PathNotFoundError, Writer
from lading.testing.storage.objects import PAYLOADS
from lading.testing.storage.trial import MIB, Trial, equal, noise

ENDS: dict[str, Callable[[Writer], Awaitable[None]]] = {
    "close": lambda writer: writer.close(),
    "commit": lambda writer: writer.commit(),
    "cancel": lambda writer: writer.cancel(),
}


async def case_write_and_read(t: Trial) -> None:
    for payload in PAYLOADS:
        key = t.key("written", str(len(payload)))
        equal(await t.write(key, payload), len(payload), "the writer's size")
        equal(await t.read(key), payload, key)
        equal(await t.storage.get(key), payload, key)
        equal((await t.peer.stat(key)).size, len(payload), "the object's size")


async def case_write_many_chunks(t: Trial) -> None:
    key, chunks = t.key("object"), [noise(number % 97, number) for number in range(3000)]
    writer = await t.storage.writer(key, append=False)
    await writer.write(chunks)
    await writer.write([])
    await writer.write([b"", b""])
    await writer.write(chunks[:10])
    await writer.commit()
    expected = b"".join([*chunks, *chunks[:10]])
    equal(writer.size, len(expected), "the writer's size")
    equal(await t.read(key), expected, "the content")


async def case_append_small_pieces(t: Trial) -> None:
    await append_three(t, 32)


async def case_append_to_nothing(t: Trial) -> None:
    key = t.key("new", "object")
    writer = await t.storage.writer(key, append=True)
    equal(writer.size, 0, "the size of nothing")
    await writer.write([b"content"])
    await writer.commit()
    equal(await t.storage.get(key), b"content", "the content")


async def case_append_to_an_empty_object(t: Trial) -> None:
    committed, put = t.key("committed"), t.key("put")
    equal(await t.write(committed), 0, "the size of an empty stream")
    await t.storage.put(put, b"")
    for key in (committed, put):
        equal(await t.read(key), b"", f"{key}, empty")
        equal(await t.write(key, noise(32), append=True), 32, f"the size of {key}")
        equal(await t.read(key), noise(32), key)


async def case_a_new_writer_starts_empty(t: Trial) -> None:
    unfinished, complete = t.key("unfinished"), t.key("complete")
    await t.storage.put(complete, noise(5000))
    writer = await t.storage.writer(unfinished, append=False)
    await writer.write([noise(5000)])
    await writer.close()
    for key in (unfinished, complete):
        writer = await t.peer.writer(key, append=False)
        equal(writer.size, 0, f"the size of a new {key}")
        await writer.write([b"short"])
        await writer.commit()
        equal(await t.storage.get(key), b"short", key)


async def case_one_writer_at_a_time(t: Trial) -> None:
    for name, end in ENDS.items():
        key = t.key(name)
        writer = await t.storage.writer(key, append=False)
        await writer.write([b"first"])
        for storage in (t.storage, t.peer):
            for append in (True, False):
                with t.refused(BusyError):
                    await storage.writer(key, append=append)
        await writer.write([b" and second"])
        await end(writer)
        # To append to what was committed is promised by nobody.
        follower = await t.peer.writer(key, append=name != "commit")
        expected = len(b"first and second") if name == "close" else 0
        equal(follower.size, expected, f"the size that follows a {name}")
        await follower.cancel()


async def case_read_while_it_is_written(t: Trial) -> None:
    """By the process that writes it, whose hash of the bytes may not be the one that is asked for."""
    key, data = t.key("object"), noise(3000)
    for start in (0, 1000):
        writer = await t.storage.writer(key, append=start > 0)
        for end in (start + 500, start + 1000):
            await writer.write([data[end - 500 : end]])
            equal(await t.read(key), data[:end], "what can be read")
        await writer.close()
    writer = await t.peer.writer(key, append=True)
    await writer.write([data[2000:]])
    await writer.commit()
    equal(await t.read(key), data, "the content")


async def case_other_keys_are_not_held(t: Trial) -> None:
    first = await t.storage.writer(t.key("object"), append=False)
    second = await t.storage.writer(t.key("object2"), append=False)
    await first.write([b"1"])
    await second.write([b"2"])
    await first.commit()
    await second.commit()
    equal(await t.storage.get(t.key("object")), b"1", "the first")
    equal(await t.storage.get(t.key("object2")), b"2", "the second")


async def case_nothing_after_the_end(t: Trial) -> None:
    for name, end in ENDS.items():
        writer = await t.storage.writer(t.key(name), append=False)
        await writer.write([b"content"])
        await end(writer)
        with t.refused():
            await writer.write([b"more"])
        with t.refused():
            await writer.commit()
        with t.refused():
            await writer.commit(t.key("target"))
        with t.refused():
            await writer.cancel()
        await writer.close()
        await writer.close()
    equal(await t.storage.get(t.key("commit")), b"content", "what was committed")
    equal(await t.size_of_unfinished(t.key("close")), 7, "the size of what was closed")
    await t.assert_missing(t.key("target"))


async def case_cancel_removes(t: Trial) -> None:
    key = t.key("object")
    writer = await t.storage.writer(key, append=False)
    await writer.write([noise(1000)])
    await writer.close()
    writer = await t.storage.writer(key, append=True)
    await writer.write([noise(1000)])
    await writer.cancel()
    await writer.close()
    await t.assert_missing(key)
    writer = await t.storage.writer(key, append=True)
    equal(writer.size, 0, "the size after a cancel")
    await writer.cancel()
    await t.assert_missing(key)


async def case_commit_to_a_target(t: Trial) -> None:
    key, target = t.key("uploads", "1", "data"), t.key("blobs", "some", "new", "data")
    for content in (b"first", b"the second, which replaces"):
        writer = await t.storage.writer(key, append=False)
        await writer.write([content[:3]])
        await writer.close()
        writer = await t.storage.writer(key, append=True)
        await writer.write([content[3:]])
        await writer.commit(target)
        await writer.close()
        equal(await t.peer.get(target), content, "the target")
        await t.assert_missing(key)
    await t.write(key, b"the key is free")
    equal(await t.storage.get(target), content, "the target later")


async def case_commit_and_then(t: Trial) -> None:
    """The objects follow what was committed, at once or where it is deleted meanwhile not at all."""
    key, target, link = t.key("uploads", "data"), t.key("blobs", "data"), t.key("links", "link")
    for place in (target, None):
        await t.storage.put(t.key("uploads", "states", "one"), b"")
        writer = await t.storage.writer(key, append=False)
        await writer.write([b"content"])
        await writer.commit(place, {link: str(place).encode()}, None if place is None else t.key("uploads"))
        equal(await t.peer.get(place or key), b"content", "what was committed")
        equal(await t.peer.get(link), str(place).encode(), "the object that follows")
        if place is not None:
            await t.assert_missing(t.key("uploads"))
    writer = await t.storage.writer(key, append=False)
    await writer.write([b"content"])
    with t.refused(InvalidPathError, key="/a/../b"):
        await writer.commit(target, {"/a/../b": b""})
    await t.peer.delete(key)
    with t.refused(PathNotFoundError):
        await writer.commit(t.key("other"), {t.key("another"): b""})
    await t.assert_missing(t.key("other"))
    await t.assert_missing(t.key("another"))
    equal(await t.list(t.key("links")), ["link"], "the links")


async def case_write_shows_what_is_written(t: Trial) -> None:
    for size in (0, 1, 100_000, 3 * MIB):
        shown: list[bytes] = []
        chunks = [noise(size), b"", b"end"]
        writer = await t.storage.writer(t.key("object"), append=False)
        await writer.write(chunks, shown.append)
        equal(writer.size, size + 3, "the writer's size")
        await writer.commit()
        equal(b"".join(shown), b"".join(chunks), "what was shown")
        equal(await t.read(t.key("object")), b"".join(chunks), "the content")


async def case_commit_to_no_key(t: Trial) -> None:
    writer = await t.storage.writer(t.key("object"), append=False)
    await writer.write([b"content"])
    with t.refused(InvalidPathError, key="/a/../b"):
        await writer.commit("/a/../b")
    await writer.cancel()


async def case_another_process_continues(t: Trial) -> None:
    key, pieces = t.key("object"), [noise(100_000, seed) for seed in range(4)]
    for number, piece in enumerate(pieces):
        storage = (t.storage, t.peer)[number % 2]
        writer = await storage.writer(key, append=True)
        equal(writer.size, 100_000 * number, f"the size before piece {number}")
        await writer.write([piece])
        await (writer.commit() if number == 3 else writer.close())
    equal(await t.storage.get(key), b"".join(pieces), "the content")


async def case_a_cancelled_write_keeps_what_it_counts(t: Trial) -> None:
    key, data = t.key("object"), noise(8 * MIB)
    writer = await t.storage.writer(key, append=False)
    writing = asyncio.create_task(_write_all(writer, [data, data]))
    await asyncio.sleep(0)
    writing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await writing
    await writer.close()
    follower = await t.peer.writer(key, append=True)
    equal(follower.size, writer.size, "the size of what was kept")
    await follower.write([b"end"])
    await follower.commit()
    equal(await t.read(key), (data + data)[: writer.size] + b"end", "the content")


async def case_delete_takes_unfinished_objects_along(t: Trial) -> None:
    started, key = t.key("upload", "startedat"), t.key("upload", "data")
    await t.storage.put(started, b"now")
    for is_open in (False, True):
        writer = await t.storage.writer(key, append=False)
        await writer.write([b"content"])
        if not is_open:
            await writer.close()
        await t.storage.put(started, b"now")
        await t.storage.delete(t.key("upload"))
        await writer.close()
        await t.assert_missing(key)
        follower = await t.storage.writer(key, append=True)
        equal(follower.size, 0, "the size after a delete")
        await follower.cancel()


async def case_commit_of_a_deleted_object(t: Trial) -> None:
    key, target = t.key("upload", "data"), t.key("target")
    await t.storage.put(t.key("upload", "startedat"), b"now")
    writer = await t.storage.writer(key, append=False)
    await writer.write([b"content"])
    await t.peer.delete(t.key("upload"))
    with t.refused(PathNotFoundError):
        await writer.commit(target)
    await writer.close()
    await t.assert_missing(target)


async def append_three(t: Trial, size: int) -> None:
    """Three writers in turn: the first two close, the last one commits."""
    key, pieces = t.key("appended"), [noise(size, seed) for seed in range(3)]
    for number, piece in enumerate(pieces):
        writer = await t.storage.writer(key, append=number > 0)
        equal(writer.size, number * size, f"the size when opened for piece {number}")
        await writer.write([piece])
        equal(writer.size, (number + 1) * size, f"the size after piece {number}")
        await (writer.commit() if number == 2 else writer.close())
        equal(writer.size, (number + 1) * size, "the size at the end")
    equal(await t.read(key), b"".join(pieces), "the content")


async def _write_all(writer: Writer, pieces: list[bytes]) -> None:
    for piece in pieces:
        await writer.write([piece])
