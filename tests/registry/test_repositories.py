"""The walk through all repositories, against a plain sorted list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from hypothesis import given
from hypothesis import strategies as st

from lading.registry import layout
from lading.registry.ports import Steps, Storage
from lading.registry.repositories import PAGE, Repositories
from lading.storage.memory import MemoryStorage

T = TypeVar("T")

components = st.sampled_from(["0", "1a", "B", "a", "a-b", "a.b", "a_b", "b", "z9"])
names = st.lists(components, min_size=1, max_size=4).map("/".join)


@dataclass
class Answering:
    """Answers as many of the keys as `counts` says, in turn."""

    tree: dict[str, set[str]]
    counts: list[int]
    asked: list[str] = field(default_factory=list)

    async def explore(self, steps: Steps[T]) -> T:
        try:
            keys = next(steps)
            while True:
                count = self.counts[len(self.asked) % len(self.counts)]
                self.asked += keys[:count]
                keys = steps.send([sorted(self.tree.get(key, ())) for key in keys[:count]])
        except StopIteration as end:
            return cast(T, end.value)


def tree(repositories: set[str], others: set[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name in repositories | others:
        parent = layout.REPOSITORIES
        for part in [*name.split("/"), layout.MANIFESTS if name in repositories else "_layers"]:
            found.setdefault(parent, set()).add(part)
            parent = f"{parent}/{part}"
    return found


def place(name: str) -> list[str]:
    return [*name.split("/"), layout.MANIFESTS]


@given(
    st.sets(names, max_size=15),
    st.sets(names, max_size=5),
    st.just("") | names,
    st.integers(1, 8),
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
)
async def test_a_page(repositories: set[str], others: set[str], after: str, limit: int, counts: list[int]) -> None:
    storage = Answering(tree(repositories, others), counts)
    found, more = await Repositories(cast(Storage, storage)).page(after=after, limit=limit)
    expected = sorted((name for name in repositories if not after or place(name) > place(after)), key=place)
    assert (found, more) == (expected[:limit], len(expected) > limit)
    assert len(storage.asked) == len(set(storage.asked)), "a directory was listed twice"


async def test_a_page_lists_only_what_it_shows() -> None:
    repositories = {f"{team:03}/{number:03}" for team in range(50) for number in range(50)}
    storage = Answering(tree(repositories, set()), [1])
    found, more = await Repositories(cast(Storage, storage)).page(after="025/048", limit=2)
    assert (found, more) == (["025/049", "026/000"], True)
    # The root, the two teams, the one that was last, the two, and the one that tells that there are more.
    assert len(storage.asked) == 7


async def test_the_whole_walk_goes_page_by_page() -> None:
    storage = MemoryStorage()
    expected = [f"r{number:04}" for number in range(PAGE + 3)]
    for name in expected:
        await storage.put(f"{layout.uploads(name)}/id/data", b"")
    await storage.put(f"{layout.REPOSITORIES}/_uploads/stray", b"")
    assert [name async for name in Repositories(storage).walk(layout.UPLOADS)] == expected


async def test_nothing_to_walk_through() -> None:
    nothing: Sequence[str] = []
    assert await Repositories(MemoryStorage()).page(after="", limit=1) == (nothing, False)
