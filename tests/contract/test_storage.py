"""Every driver keeps the promises of the storage port."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contract.wrapping import wrapped
from tests.frostfs.cluster import storage_at

from lading.operations.figures import Figures
from lading.operations.watched import Stopwatch, WatchedStorage
from lading.registry.ports import Storage
from lading.storage.filesystem import FilesystemStorage
from lading.storage.memory import MemoryStorage
from lading.testing.storage import CASES, FULL, LARGE_CASES, Case, case_name, run

DRIVERS: dict[str, Callable[[Path], Storage]] = {
    "memory": lambda place: MemoryStorage(),
    "watched": lambda place: WatchedStorage(MemoryStorage(), Stopwatch(Figures())),
    "filesystem": lambda place: FilesystemStorage(str(place / "root")),
    "frostfs": storage_at,
    "wrapped": lambda place: wrapped(FilesystemStorage(str(place / "root")), place),
}

# All that the original's suite moves, but for the stream of 5 GiB, which takes disk and minutes.
LARGE = FULL if os.environ.get("LADING_FULL") == "1" else dataclasses.replace(FULL, stream=256 * 1024**2)


@pytest.mark.parametrize("case", CASES, ids=case_name)
@pytest.mark.parametrize("driver", DRIVERS)
async def test_contract(driver: str, case: Case, tmp_path: Path) -> None:
    await run(case, lambda: DRIVERS[driver](tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", LARGE_CASES, ids=case_name)
@pytest.mark.parametrize("driver", DRIVERS)
async def test_contract_at_full_size(driver: str, case: Case, tmp_path: Path) -> None:
    await run(case, lambda: DRIVERS[driver](tmp_path), LARGE)


async def test_filesystem_leaves_what_is_there(tmp_path: Path) -> None:
    """Pushed again, nothing is written and no name changes; what differs is replaced."""
    storage = FilesystemStorage(str(tmp_path))
    await storage.put_all({"/same": b"content", "/longer": b"content", "/other": b"content"})
    before = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    await storage.put_all({"/same": b"content", "/longer": b"content and more"}, {"/other": b"CONTENT"})
    after = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    assert after.keys() == before.keys()
    assert [name for name in before if before[name] == after[name]] == ["same"]
    assert await storage.get("/longer") == b"content and more"


async def test_memory_moves_directories() -> None:
    storage = MemoryStorage()
    await storage.put("/a/b/c", b"1")
    await storage.put("/a/d", b"2")
    await storage.move("/a", "/x/y")
    assert await storage.get("/x/y/b/c") == b"1"
    assert await storage.get("/x/y/d") == b"2"
    assert await storage.list("/") == ["x"]
