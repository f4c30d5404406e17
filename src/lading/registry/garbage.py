"""What a collection is asked for, and what it would remove: the values that mark, collect and tell of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lading.oci.digest import Digest
from lading.oci.names import RepositoryName, Tag
from lading.registry.quarantine import Batch

AT_ONCE = 32
"""Requests to the storage that are under way together."""

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Doomed:
    """A manifest that goes from its repository."""

    repository: RepositoryName
    digest: Digest
    tags: tuple[Tag, ...]
    """All that the repository has: their histories may name it."""
    shown_by: tuple[Tag, ...]
    """Of these, those that show it, and go with it: they file what is about another that goes."""
    subject: Digest | None


@dataclass(slots=True)
class Plan:
    """What is to be removed. `marked` counts the content that stays."""

    marked: int = 0
    manifests: list[Doomed] = field(default_factory=list)
    blobs: list[tuple[Digest, int]] = field(default_factory=list)
    """With their sizes in bytes."""
    layers: list[tuple[RepositoryName, Digest]] = field(default_factory=list)
    """Links of repositories to blobs that go."""
    empty: list[RepositoryName] = field(default_factory=list)
    """Repositories in which nothing will be left."""
    bare: list[RepositoryName] = field(default_factory=list)
    """Repositories in which no manifest will be left: they leave the catalog, with what they may hold besides."""
    reasons: list[str] = field(default_factory=list)
    """Why the digest that was asked about stays; empty if it goes."""
    warnings: list[str] = field(default_factory=list)
    restore: list[tuple[Batch, str]] = field(default_factory=list)
    """What lies in quarantine though it is needed, with the key it belongs under."""

    @property
    def things(self) -> int:
        """How many removals it takes, empty repositories aside."""
        return len(self.manifests) + len(self.layers) + len(self.blobs)

    @property
    def bytes(self) -> int:
        """What removing the blobs frees."""
        return sum(size for _, size in self.blobs)


def never(_: str) -> bool:
    return False


def no_tag(_name: str, _tag: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Wish:
    """`older_than` is in seconds: blobs stay that are younger, or that were linked since; and younger manifests.

    `explain` is a digest to give reasons for. With `every_tag` no tag goes with what it is about. Repositories in
    which `whole` is true keep their untagged manifests. Tags that are `immutable` stay, whatever they file.
    """

    delete_untagged: bool = False
    older_than: float = 0.0
    explain: Digest | None = None
    every_tag: bool = False
    whole: Callable[[str], bool] = never
    immutable: Callable[[str, str], bool] = no_tag


Tell = Callable[[str], None]


def unheard(_: int) -> None:
    return


async def each(
    work: Callable[[A], Coroutine[Any, Any, B]],
    items: Sequence[A],
    advance: Callable[[int], None] = unheard,
    *,
    at_once: int = AT_ONCE,
) -> list[B]:
    """`work` for each item, `at_once` together. Raises the first error. `advance` hears how many more are done."""
    done: list[B] = []
    for start in range(0, len(items), at_once):
        together = items[start : start + at_once]
        done += await asyncio.gather(*map(work, together))
        advance(len(together))
    return done
