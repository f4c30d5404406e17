"""What every test may ask for: a running Lading, the Go original beside it, and real clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.servers import process
from tests.servers.peers import Peer, executable
from tests.servers.process import Registry, StartRegistry


@pytest.fixture
def start_lading(tmp_path: Path) -> Iterator[StartRegistry]:
    with process.registries(process.lading(), tmp_path) as start:
        yield start


@pytest.fixture
def start_distribution(tmp_path: Path) -> Iterator[StartRegistry]:
    with process.registries(process.distribution(), tmp_path) as start:
        yield start


@pytest.fixture
def distribution(start_distribution: StartRegistry) -> Registry:
    return start_distribution()


@pytest.fixture
def lading(start_lading: StartRegistry) -> Registry:
    return start_lading()


@pytest.fixture
def peer(tmp_path: Path) -> Callable[[str], Peer]:
    """`peer("skopeo")` is that program; the test is skipped if it is not installed."""
    return lambda name: Peer(executable(name), tmp_path / f"{name}-home")
