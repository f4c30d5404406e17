"""Lading with several workers, and what a storage directory holds behind its back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.node import StartNode, nodes


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[StartNode]:
    with nodes(tmp_path) as start:
        yield start


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A new directory in memory, if there is such a file system: for thousands of syncs that prove nothing."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as path:
        yield Path(path)


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether to take all the time that a thorough run needs (LADING_FULL=1)."""
    return os.environ.get("LADING_FULL", "") == "1"
