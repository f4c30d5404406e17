"""Small objects, put and got whole."""

from __future__ import annotations

import asyncio

from lading.registry.ports import InvalidPathError, PathNotFoundError, found
from lading.testing.storage.trial import MIB, Trial, equal, noise

PAYLOADS = [b"", b"a", "©".encode(), noise(32), b"\x80\x80\x80\x80", noise(MIB)]


async def case_put_and_get(t: Trial) -> None:
    for durable in (True, False):
        for payload in PAYLOADS:
            key = t.key("put", str(durable), str(len(payload)))
            await t.storage.put(key, payload, durable=durable)
            equal(await t.storage.get(key), payload, key)
            equal(await t.peer.get(key), payload, f"{key}, elsewhere")


async def case_put_replaces(t: Trial) -> None:
    key = t.key("replaced")
    for durable in (True, False):
        for size in (MIB, 1024, 4096, 2048, 0, 1):
            payload = noise(size, seed=size)
            await t.storage.put(key, payload, durable=durable)
            equal(await t.peer.get(key), payload, f"after {size} bytes were put")
    equal(await t.list(t.key()), ["replaced"], "the directory")


async def case_get_of_nothing(t: Trial) -> None:
    for key in (t.key("missing"), t.key("missing", "below")):
        with t.refused(PathNotFoundError, key=key):
            await t.storage.get(key)


async def case_directories_are_no_objects(t: Trial) -> None:
    await t.storage.put(t.key("directory", "object"), b"content")
    with t.refused():
        await t.storage.get(t.key("directory"))
    with t.refused():
        await t.storage.open(t.key("directory"))


async def case_nothing_below_an_object(t: Trial) -> None:
    await t.storage.put(t.key("object"), b"content")
    below = t.key("object", "below")
    await t.assert_missing(below)
    with t.refused(PathNotFoundError, key=below):
        await t.storage.open(below)


async def case_put_is_all_or_nothing(t: Trial) -> None:
    key = t.key("replaced")
    versions = [noise(size, seed=size) for size in (300_000, 10, 70_000, 0)]
    await t.storage.put(key, versions[0])
    writing = asyncio.create_task(_replace(t, key, versions))
    while not writing.done():
        found = await t.peer.get(key)
        assert found in versions, f"{len(found)} bytes that nobody put"
        equal(await t.list(t.key()), ["replaced"], "the directory meanwhile")
        await asyncio.sleep(0)
    await writing


async def case_concurrent_puts_leave_one_whole(t: Trial) -> None:
    key = t.key("fought", "over")
    versions = [noise(200_000 - 20_000 * seed, seed) for seed in range(8)]
    await asyncio.gather(*(t.storage.put(key, version) for version in versions))
    assert await t.storage.get(key) in versions, "a mixture"
    equal(await t.list(t.key("fought")), ["over"], "the directory")


async def case_concurrent_puts_make_one_directory(t: Trial) -> None:
    names = [f"{number:03}" for number in range(40)]
    await asyncio.gather(*(t.storage.put(t.key("a", "b", "c", name), name.encode()) for name in names))
    equal(await t.list(t.key("a", "b", "c")), names, "the directory")
    for name in names:
        equal(await t.storage.get(t.key("a", "b", "c", name)), name.encode(), name)


async def case_put_all(t: Trial) -> None:
    first, second, third = t.key("a", "1"), t.key("a", "b", "2"), t.key("c", "3")
    for content in (b"new", b"replaced", b"replaced"):
        await t.storage.put_all({first: content, second: noise(300_000)}, {}, {third: content})
        equal(await t.peer.get(first), content, first)
        equal(await t.peer.get(second), noise(300_000), second)
        equal(await t.peer.get(third), content, third)
    await t.storage.put_all()
    equal(await t.list(t.key("a")), ["1", "b"], "the directory")
    equal(await t.list(t.key("c")), ["3"], "the other directory")


async def case_put_all_needs_keys(t: Trial) -> None:
    with t.refused(InvalidPathError, key="/a/../b"):
        await t.storage.put_all({t.key("first"): b""}, {"/a/../b": b""})
    await t.assert_missing(t.key("first"))


async def case_put_all_upon_others(t: Trial) -> None:
    there, link = t.key("there"), t.key("link")
    with t.refused(PathNotFoundError, key=there):
        await t.storage.put_all({link: b"digest"}, upon=[there])
    await t.assert_missing(link)
    await t.peer.put(there, b"content")
    await t.storage.put_all({link: b"digest"}, upon=[there])
    equal(await t.peer.get(link), b"digest", "what was put")
    equal(await t.peer.get(there), b"content", "what it is put upon")


async def case_put_all_in_order(t: Trial) -> None:
    """At no moment is one there without those before it."""
    for turn in range(20):
        stages = {t.key(str(turn), "1"): b"1", t.key(str(turn), "2"): b"2"}, {t.key(str(turn), "3"): b"3"}
        keys = [key for objects in stages for key in objects]
        writing = asyncio.create_task(t.storage.put_all(*stages))
        while not writing.done():
            # From the last to the first: what appears meanwhile was before.
            seen = [await _is_there(t, key) for key in reversed(keys)]
            equal(seen, sorted(seen), "which are there, from the last to the first")
            await asyncio.sleep(0)
        await writing


async def case_put_all_at_once(t: Trial) -> None:
    async def put(number: int) -> None:
        content = str(number).encode()
        await t.storage.put_all({t.key("all", "same"): b"same"}, {t.key("moving", "link"): content})

    await asyncio.gather(*map(put, range(20)))
    equal(await t.storage.get(t.key("all", "same")), b"same", "what all have put")
    assert int(await t.storage.get(t.key("moving", "link"))) in range(20), "a mixture"
    equal(await t.list(t.key("moving")), ["link"], "the directory")


async def _is_there(t: Trial, key: str) -> bool:
    return await found(t.peer, key) is not None


async def _replace(t: Trial, key: str, versions: list[bytes]) -> None:
    for turn in range(40):
        await t.storage.put(key, versions[turn % len(versions)], durable=turn % 2 == 0)
        await asyncio.sleep(0)
