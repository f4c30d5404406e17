"""Asking an upstream: how long, and who."""

from __future__ import annotations

import asyncio

import pytest
from tests.registry.test_expiry import Nowhere

from lading.registry import pullthrough
from lading.registry.blobs import Blobs
from lading.registry.fills import Fills
from lading.registry.pulls import Pulls
from lading.registry.pullthrough import PullThrough
from lading.registry.sources import Source, Sources
from lading.registry.upstream import DownError, count_nothing
from lading.storage.memory import MemoryStorage


async def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pullthrough, "ANSWER_SECONDS", 0.01)
    storage, source = MemoryStorage(), Source("up", Nowhere())
    fills = Fills(storage, Blobs(storage), count_nothing)
    pulling = PullThrough(storage, Sources([source]), fills, count_nothing, Pulls(storage))

    async def drip() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DownError, match="no whole answer"):
        await pulling.ask(source, "key", drip)
    assert pulling.down(source) is not None
