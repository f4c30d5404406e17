"""Marking: what is reachable, and so what is not.

A manifest stays, and all that it refers to with it, if it is linked in a repository; or, where untagged manifests
are to go, if a tag shows it, if it belongs to an index that stays, or if what it is about (its `subject`) stays.
What is missing keeps nobody from going on; what cannot be read ends it before anything is removed.

What lies in quarantine is looked at as if it lay where it was: what of it is reachable is to be brought back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lading.oci import manifest as oci_manifest
from lading.oci.digest import CANONICAL, Digest, InvalidDigestError
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName, Tag, is_tag
from lading.registry import filing, layout, links
from lading.registry.garbage import Doomed, Plan, Tell, Wish, each
from lading.registry.marks import Marks
from lading.registry.ports import PathNotFoundError, Stat, Storage, found
from lading.registry.quarantine import Batch, Quarantine
from lading.registry.repositories import Repositories


@dataclass(slots=True)
class _Node:
    """A manifest as a repository has it. `data` is the digest under which its bytes lie."""

    digest: Digest
    data: Digest
    children: tuple[Digest, ...] = ()
    blobs: tuple[Digest, ...] = ()
    subject: Digest | None = None
    readable: bool = True
    modified: float = 0.0
    batch: Batch | None = None
    """Where its link lies, if that is in quarantine."""


class _Kept(NamedTuple):
    """Why a manifest stays; `as_child` if it is for an index alone."""

    reason: str
    as_child: bool = False


Breathe = Callable[[], Awaitable[None]]


async def _give_way() -> None:
    """Whoever shares the event loop is not to wait for all of a large repository."""
    await asyncio.sleep(0)


@dataclass(slots=True)
class Marking:
    """`batches` are those whose content may be brought back, `now` is in seconds since 1970."""

    storage: Storage
    wish: Wish
    tell: Tell
    batches: Sequence[Batch] = ()
    now: float = field(default_factory=time.time)
    breathe: Breathe = _give_way
    """Is called often: who does other things, too, may then have time for them."""
    made: Plan = field(default_factory=Plan)
    marks: Marks = field(default_factory=Marks)
    deletable: list[Doomed] = field(default_factory=list)
    aside: dict[tuple[str, str], dict[Digest, Batch]] = field(default_factory=dict)
    """Links in quarantine, by the repository and the directory they belong in."""

    async def plan(self) -> Plan:
        """Raises `StorageError` where something cannot be read."""
        await self._look_aside()
        names: list[RepositoryName] = []
        async for found_name in Repositories(self.storage).walk(layout.MANIFESTS):
            name = RepositoryName(found_name)
            names.append(name)
            self.tell(name)
            if not await self._mark_repository(name):
                self.made.bare.append(name)
            await self.breathe()
        if self.wish.older_than:
            # A push may have begun in a repository that has no manifest yet.
            seen = set(names)
            async for found_name in Repositories(self.storage).walk(layout.LAYERS):
                if found_name not in seen:
                    await self._mark_young_layers(RepositoryName(found_name), set())
        self._settle()
        self.made.marked = len(self.marks)
        await self._find_blobs()
        await self._find_aside()
        await self._find_layers(names)
        self._summarize()
        return self.made

    async def _mark_repository(self, name: RepositoryName) -> bool:
        """Whether a manifest stays there."""
        nodes = {node.digest: node for node in await self._nodes(name)}
        untagged_go = self._untagged_go(name)
        shown, tags = await self._tags(name) if untagged_go else ({}, ())
        kept: dict[Digest, _Kept] = {}
        if untagged_go:
            for node in nodes.values():
                if self._is_young(node.modified):
                    self._keep(nodes, node.digest, "it is younger than what is to be removed", kept)
            self._keep_tagged(name, nodes, shown, kept)
        else:
            for digest, node in nodes.items():
                if node.batch is None:
                    self._keep(nodes, digest, "it is linked in the repository", kept)
            if any(node.batch is not None for node in nodes.values()):
                for digest, showing in (await self._tags(name))[0].items():
                    self._keep(nodes, digest, f"tag {showing[0]} shows it", kept)
        for digest, why in kept.items():
            await self.breathe()
            await self._mark_node(name, nodes[digest], why)
        for digest in (digest for digest in nodes.keys() - kept.keys() if nodes[digest].batch is None):
            going = Doomed(name, digest, tags, tuple(shown.get(digest, ())), nodes[digest].subject)
            self.deletable.append(going)
            self.tell(f"manifest eligible for deletion: {{{name} {digest} [{' '.join(tags)}]}}")
        if not all(nodes[digest].readable for digest in kept):
            await self._mark_all_layers(name)
        elif self.wish.older_than:
            await self._mark_young_layers(name, {blob for digest in kept for blob in nodes[digest].blobs})
        return bool(kept)

    def _keep_tagged(
        self,
        name: RepositoryName,
        nodes: dict[Digest, _Node],
        shown: dict[Digest, list[Tag]],
        kept: dict[Digest, _Kept],
    ) -> None:
        """What tags show; but a tag that files what is about a manifest stays only as that one does."""
        filed_as = {filing.place(digest): digest for digest in nodes}
        filed: dict[Digest, list[Digest]] = {}
        for digest, tags in shown.items():
            about = {} if self.wish.every_tag else self._filed(name, tags, filed_as)
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

    def _filed(self, name: RepositoryName, tags: list[Tag], filed_as: dict[str, Digest]) -> dict[Tag, Digest]:
        """What is about a manifest, and need not stay for itself."""
        places = {tag: filing.place_of(tag) for tag in tags if not self.wish.immutable(name, tag)}
        return {tag: filed_as[place] for tag, place in places.items() if place in filed_as}

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
        if node.batch is not None:
            self.made.restore.append((node.batch, layout.manifest_link(name, node.digest)))
        if node.subject is not None:
            # It may be away though the manifest has come back.
            link = layout.referrer_link(name, node.subject, node.digest)
            self.made.restore += [(batch, link) for batch in self.batches]
        aside = self.aside.get((name, layout.LAYERS), {})
        for digest in node.blobs:
            if digest in aside:
                self.made.restore.append((aside[digest], layout.layer_link(name, digest)))
        for digest in {node.digest, node.data}:
            self.marks.add(digest)
            self._explain(digest, f"{name}: {why.reason}")
        for digest in (*node.children, *node.blobs):
            for held in {digest, await self._held(name, digest)}:
                if self.marks.add(held):
                    self.tell(f"{name}: marking blob {held}")
                self._explain(held, f"{name}: {node.digest} refers to it")

    async def _held(self, name: RepositoryName, digest: Digest) -> Digest:
        """The digest under which the data lies: the original files blobs of other algorithms under SHA-256."""
        if digest.algorithm == CANONICAL:
            return digest
        for key in (layout.layer_link(name, digest), layout.manifest_link(name, digest)):
            linked = _digest_in(await self._get(key))
            if linked is not None:
                return linked
        return digest

    async def _mark_all_layers(self, name: RepositoryName) -> None:
        """One of the manifests cannot be understood: nobody knows what it refers to."""
        self.made.warnings.append(f"{name}: a manifest cannot be read; everything linked in the repository stays")
        aside = self.aside.get((name, layout.LAYERS), {})
        self.made.restore += [(batch, layout.layer_link(name, digest)) for digest, batch in aside.items()]
        linked = [digest async for digest, _ in self._layers(name)]
        for digest in (*aside, *linked):
            for held in {digest, await self._held(name, digest)}:
                self.marks.add(held)
                self._explain(held, f"{name}: a manifest of the repository cannot be read")

    async def _mark_young_layers(self, name: RepositoryName, needed: set[Digest]) -> None:
        """Somebody may be about to push the manifest that they are for."""
        async for digest, stat in self._layers(name):
            if digest in needed:
                continue
            link = stat or await found(self.storage, layout.layer_link(name, digest))
            if link is not None and self._is_young(link.modified):
                held = await self._held(name, digest)
                self.marks.add(held)
                self._explain(held, f"{name}: its link is younger than what is to be removed")

    async def _nodes(self, name: RepositoryName) -> list[_Node]:
        aside = self.aside.get((name, layout.MANIFESTS), {})
        linked = [digest async for digest in self._linked(f"{layout.manifests(name)}/revisions")]
        digests = list(dict.fromkeys((*linked, *aside)))
        nodes = await each(lambda digest: self._node(name, digest, aside.get(digest)), digests)
        return [node for node in nodes if node is not None]

    async def _node(self, name: RepositoryName, digest: Digest, batch: Batch | None) -> _Node | None:
        """None if it has gone meanwhile, or its data has."""
        key = layout.manifest_link(name, digest)
        link = await self._at(key)
        if link is None and batch is None:
            return None
        # Of a damaged link the name says as much.
        data = _digest_in(link or await self._get(key)) or digest
        content = await self._get(layout.blob_data(data))
        if content is None:
            return None
        modified = 0.0
        if link is not None:
            batch = None
            if self._untagged_go(name) and self.wish.older_than:
                stat = await found(self.storage, key)
                modified = self.now if stat is None else stat.modified
        try:
            read = oci_manifest.read(content)
        except RegistryError:
            self.made.warnings.append(f"{name}: manifest {digest} cannot be understood")
            return _Node(digest, data, readable=False, modified=modified, batch=batch)
        subject = None if read.subject is None else _parsed([read.subject.digest])
        return _Node(
            digest,
            data,
            _parsed(child.digest for child in read.children),
            _parsed(blob.digest for blob in read.blobs),
            subject[0] if subject else None,
            modified=modified,
            batch=batch,
        )

    async def _get(self, key: str) -> bytes | None:
        """What lies there, or in quarantine."""
        # Once more where it belongs: it may have been brought back between the looks.
        for place in (key, *(batch.key_of(key) for batch in self.batches), *([key] if self.batches else [])):
            if (content := await self._at(place)) is not None:
                return content
        return None

    async def _at(self, key: str) -> bytes | None:
        try:
            return await self.storage.get(key)
        except PathNotFoundError:
            return None

    def _untagged_go(self, name: RepositoryName) -> bool:
        return self.wish.delete_untagged and not self.wish.whole(name)

    def _is_young(self, modified: float) -> bool:
        return bool(self.wish.older_than) and modified > self.now - self.wish.older_than

    async def _tags(self, name: RepositoryName) -> tuple[dict[Digest, list[Tag]], tuple[Tag, ...]]:
        """The tags by the digest that each shows, and all of them."""
        listed = await self._names(layout.tags(name))
        if listed is None:
            self.tell(f"manifest tags path of repository {name} does not exist")
        tags = tuple(Tag(tag) for tag in listed or () if is_tag(tag))
        shown: dict[Digest, list[Tag]] = {}
        current = await each(lambda tag: links.read(self.storage, layout.tag_link(name, tag)), tags)
        for tag, digest in zip(tags, current, strict=True):
            if digest is not None:
                shown.setdefault(digest, []).append(tag)
        return shown, tags

    async def _look_aside(self) -> None:
        for batch in self.batches:
            async for key, _ in Quarantine(self.storage).entries(batch):
                link = layout.link_of(key)
                if link is not None:
                    self.aside.setdefault(link[:2], {})[link[2]] = batch

    async def _find_aside(self) -> None:
        for batch in self.batches:
            async for key, _ in Quarantine(self.storage).entries(batch):
                digest = layout.blob_of(key)
                if digest is not None and digest in self.marks:
                    self.made.restore.append((batch, key))

    def _settle(self) -> None:
        """What another repository marked stays linked: its content stays anyway, as with the original."""
        self.made.manifests = [
            doomed for doomed in self.deletable if self.wish.every_tag or doomed.digest not in self.marks
        ]

    async def _find_blobs(self) -> None:
        if not self.storage.traits.flat:
            await self._find_blobs_in_directories()
            return
        # Directories would be a request each, and there are many with little in them.
        unmarked: list[tuple[Digest, Stat | None]] = []
        async for key, stat in self.storage.walk(layout.BLOBS):
            digest = layout.blob_of(key)
            if digest is not None and digest not in self.marks:
                unmarked.append((digest, stat))
        await self._add_blobs(unmarked)

    async def _find_blobs_in_directories(self) -> None:
        for algorithm in await self._names(layout.BLOBS) or ():
            for prefix in await self._names(f"{layout.BLOBS}/{algorithm}") or ():
                names = await self._names(f"{layout.BLOBS}/{algorithm}/{prefix}") or ()
                digests = _parsed(f"{algorithm}:{n}" for n in names)
                await self._add_blobs([(digest, None) for digest in digests if digest not in self.marks])
                await self.breathe()

    async def _add_blobs(self, unmarked: Sequence[tuple[Digest, Stat | None]]) -> None:
        sizes = await each(self._size, unmarked)
        self.made.blobs += [
            (digest, size) for (digest, _), size in zip(unmarked, sizes, strict=True) if size is not None
        ]

    async def _size(self, blob: tuple[Digest, Stat | None]) -> int | None:
        """None if it is to stay for its youth, or has gone."""
        digest, stat = blob
        stat = stat or await found(self.storage, layout.blob_data(digest))
        if stat is None:
            return None
        if self._is_young(stat.modified):
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
            async for digest, stat in self._layers(name):
                held = await self._held(name, digest)
                if held in self.marks or (
                    held not in going and await found(self.storage, layout.blob_data(held)) is not None
                ):
                    empty = False
                elif stat or await found(self.storage, layout.layer_link(name, digest)) is not None:
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

    async def _layers(self, name: RepositoryName) -> AsyncIterator[tuple[Digest, Stat | None]]:
        """The blobs that are linked, and what is known of the link."""
        directory = f"{layout.repository(name)}/{layout.LAYERS}"
        if not self.storage.traits.flat:
            async for digest in self._linked(directory):
                yield digest, None
            return
        async for key, stat in self.storage.walk(directory):
            if (link := layout.link_of(key)) is not None:
                yield link[2], stat

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

    def _explain(self, digest: Digest, reason: str) -> None:
        if digest == self.wish.explain:
            self.made.reasons.append(reason)


def _parsed(texts: Iterable[str]) -> tuple[Digest, ...]:
    """What is no digest names no content here."""
    digests = []
    for text in texts:
        try:
            digests.append(Digest.parse(text))
        except InvalidDigestError:
            continue
    return tuple(digests)


def _digest_in(link: bytes | None) -> Digest | None:
    digests = () if link is None else _parsed([link.decode("ascii", "replace")])
    return digests[0] if digests else None
