"""Removal of abandoned upload sessions (reference, 4.6; defects 22 and 38)."""

from __future__ import annotations

import datetime
import logging
import os
from pathlib import Path

import pytest
from tests.wire.compositions import dump
from tests.wire.content import ROOT, session_key
from tests.wire.storages import Watched

from lading.registry.ports import PathNotFoundError, Storage, StorageError
from lading.registry.purge import Purged, purge
from lading.storage.filesystem import FilesystemStorage
from lading.storage.memory import MemoryStorage

LIMIT = datetime.datetime(2024, 5, 8, tzinfo=datetime.UTC)
OLD, NEW = b"2024-05-01T12:00:00Z", b"2024-05-08T00:00:01Z"


async def session(storage: Storage, name: str, number: int, started: bytes | None) -> str:
    key = f"0190d7a0-0000-7000-8000-{number:012}"
    if started is not None:
        await storage.put(session_key(name, key, "startedat"), started)
    await storage.put(session_key(name, key, "data"), b"bytes")
    await storage.put(session_key(name, key, "hashstates/sha256/5"), b"state")
    return key


async def sessions(storage: Storage) -> set[str]:
    return {key.partition("/_uploads/")[2].partition("/")[0] for key in await dump(storage) if "/_uploads/" in key}


async def test_the_old_go_and_the_new_stay(storage: Storage) -> None:
    await session(storage, "a", 1, OLD)
    await session(storage, "a/b/c", 2, OLD)
    kept = {await session(storage, "a", 3, NEW), await session(storage, "z", 4, NEW)}
    await storage.put(f"{ROOT}/repositories/a/_layers/sha256/00/link", b"untouched")
    assert await purge(storage, older_than=LIMIT) == Purged(2, 0)
    assert await sessions(storage) == kept
    assert await storage.get(f"{ROOT}/repositories/a/_layers/sha256/00/link") == b"untouched"
    assert await purge(storage, older_than=LIMIT) == Purged(0, 0)


async def test_a_dry_run_counts_only(storage: Storage) -> None:
    await session(storage, "a", 1, OLD)
    before = await dump(storage)
    assert await purge(storage, older_than=LIMIT, dry_run=True) == Purged(1, 0)
    assert await dump(storage) == before


async def test_an_empty_storage(storage: Storage) -> None:
    assert await purge(storage, older_than=LIMIT) == Purged(0, 0)


@pytest.mark.parametrize("started", [None, b"", b"nonsense", b"\xff", b"2024-13-01T00:00:00Z"])
async def test_without_a_readable_start_the_last_change_counts(storage: Storage, started: bytes | None) -> None:
    await session(storage, "a", 1, started)
    assert await purge(storage, older_than=LIMIT) == Purged(0, 0)
    future = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    assert await purge(storage, older_than=future) == Purged(1, 0)
    assert await sessions(storage) == set()


async def test_the_change_of_the_directory_is_that_of_the_session(tmp_path: Path) -> None:
    storage = FilesystemStorage(str(tmp_path))
    key = await session(storage, "a", 1, None)
    os.utime(f"{tmp_path}{session_key('a', key, '')}", (LIMIT.timestamp() - 1,) * 2)
    assert await purge(storage, older_than=LIMIT) == Purged(1, 0)


async def test_what_the_original_leaves_after_a_cancel_goes_too(tmp_path: Path) -> None:
    """A directory with nothing but a hash state (defect 22)."""
    storage = FilesystemStorage(str(tmp_path))
    key = "0190d7a0-0000-7000-8000-000000000001"
    await storage.put(session_key("a", key, "hashstates/sha256/0"), b"state")
    os.utime(f"{tmp_path}{session_key('a', key, '')}", (LIMIT.timestamp() - 1,) * 2)
    assert await purge(storage, older_than=LIMIT) == Purged(1, 0)
    assert await sessions(storage) == set()


async def test_one_failure_does_not_stop_the_rest() -> None:
    memory = MemoryStorage()
    keys = [await session(memory, name, number, OLD) for number, name in enumerate(["a", "a", "a", "b"])]

    def fail(operation: str, key: str) -> None:
        if operation == "delete" and keys[1] in key:
            raise StorageError("inmemory", "it sticks")

    assert await purge(Watched(memory, fail), older_than=LIMIT) == Purged(3, 1)
    assert await sessions(memory) == {keys[1]}


async def test_a_session_that_ends_meanwhile_does_not_stop_the_rest() -> None:
    memory = MemoryStorage()
    keys = [await session(memory, "a", number, OLD) for number in range(3)]

    def fail(operation: str, key: str) -> None:
        if operation in {"get", "stat"} and keys[1] in key:
            raise PathNotFoundError("inmemory", key)

    purged = await purge(Watched(memory, fail), older_than=LIMIT)
    assert purged == Purged(2, 0)
    assert await sessions(memory) == {keys[1]}


async def test_a_foreign_directory_does_not_stop_the_rest(tmp_path: Path) -> None:
    storage = FilesystemStorage(str(tmp_path))
    await session(storage, "z", 1, OLD)
    (tmp_path / ROOT[1:] / "repositories/lost+found").mkdir()
    assert (await purge(storage, older_than=LIMIT)).sessions == 1


async def test_the_log_is_that_of_the_original(caplog: pytest.LogCaptureFixture) -> None:
    memory = MemoryStorage()
    await session(memory, "a", 1, OLD)
    with caplog.at_level(logging.INFO):
        await purge(memory, older_than=LIMIT)
    assert [record.getMessage() for record in caplog.records] == [
        f"PurgeUploads starting: olderThan={LIMIT}, actuallyDelete=True",
        "Purge uploads finished. Num deleted=1, num errors=0",
    ]
