"""Lading with several workers, and what a storage directory holds behind its back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.node import StartNode, nodes


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[StartNode]:
    with nodes(tmp_path) as start:
        yield start


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether to take all the time that a thorough run needs (LADING_FULL=1)."""
    return os.environ.get("LADING_FULL", "") == "1"
