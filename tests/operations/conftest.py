from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.operations.watched import StartWatched, Watched, watched_registries


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartWatched]:
    with watched_registries(tmp_path) as start:
        yield start


@pytest.fixture
def watched(start: StartWatched) -> Watched:
    return start()
