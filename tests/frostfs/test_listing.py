"""Pages of names, without looking at every object below a key."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.frostfs.cluster import Cluster

from lading.storage.frostfs import listing
from lading.storage.frostfs.listing import Page
from lading.storage.frostfs.messages import FILE_PATH, Filter, Info

KEY = "/tags"
HOLDING = "current/link"
LETTERS = st.text("-.0aZ_", min_size=1, max_size=5).filter(lambda name: name not in {".", ".."})
BELOW = st.sampled_from([HOLDING, "index/1/link", "index/2/link", "index/3/link", "index/4/link"])


class Held:
    """Objects, each under a key of its own, and how often they were asked for."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = {hashlib.sha256(path.encode()).digest(): path for path in paths}
        self.known: set[bytes] = set()
        self.asked: Counter[str] = Counter()

    async def search(self, *filters: Filter) -> list[bytes]:
        self.asked["search"] += 1
        ((match, key, value),) = filters[1:]
        assert key == FILE_PATH
        return [
            each for each, path in self.paths.items() if path == value or (match == 4 and path.startswith(value))
        ]

    async def heads(self, ids: list[bytes]) -> list[Info]:
        self.asked["head"] += self.unknown(ids)
        self.known |= set(ids)
        return [Info(each, self.paths[each], 0, b"", 0, b"", b"", False, False, "") for each in ids]

    async def find(self, *filters: Filter, ids: list[bytes] | None = None) -> list[Info]:
        return await self.heads(ids or await self.search(*filters))

    def unknown(self, ids: list[bytes]) -> int:
        return len(set(ids) - self.known)


def page(held: Held, **options: Any) -> Page:
    objects: Any = held
    return Page(objects, KEY, **options)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(LETTERS, BELOW), max_size=60, unique=True),
    st.one_of(st.just(""), LETTERS),
    st.integers(1, 8),
    st.sampled_from(["", HOLDING]),
)
async def test_pages_are_those_of_the_whole(
    entries: list[tuple[str, str]], after: str, limit: int, holding: str
) -> None:
    names = {name for name, below in entries if name > after and (not holding or below == holding)}
    held = Held([f"{KEY}/{name}/{below}" for name, below in entries] + ["/tagged/a/current/link"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "LOOKED_AT", 3)
        patch.setattr(listing, "SAMPLE", 2)
        found = await page(held, after=after, limit=limit, holding=holding).names()
    assert found == (sorted(names)[:limit] if entries else None)


@settings(max_examples=100)
@given(st.lists(LETTERS, max_size=40, unique=True), st.integers(1, 8))
async def test_objects_directly_below(names: list[str], limit: int) -> None:
    held = Held([f"{KEY}/{name}" for name in names])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "LOOKED_AT", 3)
        patch.setattr(listing, "SAMPLE", 2)
        assert await page(held, limit=limit).names() == (sorted(names)[:limit] if names else None)


@pytest.mark.parametrize("named", ["{}", "{:05}", "v1.0.{}", "build-2026-11-29-{:05}-amd64"])
async def test_a_page_of_ten_thousand_takes_what_it_shows(named: str) -> None:
    names = sorted(named.format(number) for number in range(10_000))
    held = Held([f"{KEY}/{name}/{below}" for name in names for below in (HOLDING, "index/1/link")])
    for after in ("", names[5_000], names[-50]):
        held.known.clear()
        held.asked.clear()
        expected = [name for name in names if name > after][:100]
        assert await page(held, after=after, limit=100, holding=HOLDING).names() == expected
        assert held.asked["head"] <= 1_000
        assert held.asked["search"] <= 200
    held.known = set(held.paths)
    held.asked.clear()
    await page(held, limit=100, holding=HOLDING).names()
    assert held.asked["head"] == 0
    assert held.asked["search"] == 1


async def test_over_nodes(cluster: Cluster) -> None:
    storage = cluster.storage()
    names = [f"v{number:04}" for number in range(600)]
    await storage.put_all({f"{KEY}/{name}/{HOLDING}": b"" for name in names})
    fresh = cluster.storage()
    assert await fresh.list(KEY, after="v0199", limit=50, holding=HOLDING) == names[200:250]
    assert cluster.requests["Head"] <= 350
