"""Pulling through where nothing can be kept: clients get what they ask for all the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.faults.test_full_disk import SIZE, fill, free, small_disk
from tests.pullthrough.conftest import NAME
from tests.pullthrough.test_proxy import layer, proxy, stored, until
from tests.pullthrough.upstream import Between
from tests.servers import content
from tests.servers.process import Registry, StartRegistry
from tests.servers.serving import FOUR_WORKERS, Serving

__all__ = ["small_disk"]

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(90)]


@pytest.fixture
def serving() -> Serving:
    return FOUR_WORKERS


def test_a_blob_that_does_not_fit_is_passed_on(
    start_lading: StartRegistry, upstream: Between, origin: Registry, small_disk: Path
) -> None:
    big = content.image("big", layer_sizes=(SIZE + 16 * 1024 * 1024,))
    origin.client.push(NAME, "big", big)
    cache = start_lading(root=small_disk, extra=proxy(upstream))
    blob = layer(big)
    with ThreadPoolExecutor(6) as clients:
        for got in clients.map(lambda _: cache.client.pull_blob(NAME, blob.digest), range(6)):
            assert got == blob.data
    until(lambda: free(small_disk) > SIZE // 2)
    assert not stored(cache, blob.digest)
    assert not list(small_disk.rglob("_uploads/*/data"))
    assert cache.client.pull(NAME, "big") == big.everything()
    assert "no space" in cache.log.read_text().lower()


def test_on_a_disk_without_any_space_images_can_be_pulled(
    start_lading: StartRegistry, upstream: Between, small_disk: Path, origin: Registry
) -> None:
    cache = start_lading(root=small_disk, extra=proxy(upstream))
    first = content.image("first")
    origin.client.push(NAME, "first", first)
    assert cache.client.pull(NAME, "first") == first.everything()
    ballast = fill(small_disk, 0)
    image = content.image("late", layer_sizes=(100, 2_000_000))
    origin.client.push(NAME, "late", image)
    for _ in range(4):
        assert cache.client.pull(NAME, "late") == image.everything()
        assert cache.client.pull(NAME, "first") == first.everything()
    origin.client.push(NAME, "first", image)
    assert cache.client.pull(NAME, "first") == image.everything()
    ballast.unlink()

    def is_kept() -> bool:
        assert cache.client.pull(NAME, "late") == image.everything()
        return all(stored(cache, blob.digest) for blob in image.blobs)

    until(is_kept)
