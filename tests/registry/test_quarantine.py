"""What is in quarantine is out of the registry, and can be brought back (decision 0010)."""

from __future__ import annotations

import asyncio

import pytest
from tests.wire.compositions import dump
from tests.wire.storages import Watched

from lading.oci.digest import Digest
from lading.oci.names import RepositoryName
from lading.registry import layout, links
from lading.registry.ports import PathNotFoundError
from lading.registry.quarantine import COLLECTED, CORRUPT, Batch, Quarantine
from lading.registry.registry import Registry

NAME = RepositoryName("data/link")  # as awkward as names can be here
CONTENT = b"a layer"
DIGEST = Digest.of(CONTENT)
BLOB, LINK = layout.blob_data(DIGEST), layout.layer_link(NAME, DIGEST)


@pytest.fixture
async def quarantine(watched: Watched) -> Quarantine:
    await watched.put(BLOB, CONTENT)
    await watched.put(LINK, links.content(DIGEST))
    return Quarantine(watched)


async def test_there_and_back(quarantine: Quarantine, watched: Watched, registry: Registry) -> None:
    before = await dump(watched.inner)
    batch = await quarantine.begin(COLLECTED)
    await quarantine.put_away(batch, BLOB)
    await quarantine.put_away(batch, LINK)
    assert [name async for name in registry.repositories.walk("_layers")] in ([], [NAME])  # a directory may stay
    assert set(await dump(watched.inner)) & set(before) == set()
    assert {key async for key, _ in quarantine.entries(batch)} == {BLOB, LINK}
    assert await quarantine.rescue(BLOB)
    assert await quarantine.restore(batch, LINK)
    assert not await quarantine.restore(batch, LINK), "it is not there twice"
    assert [key async for key, _ in quarantine.entries(batch)] == []
    await quarantine.discard(batch)
    await quarantine.discard(batch)
    assert await dump(watched.inner) == before
    assert watched.astray == []


async def test_discarding_takes_what_was_not_brought_back(quarantine: Quarantine, watched: Watched) -> None:
    kept, gone = await quarantine.begin(COLLECTED), await quarantine.begin(COLLECTED)
    await quarantine.put_away(kept, LINK)
    await quarantine.put_away(gone, BLOB)
    await quarantine.discard(gone)
    assert await quarantine.batches() == [kept]
    assert not await quarantine.rescue(BLOB)
    assert await quarantine.rescue(LINK)
    with pytest.raises(PathNotFoundError):
        await quarantine.put_away(kept, BLOB)
    assert await watched.get(LINK) == links.content(DIGEST)


async def test_what_is_corrupt_is_brought_back_by_hand_alone(quarantine: Quarantine, watched: Watched) -> None:
    batch = await quarantine.begin(CORRUPT)
    await quarantine.put_away(batch, BLOB)
    assert await quarantine.batches(COLLECTED) == []
    assert not await quarantine.rescue(BLOB)
    assert await quarantine.restore(batch, BLOB)
    assert await watched.get(BLOB) == CONTENT


async def test_all_who_miss_something_at_once_get_it(quarantine: Quarantine, watched: Watched) -> None:
    await quarantine.put_away(await quarantine.begin(COLLECTED), BLOB)
    assert await asyncio.gather(*(Quarantine(watched).rescue(BLOB) for _ in range(8))) == [True] * 8
    assert await watched.get(BLOB) == CONTENT


async def test_a_miss_costs_one_listing_now_and_then(quarantine: Quarantine, watched: Watched) -> None:
    missing = layout.blob_data(Digest.of(b"missing"))
    watched.calls.clear()
    for _ in range(3):
        assert not await quarantine.rescue(missing)
    assert watched.calls == [("list", layout.QUARANTINE)]


async def test_batches_are_told_by_their_names(quarantine: Quarantine, watched: Watched) -> None:
    first = await quarantine.begin(COLLECTED)
    last = await quarantine.begin(CORRUPT)
    for stray in ("lost-found", "20261399T250000.000000Z.collected", "20260131T120000.000000Z."):
        await watched.put(f"{layout.QUARANTINE}/{stray}/x", b"")
    assert await quarantine.batches() == [first, last]
    assert (first.reason, last.reason) == (COLLECTED, CORRUPT)
    assert first.begun <= last.begun
    batch = Batch.named("20260131T120000.250000Z.collected")
    assert batch is not None
    assert batch.begun == 1769860800.25
