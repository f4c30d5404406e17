"""What is pulled through does not stay for ever: it goes by age, and where it takes too much, least recently
pulled first.

The unit is a manifest. A blob stays as long as a manifest of its repository that stays needs it, whatever its own
age; and its data as long as any repository holds it. The storage says it all: the age of a link is that of what it
shows, the age of a mark in `_pulled` the time since the last pull.

The schedule at the root of the storage is the original's: what it says of the end of an object counts, and when a
registry is stopped the original finds there what it expects.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from lading.oci import manifest as oci_manifest
from lading.oci.digest import HEX_DIGITS, Digest
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName, is_tag
from lading.registry import layout, links
from lading.registry.blobs import Blobs
from lading.registry.ports import Descriptors, PathNotFoundError, Storage, StorageError, found
from lading.registry.quarantine import EXPIRED, Batch, Quarantine
from lading.registry.repositories import Repositories
from lading.registry.sources import Source, Sources

log = logging.getLogger(__name__)

FULL_SECONDS = 60.0
"""How often it is looked whether what is pulled through takes too much."""

SETTLE_SECONDS = 1.0
"""Content that nobody seems to hold is put aside so long before it is gone: somebody may just be linking it."""

ABANDONED_SECONDS = 3600.0
"""What was put aside so long ago has been forgotten by a process that is no more."""

BLOB, MANIFEST = 0, 1
"""The kinds of entries of the schedule."""


@dataclass(slots=True)
class _Held:
    """A link of a repository. Times are in seconds since 1970."""

    name: str
    digest: Digest
    since: float
    size: int = 0
    pulled: float = 0.0
    needs: frozenset[str] = frozenset()
    """Digests of the blobs and manifests that a manifest refers to."""


@dataclass(slots=True)
class _Repository:
    name: RepositoryName
    manifests: dict[str, _Held] = field(default_factory=dict)
    blobs: dict[str, _Held] = field(default_factory=dict)


class Expiry:
    """To be run in one process. `schedule` turns the original's file on, for an upstream that has all names."""

    def __init__(
        self,
        storage: Storage,
        sources: Sources,
        *,
        schedule: bool,
        clock: Callable[[], float] = time.time,
        settle: Callable[[], Awaitable[None]] | None = None,
        descriptors: Descriptors | None = None,
    ) -> None:
        self._storage = storage
        self._blobs = Blobs(storage, descriptors=descriptors)
        self._sources = sources
        self._schedule = schedule
        self._clock = clock
        self._settle = settle or _settle

    @property
    def interval(self) -> float | None:
        """Seconds between two rounds; None if nothing ever goes."""
        wanted = [min(max(source.ttl / 20, 1.0), 600.0) for source in self._sources.all() if source.ttl > 0]
        wanted += [FULL_SECONDS for source in self._sources.all() if source.max_bytes]
        return min(wanted, default=None)

    async def run(self) -> None:
        """Until cancelled; the schedule is then written once more."""
        interval = self.interval
        if interval is None:
            await asyncio.Event().wait()
            return
        log.info("Starting cached object TTL expiration scheduler...")
        try:
            while True:
                try:
                    await self.round()
                except StorageError as error:
                    log.error("cannot expire cached content: %s", error)
                await asyncio.sleep(interval)
        finally:
            await asyncio.shield(self._write_down())

    async def round(self) -> None:
        """Take away what is too old or too much. Raises `StorageError`."""
        ends = await self._read_schedule()
        gone: set[str] = set()
        for source in self._sources.all():
            repositories = [each async for each in self._repositories(source)]
            if source.ttl > 0:
                for repository in repositories:
                    gone |= await self._expire(source, repository, ends)
            if source.max_bytes:
                gone |= await self._shrink(source, repositories)
            for repository in repositories:
                if not repository.manifests:
                    await Repositories(self._storage).leave(repository.name)
        await self._forget(gone)
        await self._write_down()

    # -- by age

    def _end(self, source: Source, held: _Held, ends: dict[str, float]) -> float:
        end = held.since + source.ttl
        told = ends.get(f"{held.name}@{held.digest}", 0.0)
        # What was fetched again since is not meant.
        return min(end, told) if told > held.since else end

    async def _expire(self, source: Source, repository: _Repository, ends: dict[str, float]) -> set[str]:
        now = self._clock()
        gone: set[str] = set()
        old = {held.digest for held in repository.manifests.values() if self._end(source, held, ends) <= now}
        # A younger index needs its children, however old they are.
        stay = [held for held in repository.manifests.values() if held.digest not in old]
        for held in stay:
            stay += [repository.manifests[digest] for digest in held.needs & old]
            old -= held.needs
        for held in list(repository.manifests.values()):
            if held.digest in old:
                await self._remove_manifest(repository, held)
                gone.add(held.digest)
        needed = {digest for held in repository.manifests.values() for digest in held.needs}
        for held in list(repository.blobs.values()):
            if held.digest not in needed and self._end(source, held, ends) <= now:
                await self._remove_blob(repository, held)
                gone.add(held.digest)
        return gone

    # -- by size

    async def _shrink(self, source: Source, repositories: list[_Repository]) -> set[str]:
        sizes: dict[str, int] = {}
        holders: dict[str, int] = {}
        for repository in repositories:
            for held in [*repository.manifests.values(), *repository.blobs.values()]:
                sizes[held.digest] = held.size
                holders[held.digest] = holders.get(held.digest, 0) + 1
        excess = sum(sizes.values()) - source.max_bytes
        gone: set[str] = set()
        oldest = [(held.pulled, repository, held) for repository in repositories for held in _units(repository)]
        for _, repository, held in sorted(oldest, key=lambda each: each[0]):
            if excess <= 0:
                break
            removed = [held.digest]
            if held.digest in repository.manifests:
                await self._remove_manifest(repository, held)
                needed = {digest for other in repository.manifests.values() for digest in other.needs}
                for digest in held.needs - needed:
                    if digest in repository.blobs:
                        await self._remove_blob(repository, repository.blobs[digest])
                        removed.append(Digest(digest))
            elif held.digest in repository.blobs:
                await self._remove_blob(repository, held)
            for digest in removed:
                gone.add(digest)
                holders[digest] -= 1
                excess -= 0 if holders[digest] else sizes[digest]
        return gone

    # -- taking away

    async def _remove_manifest(self, repository: _Repository, held: _Held) -> None:
        name = repository.name
        log.info("cached manifest %s of %s expires", held.digest, name)
        await self._blobs.forget(name, Digest(held.digest))
        async with self._storage.hold(layout.manifests(name), shared=False):
            for tag in await self._names(layout.tags(name)):
                link = f"{layout.tags(name)}/{tag}/{layout.CURRENT_LINK}"
                if is_tag(tag) and await links.read(self._storage, link) == held.digest:
                    await links.delete(self._storage, link)
                    await links.delete(self._storage, f"{layout.tags(name)}/{tag}")
            await links.delete(self._storage, layout.manifest_link(name, held.digest))
        await self._blobs.forget(name, Digest(held.digest))
        await links.delete(self._storage, layout.pulled(name, held.digest))
        del repository.manifests[held.digest]

    async def _remove_blob(self, repository: _Repository, held: _Held) -> None:
        log.info("cached blob %s of %s expires", held.digest, repository.name)
        with contextlib.suppress(RegistryError):  # somebody else was faster
            await self._blobs.delete(repository.name, Digest(held.digest))
        del repository.blobs[held.digest]

    async def _forget(self, digests: set[str]) -> None:
        """Delete the data of what no repository holds any more."""
        quarantine = Quarantine(self._storage)
        for batch in await quarantine.batches(EXPIRED):
            if self._clock() - batch.begun > ABANDONED_SECONDS:
                await self._finish(quarantine, batch)
        unheld = await self._unheld({Digest(digest) for digest in digests})
        if not unheld:
            return
        batch = await quarantine.begin(EXPIRED)
        for digest in unheld:
            with contextlib.suppress(PathNotFoundError):
                await quarantine.put_away(batch, layout.blob_data(digest))
        await self._settle()
        await self._finish(quarantine, batch)

    async def _finish(self, quarantine: Quarantine, batch: Batch) -> None:
        """What somebody has linked meanwhile, or before this process began, comes back."""
        entries = [key async for key, _ in quarantine.entries(batch)]
        digests = {key: digest for key in entries if (digest := layout.blob_of(key)) is not None}
        unheld = await self._unheld(set(digests.values()))
        for key, digest in digests.items():
            if digest not in unheld:
                await quarantine.restore(batch, key)
        await quarantine.discard(batch)

    async def _unheld(self, digests: set[Digest]) -> set[Digest]:
        """Those that no repository links, of this registry's own as of cached ones."""
        left = set(digests)
        if not left:
            return left
        for marker in (layout.MANIFESTS, layout.LAYERS):
            async for name in Repositories(self._storage).walk(marker):
                repository = RepositoryName(name)
                for digest in list(left):
                    for key in (layout.layer_link(repository, digest), layout.manifest_link(repository, digest)):
                        if await found(self._storage, key) is not None:
                            left.discard(digest)
        return left

    # -- what there is

    async def _repositories(self, source: Source) -> AsyncIterator[_Repository]:
        names: set[str] = set()
        for marker in (layout.MANIFESTS, layout.LAYERS):
            async for name in Repositories(self._storage).walk(marker):
                if name not in names and self._sources.of(name) is source:
                    names.add(name)
                    yield await self._repository(RepositoryName(name), source)

    async def _repository(self, name: RepositoryName, source: Source) -> _Repository:
        repository = _Repository(name)
        for algorithm in HEX_DIGITS:
            for encoded in await self._names(layout.revisions(name, algorithm)):
                digest = Digest(f"{algorithm}:{encoded}")
                held = await self._held(name, digest, layout.manifest_link(name, digest), source)
                if held is not None:
                    held.needs = await self._needs(digest)
                    repository.manifests[digest] = held
            for encoded in await self._names(layout.layers(name, algorithm)):
                digest = Digest(f"{algorithm}:{encoded}")
                held = await self._held(name, digest, layout.layer_link(name, digest), source)
                if held is not None:
                    repository.blobs[digest] = held
        return repository

    async def _held(self, name: RepositoryName, digest: Digest, link: str, source: Source) -> _Held | None:
        there = await found(self._storage, link)
        if there is None:
            return None
        held = _Held(name, digest, there.modified, pulled=there.modified)
        if source.max_bytes:
            data = await found(self._storage, layout.blob_data(digest))
            held.size = 0 if data is None else data.size
            mark = await found(self._storage, layout.pulled(name, digest))
            held.pulled = max(held.pulled, 0.0 if mark is None else mark.modified)
        return held

    async def _needs(self, digest: Digest) -> frozenset[str]:
        try:
            manifest = oci_manifest.read(await self._storage.get(layout.blob_data(digest)))
        except (PathNotFoundError, RegistryError):
            return frozenset()
        return frozenset(each.digest for each in (*manifest.blobs, *manifest.children))

    async def _names(self, key: str) -> list[str]:
        try:
            return list(await self._storage.list(key))
        except PathNotFoundError:
            return []

    # -- the original's schedule

    async def _read_schedule(self) -> dict[str, float]:
        """When entries end, by repository and digest."""
        if not self._schedule:
            return {}
        try:
            document = json.loads(await self._storage.get(layout.SCHEDULE))
            return {key: _seconds(entry["ExpiryData"]) for key, entry in document.items()}
        except PathNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("%s cannot be read: what is cached expires by its own age", layout.SCHEDULE)
            return {}

    async def _write_down(self) -> None:
        if not self._schedule:
            return
        ends = await self._read_schedule()
        entries = {}
        for source in self._sources.all():
            if source.prefix or source.ttl <= 0:
                continue
            async for repository in self._repositories(source):
                for kind, group in ((MANIFEST, repository.manifests), (BLOB, repository.blobs)):
                    for held in group.values():
                        key = f"{held.name}@{held.digest}"
                        end = _timestamp(self._end(source, held, ends))
                        entries[key] = {"Key": key, "ExpiryData": end, "EntryType": kind}
        data = json.dumps(entries, sort_keys=True).encode("ascii")
        try:
            if await self._storage.get(layout.SCHEDULE) == data:
                return
        except PathNotFoundError:
            if not entries:
                return
        await self._storage.put(layout.SCHEDULE, data)


def _units(repository: _Repository) -> list[_Held]:
    """What goes as one: manifests with their blobs, and blobs that no manifest here needs."""
    needed = {digest for held in repository.manifests.values() for digest in held.needs}
    return [
        *repository.manifests.values(),
        *(held for digest, held in repository.blobs.items() if digest not in needed),
    ]


async def _settle() -> None:
    await asyncio.sleep(SETTLE_SECONDS)


def _timestamp(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds(text: str) -> float:
    # Go writes nanoseconds, of which Python reads six digits.
    head, dot, tail = text.partition(".")
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return datetime.datetime.fromisoformat(head + dot + tail[: min(digits, 6)] + tail[digits:]).timestamp()
