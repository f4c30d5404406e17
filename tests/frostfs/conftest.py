"""Nodes that stand in, and storages in front of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.frostfs.cluster import Cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.end()
