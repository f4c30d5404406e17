"""Small objects, put and got whole."""

from __future__ import annotations

import asyncio

from lading.registry.ports import PathNotFoundError
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


async def _replace(t: Trial, key: str, versions: list[bytes]) -> None:
    for turn in range(40):
        await t.storage.put(key, versions[turn % len(versions)], durable=turn % 2 == 0)
        await asyncio.sleep(0)
