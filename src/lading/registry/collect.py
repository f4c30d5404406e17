"""Garbage collection while nothing is pushed: what goes and what stays as a value, then its removal.

A manifest stays, and all that it refers to with it, if it is linked in a repository; or, where untagged manifests
are to go, if a tag shows it, if it belongs to an index that stays, or if what it is about (its `subject`) stays.
What is missing keeps nobody from going on; what cannot be read ends the collection before anything is removed.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

from lading.oci import manifest as oci_manifest
from lading.oci.digest import CANONICAL, Digest, InvalidDigestError
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName, Tag, is_tag
from lading.registry import layout, links
from lading.registry.ports import PathNotFoundError, Storage, found
from lading.registry.repositories import Repositories

log = logging.getLogger(__name__)

AT_ONCE = 32
"""Requests to the storage that are under way together."""

_FILED = re.compile(r"(sha256|sha384|sha512)-([0-9a-f]{64,128})(?:\..+)?", re.ASCII)
"""Tags by which clients file what is about a manifest: of the fallback for referrers, and of cosign."""

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
    reasons: list[str] = field(default_factory=list)
    """Why the digest that was asked about stays; empty if it goes."""
    warnings: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """What removing the blobs frees."""
        return sum(size for _, size in self.blobs)


@dataclass(frozen=True, slots=True)
class Wish:
    """`older_than` is in seconds: younger blobs stay. `explain` is a digest to give reasons for."""

    delete_untagged: bool = False
    older_than: float = 0.0
    explain: Digest | None = None


Tell = Callable[[str], None]


async def plan(storage: Storage, wish: Wish, tell: Tell) -> Plan:
    """What a collection would remove now. `tell` is given a line for each thing, as the original prints them.

    Raises `StorageError` where something cannot be read.
    """
    return await _Planner(storage, wish, tell).plan()


async def apply(storage: Storage, made: Plan) -> None:
    """Remove what the plan names. What is gone already is no error. Raises `StorageError`."""
    # Links go before what they lead to: what is left of an interrupted collection is garbage, and nothing else.
    for doomed in made.manifests:
        await _remove_manifest(storage, doomed)
    await _each(partial(_remove_layer, storage), made.layers)
    await _each(partial(_remove_blob, storage), [digest for digest, _ in made.blobs])
    for name in made.empty:
        await _remove_repository(storage, name)


@dataclass(slots=True)
class _Node:
    """A manifest as a repository has it. `data` is the digest under which its bytes lie."""

    digest: Digest
    data: Digest
    children: tuple[Digest, ...] = ()
    blobs: tuple[Digest, ...] = ()
    subject: Digest | None = None
    readable: bool = True


class _Kept(NamedTuple):
    """Why a manifest stays; `as_child` if it is for an index alone."""

    reason: str
    as_child: bool = False


@dataclass(slots=True)
class _Planner:
    storage: Storage
    wish: Wish
    tell: Tell
    made: Plan = field(default_factory=Plan)
    # Eight bytes of a hash stand for it: should two ever be the same, garbage stays.
    marks: set[int] = field(default_factory=set)
    deletable: list[Doomed] = field(default_factory=list)

    async def plan(self) -> Plan:
        names: list[RepositoryName] = []
        async for found_name in Repositories(self.storage).walk(layout.MANIFESTS):
            name = RepositoryName(found_name)
            names.append(name)
            self.tell(name)
            await self._mark_repository(name)
        self._settle()
        self.made.marked = len(self.marks)
        await self._find_blobs()
        await self._find_layers(names)
        self._summarize()
        return self.made

    async def _mark_repository(self, name: RepositoryName) -> None:
        nodes = {node.digest: node for node in await self._nodes(name)}
        shown, tags = await self._tags(name) if self.wish.delete_untagged else ({}, ())
        kept: dict[Digest, _Kept] = {}
        if self.wish.delete_untagged:
            self._keep_tagged(nodes, shown, kept)
        else:
            for digest in nodes:
                self._keep(nodes, digest, "it is linked in the repository", kept)
        for digest, why in kept.items():
            await self._mark_node(name, nodes[digest], why)
        for digest in nodes.keys() - kept.keys():
            going = Doomed(name, digest, tags, tuple(shown.get(digest, ())), nodes[digest].subject)
            self.deletable.append(going)
            self.tell(f"manifest eligible for deletion: {{{name} {digest} [{' '.join(tags)}]}}")
        if not all(nodes[digest].readable for digest in kept):
            await self._mark_all_layers(name)

    def _keep_tagged(
        self, nodes: dict[Digest, _Node], shown: dict[Digest, list[Tag]], kept: dict[Digest, _Kept]
    ) -> None:
        """What tags show; but a tag that files what is about a manifest stays only as that one does."""
        filed_as = {_filed_as(digest.algorithm, digest.encoded): digest for digest in nodes}
        filed: dict[Digest, list[Digest]] = {}
        for digest, tags in shown.items():
            about = {tag: filed_as[_subject_of(tag)] for tag in tags if _subject_of(tag) in filed_as}
            for tag in tags:
                if tag not in about:
                    self._keep(nodes, digest, f"tag {tag} shows it", kept)
            for subject in about.values():
                filed.setdefault(subject, []).append(digest)
        for node in nodes.values():
            if node.subject is not None:
                filed.setdefault(node.subject, []).append(node.digest)
        waiting = list(kept)
        while waiting:
            subject = waiting.pop()
            for digest in filed.get(subject, ()):
                if digest in nodes and digest not in kept:
                    before = len(kept)
                    self._keep(nodes, digest, f"it is about {subject}", kept)
                    waiting += list(kept)[before:]

    def _keep(self, nodes: dict[Digest, _Node], digest: Digest, reason: str, kept: dict[Digest, _Kept]) -> None:
        """With its children, as far as the repository has them."""
        waiting = [(digest, _Kept(reason))]
        while waiting:
            current, why = waiting.pop()
            if current in nodes and current not in kept:
                kept[current] = why
                waiting += [(child, _Kept(f"it belongs to {current}", True)) for child in nodes[current].children]

    async def _mark_node(self, name: RepositoryName, node: _Node, why: _Kept) -> None:
        if not (why.as_child and self.wish.delete_untagged):  # the original tells of it as of a blob
            self.tell(f"{name}: marking manifest {node.digest} ")
        for digest in {node.digest, node.data}:
            self._mark(digest)
            self._explain(digest, f"{name}: {why.reason}")
        for digest in (*node.children, *node.blobs):
            for held in {digest, await self._held(name, digest)}:
                if self._mark(held):
                    self.tell(f"{name}: marking blob {held}")
                self._explain(held, f"{name}: {node.digest} refers to it")

    async def _held(self, name: RepositoryName, digest: Digest) -> Digest:
        """The digest under which the data lies: the original files blobs of other algorithms under SHA-256."""
        if digest.algorithm == CANONICAL:
            return digest
        for key in (layout.layer_link(name, digest), layout.manifest_link(name, digest)):
            linked = await links.read(self.storage, key)
            if linked is not None:
                return linked
        return digest

    async def _mark_all_layers(self, name: RepositoryName) -> None:
        """One of the manifests cannot be understood: nobody knows what it refers to."""
        self.made.warnings.append(f"{name}: a manifest cannot be read; everything linked in the repository stays")
        async for digest in self._linked(f"{layout.repository(name)}/_layers"):
            for held in {digest, await self._held(name, digest)}:
                self._mark(held)
                self._explain(held, f"{name}: a manifest of the repository cannot be read")

    async def _nodes(self, name: RepositoryName) -> list[_Node]:
        digests = [digest async for digest in self._linked(f"{layout.manifests(name)}/revisions")]
        nodes = await _each(lambda digest: self._node(name, digest), digests)
        return [node for node in nodes if node is not None]

    async def _node(self, name: RepositoryName, digest: Digest) -> _Node | None:
        """None if it has gone meanwhile, or its data has."""
        key = layout.manifest_link(name, digest)
        if await found(self.storage, key) is None:
            return None
        data = await links.read(self.storage, key) or digest  # a damaged link: the name says as much
        try:
            content = await self.storage.get(layout.blob_data(data))
        except PathNotFoundError:
            return None
        try:
            read = oci_manifest.read(content)
        except RegistryError:
            self.made.warnings.append(f"{name}: manifest {digest} cannot be understood")
            return _Node(digest, data, readable=False)
        subject = None if read.subject is None else _parsed([read.subject.digest])
        return _Node(
            digest,
            data,
            _parsed(child.digest for child in read.children),
            _parsed(blob.digest for blob in read.blobs),
            subject[0] if subject else None,
        )

    async def _tags(self, name: RepositoryName) -> tuple[dict[Digest, list[Tag]], tuple[Tag, ...]]:
        """The tags by the digest that each shows, and all of them."""
        listed = await self._names(layout.tags(name))
        if listed is None:
            self.tell(f"manifest tags path of repository {name} does not exist")
        tags = tuple(Tag(tag) for tag in listed or () if is_tag(tag))
        shown: dict[Digest, list[Tag]] = {}
        current = await _each(lambda tag: links.read(self.storage, layout.tag_link(name, tag)), tags)
        for tag, digest in zip(tags, current, strict=True):
            if digest is not None:
                shown.setdefault(digest, []).append(tag)
        return shown, tags

    def _settle(self) -> None:
        """What another repository marked stays linked: its content stays anyway, as with the original."""
        self.made.manifests = [doomed for doomed in self.deletable if _key(doomed.digest) not in self.marks]

    async def _find_blobs(self) -> None:
        for algorithm in await self._names(layout.BLOBS) or ():
            for prefix in await self._names(f"{layout.BLOBS}/{algorithm}") or ():
                names = await self._names(f"{layout.BLOBS}/{algorithm}/{prefix}") or ()
                unmarked = [
                    digest for digest in _parsed(f"{algorithm}:{n}" for n in names) if not self._marked(digest)
                ]
                sizes = await _each(self._size, unmarked)
                self.made.blobs += [
                    (digest, size) for digest, size in zip(unmarked, sizes, strict=True) if size is not None
                ]

    async def _size(self, digest: Digest) -> int | None:
        """None if it is to stay for its youth, or has gone."""
        stat = await found(self.storage, layout.blob_data(digest))
        if stat is None:
            return None
        if self.wish.older_than and stat.modified > time.time() - self.wish.older_than:
            self._explain(digest, "it is younger than what is to be removed")
            return None
        return stat.size

    async def _find_layers(self, names: Iterable[RepositoryName]) -> None:
        """Links to what goes, and to what is not there; and the repositories that have nothing else."""
        going = {digest for digest, _ in self.made.blobs}
        leaving: dict[RepositoryName, set[Digest]] = {}
        for doomed in self.made.manifests:
            leaving.setdefault(doomed.repository, set()).add(doomed.digest)
        for name in names:
            empty = True
            async for digest in self._linked(f"{layout.repository(name)}/_layers"):
                held = await self._held(name, digest)
                if self._marked(held) or (
                    held not in going and await found(self.storage, layout.blob_data(held)) is not None
                ):
                    empty = False
                elif await found(self.storage, layout.layer_link(name, digest)) is not None:
                    self.made.layers.append((name, digest))
            if empty and await self._is_left_empty(name, leaving.get(name, set())):
                self.made.empty.append(name)

    async def _is_left_empty(self, name: RepositoryName, leaving: set[Digest]) -> bool:
        async for digest in self._linked(f"{layout.manifests(name)}/revisions"):
            if digest not in leaving and await found(self.storage, layout.manifest_link(name, digest)) is not None:
                return False
        return not (
            await self._names(layout.tags(name), holding=layout.CURRENT_LINK)
            or await self._names(layout.uploads(name))
        )

    def _summarize(self) -> None:
        made = self.made
        self.tell(
            f"\n{made.marked} blobs marked, {len(made.blobs)} blobs and {len(made.manifests)} "
            "manifests eligible for deletion"
        )
        for digest, _ in made.blobs:
            self.tell(f"blob eligible for deletion: {digest}")
        for name, digest in made.layers:
            self.tell(f"{name}: layer link eligible for deletion: {digest}")

    async def _linked(self, directory: str) -> AsyncIterator[Digest]:
        for algorithm in await self._names(directory) or ():
            for digest in _parsed(f"{algorithm}:{n}" for n in await self._names(f"{directory}/{algorithm}") or ()):
                yield digest

    async def _names(self, key: str, holding: str = "") -> Sequence[str] | None:
        """None where there is no such directory."""
        try:
            return await self.storage.list(key, holding=holding)
        except PathNotFoundError:
            return None

    def _mark(self, digest: Digest) -> bool:
        """Whether it was not marked before."""
        before = len(self.marks)
        self.marks.add(_key(digest))
        return len(self.marks) != before

    def _marked(self, digest: Digest) -> bool:
        return _key(digest) in self.marks

    def _explain(self, digest: Digest, reason: str) -> None:
        if digest == self.wish.explain:
            self.made.reasons.append(reason)


async def _remove_manifest(storage: Storage, doomed: Doomed) -> None:
    name, digest = doomed.repository, doomed.digest
    for tag in doomed.shown_by:
        await links.delete(storage, layout.tag_link(name, tag))
        await links.delete(storage, layout.tag(name, tag))
    for tag in doomed.tags:
        key = _directory(layout.tag_history_link(name, tag, digest))
        if await links.delete(storage, key):
            log.info("deleting manifest tag reference: %s", key)
    key = _directory(layout.manifest_link(name, digest))
    log.info("deleting manifest: %s", key)
    await links.delete(storage, key)
    if doomed.subject is not None:
        await links.delete(storage, _directory(layout.referrer_link(name, doomed.subject, digest)))


async def _remove_layer(storage: Storage, layer: tuple[RepositoryName, Digest]) -> None:
    key = layout.layer_link(*layer)
    log.info("Deleting layer link path: %s", key)
    await links.delete(storage, _directory(key))


async def _remove_blob(storage: Storage, digest: Digest) -> None:
    key = _directory(layout.blob_data(digest))
    log.info("Deleting blob: %s", key)
    await links.delete(storage, key)


async def _remove_repository(storage: Storage, name: RepositoryName) -> None:
    """Repositories whose names begin with this one's lie below it, and stay."""
    log.info("Deleting empty repository: %s", name)
    for part in (layout.MANIFESTS, "_layers", "_referrers", layout.UPLOADS):
        await links.delete(storage, f"{layout.repository(name)}/{part}")
    try:
        if not await storage.list(layout.repository(name), limit=1):
            await storage.delete(layout.repository(name))
    except PathNotFoundError:
        return


async def _each(work: Callable[[A], Coroutine[Any, Any, B]], items: Sequence[A]) -> list[B]:
    """`work` for each item, some at a time. The first error is raised."""
    done: list[B] = []
    for start in range(0, len(items), AT_ONCE):
        done += await asyncio.gather(*map(work, items[start : start + AT_ONCE]))
    return done


def _parsed(texts: Iterable[str]) -> tuple[Digest, ...]:
    """What is no digest names no content here."""
    digests = []
    for text in texts:
        try:
            digests.append(Digest.parse(text))
        except InvalidDigestError:
            continue
    return tuple(digests)


def _key(digest: Digest) -> int:
    return int(digest.encoded[:16], 16)


def _filed_as(algorithm: str, encoded: str) -> str:
    return f"{algorithm}-{encoded[:64]}"


def _subject_of(tag: Tag) -> str:
    match = _FILED.fullmatch(tag)
    return "" if match is None else _filed_as(match[1], match[2])


def _directory(link: str) -> str:
    return link.rpartition("/")[0]
