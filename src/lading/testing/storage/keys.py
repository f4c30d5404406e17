"""What is a key, and what is not."""

from __future__ import annotations

from lading.registry.ports import InvalidPathError, Storage
from lading.testing.storage.trial import Trial, equal

VALID = [
    "/a",
    "/2",
    "/aa",
    "/a.a",
    "/0-9/abcdefg",
    "/abcdefg/z.75",
    "/abc/1.2.3.4.5-6_zyx/123.z/4",
    "/docker/docker-registry",
    "/123.abc",
    "/abc./abc",
    "/.abc",
    "/a--b",
    "/a-.b",
    "/_.abc",
    "/Docker/docker-registry",
    "/Abc/Cba",
    "/...",
    "/..a",
    "/a../b",
]

INVALID = ["", "abc", "123.abc", "//bcd", "/abc_123/", "/a//b", "/a b", "/a:b", "/a\\b", "/ä", "/a\n", "/a\0"]

DOTTED = ["/.", "/..", "/./a", "/../a", "/a/.", "/a/..", "/a/./b", "/a/../b"]


async def case_root_can_be_listed(t: Trial) -> None:
    equal(await t.list("/"), [], "an empty storage")


async def case_valid_keys(t: Trial) -> None:
    for key in VALID:
        await t.storage.put(key, key.encode())
        equal(await t.storage.get(key), key.encode(), key)
        await t.storage.delete("/" + key.split("/")[1])


async def case_long_components(t: Trial) -> None:
    for key in (t.key("d" * 255, "data"), t.key("f" * 200), t.key(*["nested"] * 100)):
        await t.storage.put(key, b"long")
        equal(await t.storage.get(key), b"long", key)


async def case_invalid_keys(t: Trial) -> None:
    for key in [*INVALID, *DOTTED]:
        await _refuse_everywhere(t, key)
    await _refuse_objects(t, t.storage, "/")
    equal(await t.list("/"), [], "the storage after refusals")


async def case_invalid_targets_change_nothing(t: Trial) -> None:
    source = t.key("source")
    await t.storage.put(source, b"content")
    for target in ["", "/", "/a//b", "/a/../b"]:
        with t.refused(InvalidPathError, key=target):
            await t.storage.move(source, target)
    equal(await t.storage.get(source), b"content", "the source")


async def _refuse_everywhere(t: Trial, key: str) -> None:
    await _refuse_objects(t, t.storage, key)
    with t.refused(InvalidPathError, key=key):
        await t.storage.stat(key)
    with t.refused(InvalidPathError, key=key):
        await t.list(key)


async def _refuse_objects(t: Trial, storage: Storage, key: str) -> None:
    calls = (
        lambda: storage.put(key, b"x"),
        lambda: storage.put(key, b"x", durable=False),
        lambda: storage.get(key),
        lambda: storage.open(key),
        lambda: storage.writer(key, append=False),
        lambda: storage.writer(key, append=True),
        lambda: storage.move(key, t.key("target")),
        lambda: storage.delete(key),
        lambda: storage.redirect(key, "GET"),
    )
    for call in calls:
        with t.refused(InvalidPathError, key=key):
            await call()
