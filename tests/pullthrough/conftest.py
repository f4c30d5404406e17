"""An upstream with an image, and a server before it that can be made to fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.pullthrough.upstream import Between, between
from tests.servers import content
from tests.servers.content import Package
from tests.servers.process import Registry, StartRegistry

NAME = "library/app"


@pytest.fixture(scope="session")
def package() -> Package:
    return content.image("cached", layer_sizes=(700, 90_000, 3_000_000))


@pytest.fixture
def origin(start_distribution: StartRegistry, package: Package) -> Registry:
    """The registry where everything comes from: the original."""
    registry = start_distribution()
    registry.client.push(NAME, "1.0", package)
    return registry


@pytest.fixture
def upstream(origin: Registry) -> Iterator[Between]:
    with between(origin.host) as made:
        yield made
