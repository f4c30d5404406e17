"""Directories: what is where, and how it gets away from there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from lading.registry.ports import InvalidPathError, PathNotFoundError, Steps
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
    await t.storage.put(t.key("0", "stays"), b"")  # a directory without objects may be none
    names.insert(0, "0")
    seen: list[str] = []
    while page := await _names(t, t.key(), after=seen[-1] if seen else "", limit=4):
        seen += page
        for name in page:
            if name != "0":
                await t.storage.delete(t.key(name))
    equal(seen, names, "what was listed")


async def case_list_in_pages(t: Trial) -> None:
    names = sorted(f"{number * 7919 % 1000}" for number in range(50))
    for name in names:
        await t.storage.put(t.key(name), b"", durable=False)
    for limit in (0, 1, 7, 49, 50, 51, 5000):
        equal(await t.list(t.key(), limit=limit), names[:limit], f"the first {limit}")
        for after in (names[0], names[-2], names[-1], "5", "~"):
            expected = [name for name in names if name > after][:limit]
            equal(await t.list(t.key(), after=after, limit=limit), expected, f"{limit} after {after}")
    equal(await t.list("/", limit=1), [t.ROOT], "one of the root")


async def case_list_of_what_holds_something(t: Trial) -> None:
    names = [f"{number:02}" for number in range(40)]
    for number, name in enumerate(names):
        await t.storage.put(t.key(name, "inner", "object" if number % 4 == 0 else "other"), b"", durable=False)
    await t.storage.put(t.key("object"), b"")
    holding = names[::4]
    for after in ("", "00", "01", "20", "36", "37"):
        expected = [name for name in holding if name > after]
        equal(await t.list(t.key(), after=after, holding="inner/object"), expected, f"after {after}")
        for limit in (0, 1, 3, 9, 10, 1000):
            found = await t.list(t.key(), after=after, limit=limit, holding="inner/object")
            equal(found, expected[:limit], f"{limit} after {after}")
    equal(await t.list(t.key(), holding="inner"), names, "what holds a directory")
    equal(await t.list("/", holding="object"), [t.ROOT], "the root")
    await t.storage.delete(t.key("00", "inner", "object"))
    await t.peer.delete(t.key("04", "inner", "object"))
    equal(await t.list(t.key(), holding="inner/object"), holding[2:], "what still holds it")
    for key in (t.key("object"), t.key("missing")):
        with t.refused(PathNotFoundError, key=key):
            await t.list(key, holding="inner/object")


async def case_list_shows_every_change_at_once(t: Trial) -> None:
    """Also of those made within one tick of a clock, by others, and after the directory was listed before."""
    shown = {"stays"}
    await t.storage.put(t.key("directory", "stays"), b"")  # a directory without objects may be none
    for number in range(60):
        name = f"{number * 7 % 20:02}"
        storage = t.peer if number % 3 else t.storage
        if name in shown:
            await storage.delete(t.key("directory", name))
            shown.remove(name)
        else:
            await storage.put(t.key("directory", name), b"", durable=False)
            shown.add(name)
        for limit in (None, 100):
            equal(
                await _names(t, t.key("directory"), limit=limit), sorted(shown), f"the names after change {number}"
            )


async def case_explore(t: Trial) -> None:
    for names in (["a", "1"], ["a", "2", "x"], ["b", "object"], ["c"]):
        await t.storage.put(t.key(*names), b"", durable=False)
    asked = [t.key(*names) for names in ([], ["a"], ["a", "2"], ["b"], ["b", "object"], ["missing"], ["c", "x"])]
    expected = [["a", "b", "c"], ["1", "2"], ["x"], ["object"], [], [], []]

    def steps() -> Steps[list[list[str]]]:
        found: list[list[str]] = []
        while len(found) < len(asked):
            answers = yield asked[len(found) :]
            assert answers, "no answer"
            found += map(list, answers)
        return found

    for storage in (t.storage, t.peer):
        equal(await storage.explore(steps()), expected, "what was found")


async def case_explore_nothing_or_a_wrong_key(t: Trial) -> None:
    def nothing() -> Steps[int]:
        return 1
        yield

    def wrong(key: str) -> Steps[None]:
        yield [key]

    equal(await t.storage.explore(nothing()), 1, "the result")
    for key in ("/a/../b", "a", "/a b", "", "/"):
        with t.refused(InvalidPathError, key=key):
            await t.storage.explore(wrong(key))


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


async def case_move_may_leave_the_source(t: Trial) -> None:
    source, target = t.key("source"), t.key("target")
    await t.storage.put(source, noise(32))
    await t.storage.move(source, target, may_stay=True)
    equal(await t.peer.get(target), noise(32), "the target")
    if t.storage.traits.renames:
        await t.assert_missing(source)
    else:
        equal(await t.peer.get(source), noise(32), "the source")
        await t.storage.move(source, target, may_stay=True)
        equal(await t.peer.get(target), noise(32), "the target, which was there")


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


async def case_delete_all(t: Trial) -> None:
    """With what is not there, and nothing besides."""
    keys = [t.key("many", f"{number:04}", "link") for number in range(40)]
    for key in keys:
        await t.storage.put(key, b"", durable=False)
    for names in (["many", "0000", "linked"], ["many-", "0000", "link"]):
        await t.storage.put(t.key(*names), b"content")
    await t.storage.delete_all([*keys, t.key("never", "was")])
    for key in (keys[0], keys[-1]):
        await t.assert_missing(key)
    equal(await _walked(t, t.key("many")), [t.key("many", "0000", "linked")], "what is left")
    equal(await t.storage.get(t.key("many-", "0000", "link")), b"content", "what only begins alike")
    await t.storage.delete_all([])
    with t.refused(InvalidPathError, key="/a/../b"):
        await t.storage.delete_all([keys[0], "/a/../b"])


async def case_walk(t: Trial) -> None:
    names = [["a"], ["b", "c"], ["b-", "c"], ["b", "d", "e", "f", "g", "h"], ["b", "d", "i"]]
    for number, each in enumerate(names):
        await t.storage.put(t.key("top", *each), noise(number), durable=False)
    await t.storage.put(t.key("topmost"), b"")
    expected = sorted(t.key("top", *each) for each in names)
    equal(await _walked(t, t.key("top")), expected, "all of it")
    equal(await _walked(t, t.key("top", "b", "d")), [key for key in expected if "/d/" in key], "a part")
    equal(await _walked(t, t.key("missing")), [], "nothing")
    async for key, stat in t.storage.walk(t.key("top")):
        assert stat is None or stat == await t.storage.stat(key), key
    with t.refused(InvalidPathError, key="/a/../b"):
        await _walked(t, "/a/../b")


async def _walked(t: Trial, key: str) -> list[str]:
    found = sorted([each async for each, _ in t.storage.walk(key)])
    equal(sorted([each async for each, _ in t.peer.walk(key)]), found, "elsewhere")
    return found


async def case_delete_if_empty(t: Trial) -> None:
    """Directories go that hold no object; objects never do."""
    for names in (["a", "b", "gone"], ["c", "d", "gone"], ["c", "stays"]):
        await t.storage.put(t.key("directory", *names), b"content")
    for names in (["a", "b", "gone"], ["c", "d", "gone"]):
        await t.storage.delete(t.key("directory", *names))
    await t.storage.delete(t.key("directory"), if_empty=True)
    equal(await t.list(t.key("directory")), ["c"], "what is left")
    equal(await t.list(t.key("directory", "c")), ["stays"], "the object")
    for untouched in (t.key("directory", "c", "stays"), t.key("missing"), t.key("never", "was")):
        await t.storage.delete(untouched, if_empty=True)
    equal(await t.storage.get(t.key("directory", "c", "stays")), b"content", "the object")
    await t.storage.delete(t.key("directory", "c", "stays"))
    await t.storage.delete(t.key("directory"), if_empty=True)
    equal(await _names(t, t.key("directory")), [], "nothing is left")
    equal(await _names(t, t.key()), [], "nor the directory")


async def case_hold_a_directory_that_goes(t: Trial) -> None:
    """Whoever has waited for it, and whoever comes later, hold the same one."""
    key, inside, leave = t.key("held"), asyncio.Event(), asyncio.Event()
    async with t.storage.hold(key, shared=False):
        waiting = asyncio.create_task(_have_alone(t, key, inside, leave))
        await asyncio.wait([waiting], timeout=0.05)
        await t.storage.delete(key, if_empty=True)
    later = t.storage.hold(key, shared=True)
    entering = asyncio.create_task(_enter(later))
    await asyncio.wait([entering], timeout=0.1)
    both = inside.is_set() and entering.done()
    leave.set()
    await entering
    await later.__aexit__(None, None, None)
    await waiting
    assert not both, "one who has it alone, and another"


async def case_hold_alone(t: Trial) -> None:
    """Whoever waits to hold a directory alone gets it, though others share it without a pause."""
    key, alone = t.key("held"), asyncio.Event()
    others = t.peer if t.storage.traits.locks else t.storage
    holding = others.hold(key, shared=True)
    await holding.__aenter__()
    waiting = asyncio.create_task(_have_alone(t, key, alone))
    for _ in range(100):
        following = others.hold(key, shared=True)
        entering = asyncio.create_task(_enter(following))
        await asyncio.wait([entering], timeout=1.0)
        await asyncio.wait([waiting], timeout=0.02)
        assert not alone.is_set(), "had alone while it was shared"
        await holding.__aexit__(None, None, None)
        await entering
        holding = following
        if alone.is_set():
            break
    in_between = alone.is_set()
    await holding.__aexit__(None, None, None)
    await waiting
    assert in_between, "those who share it keep it for themselves"


async def _enter(holding: AbstractAsyncContextManager[None]) -> None:
    await holding.__aenter__()


async def _have_alone(t: Trial, key: str, alone: asyncio.Event, leave: asyncio.Event | None = None) -> None:
    async with t.storage.hold(key, shared=False):
        alone.set()
        if leave is not None:
            await leave.wait()


async def _names(t: Trial, key: str, *, after: str = "", limit: int | None = None) -> Sequence[str]:
    """A directory may go with the last of what it held."""
    try:
        return await t.list(key, after=after, limit=limit)
    except PathNotFoundError:
        return []
