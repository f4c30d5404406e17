from __future__ import annotations

from pathlib import Path

import pytest
from tests.wire.storages import Watched

from lading.registry.ports import Storage
from lading.registry.registry import Registry
from lading.storage.filesystem import FilesystemStorage
from lading.storage.memory import MemoryStorage


@pytest.fixture(params=["memory", "filesystem"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return MemoryStorage() if request.param == "memory" else FilesystemStorage(str(tmp_path))


@pytest.fixture
def watched(storage: Storage) -> Watched:
    return Watched(storage)


@pytest.fixture
def registry(watched: Watched) -> Registry:
    return Registry.over(watched)
