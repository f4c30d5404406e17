from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.wire.compositions import MEMORY, Composition, World, world

OpenWorld = Callable[..., Awaitable[World]]


@pytest.fixture
def open_world(tmp_path: Path) -> OpenWorld:
    """`await open_world(composition, files)`: a registry with that content, empty without `files`."""
    count = 0

    async def open_(composition: Composition = MEMORY, files: Mapping[str, bytes] | None = None) -> World:
        nonlocal count
        count += 1
        return await world(composition, files or {}, tmp_path / f"world{count}")

    return open_


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A directory in memory, if there is such a file system: it is written anew many times."""
    shared = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=shared) as path:
        yield Path(path)


@pytest.fixture
async def empty(open_world: OpenWorld) -> World:
    return await open_world()
