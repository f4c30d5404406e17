"""Directories: what is where, and how it gets away from there."""

from __future__ import annotations

import asyncio
import time

from lading.registry.ports import PathNotFoundError
from lading.testing.storage.trial import Trial, equal, noise

CLOCK_SKEW = 300.0
"""Seconds by which a storage's clock may differ from ours."""

CLOCK_TICK = 10.0
"""Seconds within which a modification time must have moved on. Some stores count whole ones."""


async def case_stat(t: Trial) -> None:
    key = t.key("directory", "object")
    for missing in (t.key("directory"), key):
        await t.assert_missing(missing)
    await t.storage.put(key, noise(4096))
    for storage in (t.storage, t.peer):
        found = await storage.stat(key)
        equal((found.size, found.is_directory), (4096, False), "the object")
        found = await storage.stat(t.key("directory"))
        equal((found.size, found.is_directory), (0, True), "the directory")


async def case_stat_of_the_root(t: Trial) -> None:
    try:
        equal((await t.storage.stat("/")).is_directory, True, "the root of an empty storage")
    except PathNotFoundError as error:
        equal(error.key, "/", "the error's key")
    await t.storage.put(t.key("object"), b"content")
    equal((await t.storage.stat("/")).is_directory, True, "the root")


async def case_modification_time_moves_on(t: Trial) -> None:
    key = t.key("object")
    await t.storage.put(key, b"1")
    first = (await t.storage.stat(key)).modified
    assert abs(first - time.time()) < CLOCK_SKEW, f"{first} is not now, in seconds since 1970"
    last, deadline = first, time.monotonic() + CLOCK_TICK
    while last == first:
        assert time.monotonic() < deadline, f"still {first} after it was put again for {CLOCK_TICK} s"
        await asyncio.sleep(0.002)
        await t.storage.put(key, b"2", durable=False)
        last = (await t.storage.stat(key)).modified
    assert last > first, f"from {first} back to {last}"


async def case_list(t: Trial) -> None:
    for missing in (t.key("directory"), t.key()):
        with t.refused(PathNotFoundError, key=missing):
            await t.list(missing)
    names = sorted(f"{number * 7919 % 1000}" for number in range(50))
    for name in reversed(names):
        await t.storage.put(t.key("directory", name), name.encode(), durable=False)
    equal(await t.list("/"), [t.ROOT], "the root")
    equal(await t.list(t.key()), ["directory"], "its child")
    equal(await t.list(t.key("directory")), names, "the objects")


async def case_list_of_an_object(t: Trial) -> None:
    await t.storage.put(t.key("object"), b"content")
    with t.refused(PathNotFoundError, key=t.key("object")):
        await t.list(t.key("object"))


async def case_list_in_byte_order(t: Trial) -> None:
    # Objects and directories alike: with whole keys compared, "1.0-rc1" would come before "1.0/".
    names = ["1", "1-a", "1.0", "1.0-rc1", "1.0.1", "10", "2", "A", "Z", "_x", "a", "a-b", "a.b", "a0", "aa", "b"]
    for number, name in enumerate(names[::-1]):
        below = ["current", "link"] if number % 3 else []
        await t.storage.put(t.key(name, *below), b"", durable=False)
    equal(await t.list(t.key()), names, "all")
    for number, name in enumerate(names):
        equal(await t.list(t.key(), after=name), names[number + 1 :], f"after {name}")
    for after in ("0", "1.0-", "1.0-rc10", "_", "a.", "aaa", "c", "~"):
        equal(await t.list(t.key(), after=after), [name for name in names if name > after], f"after {after}")
    equal(await t.list("/", after=t.ROOT[:-1]), [t.ROOT], "the root, before its child")
    equal(await t.list("/", after=t.ROOT), [], "the root, after its child")


async def case_delete_while_listing(t: Trial) -> None:
    names = [f"{number:02}" for number in range(30)]
    for name in names:
        await t.storage.put(t.key(name, "object"), b"content", durable=False)
    seen = []
    async for name in t.storage.list(t.key()):
        seen.append(name)
        await t.storage.delete(t.key(name))
    equal(seen, names, "what was listed")


async def case_move(t: Trial) -> None:
    source, target = t.key("from", "object"), t.key("to", "a", "new", "directory")
    await t.storage.put(source, noise(32))
    await t.storage.move(source, target)
    equal(await t.peer.get(target), noise(32), "the target")
    await t.assert_missing(source)


async def case_move_replaces(t: Trial) -> None:
    source, target = t.key("source"), t.key("target")
    await t.storage.put(source, noise(32, 1))
    await t.storage.put(target, noise(64, 2))
    await t.storage.move(source, target)
    equal(await t.peer.get(target), noise(32, 1), "the target")
    await t.assert_missing(source)


async def case_move_nothing(t: Trial) -> None:
    source, target, new = t.key("missing"), t.key("target"), t.key("new", "target")
    await t.storage.put(target, b"content")
    for to in (target, new):
        with t.refused(PathNotFoundError, key=source):
            await t.storage.move(source, to)
    equal(await t.storage.get(target), b"content", "the target")
    await t.assert_missing(new)


async def case_move_from_below_an_object(t: Trial) -> None:
    await t.storage.put(t.key("object"), b"content")
    with t.refused():
        await t.storage.move(t.key("object", "one"), t.key("object", "two"))
    equal(await t.storage.get(t.key("object")), b"content", "the object")


async def case_delete(t: Trial) -> None:
    key = t.key("object")
    await t.storage.put(key, b"content")
    await t.storage.delete(key)
    await t.assert_missing(key)
    for missing in (key, t.key("never", "was")):
        with t.refused(PathNotFoundError, key=missing):
            await t.storage.delete(missing)


async def case_delete_a_directory(t: Trial) -> None:
    keys = [t.key("directory", *names) for names in (["a"], ["b"], ["c", "d"], ["c", "e", "f"])]
    for key in keys:
        await t.storage.put(key, b"content")
    await t.storage.delete(keys[0])
    await t.assert_missing(keys[0])
    for key in keys[1:]:
        equal(await t.storage.get(key), b"content", key)
    await t.storage.delete(t.key("directory"))
    for key in [*keys, t.key("directory")]:
        await t.assert_missing(key)


async def case_delete_only_what_is_below(t: Trial) -> None:
    names = [["f"], ["fsuffix"], ["d", "f"], ["dsuffix", "f"], ["d-", "f"], ["d.", "f"]]
    for each in names:
        await t.storage.put(t.key(*each), b"content")
    await t.storage.delete(t.key("f"))
    await t.storage.delete(t.key("d"))
    equal(await t.list(t.key()), ["d-", "d.", "dsuffix", "fsuffix"], "what is left")
    for each in names:
        if each[0] not in {"f", "d"}:
            equal(await t.storage.get(t.key(*each)), b"content", t.key(*each))
