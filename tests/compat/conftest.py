"""Lading and the Go original over one data directory, in both orders."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from tests.servers.process import StartRegistry


class Pair(NamedTuple):
    """Two registries that take turns over `root`."""

    first: StartRegistry
    second: StartRegistry
    root: Path


@pytest.fixture(params=["distribution-then-lading", "lading-then-distribution"])
def pair(
    request: pytest.FixtureRequest,
    start_lading: StartRegistry,
    start_distribution: StartRegistry,
    tmp_path: Path,
) -> Pair:
    starters = (start_distribution, start_lading)
    if request.param == "lading-then-distribution":
        starters = (start_lading, start_distribution)
    return Pair(*starters, tmp_path / "shared")
