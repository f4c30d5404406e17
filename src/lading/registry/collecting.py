"""Garbage collection while the registry serves: put away first, deleted much later (decision 0010)."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from lading.oci.digest import HEX_DIGITS, Digest
from lading.oci.names import RepositoryName, Tag
from lading.registry import layout, links
from lading.registry.garbage import Doomed, Plan, Wish, never
from lading.registry.marking import Marking
from lading.registry.ports import PathNotFoundError, Storage, StorageError
from lading.registry.quarantine import ANNOUNCED_SECONDS, COLLECTED, Batch, Quarantine
from lading.registry.repositories import Repositories

log = logging.getLogger(__name__)

RESTS = 3.0
"""So many times as long as it worked a collection rests, for those who read from the disk and need the CPU."""
LEAST_REST_SECONDS = 0.02
LONGEST_REST_SECONDS = 0.5

FIRST_SECONDS = 3600.0
"""Several registries on one storage should not all begin at the same moment: each waits up to so long."""


@dataclass(frozen=True, slots=True)
class Collecting:
    """Times are in seconds. `rate` is how many things are put away in one.

    What is younger than `grace` is not garbage; what was put away `quarantine` ago is deleted. `whole` tells the
    repositories that keep their untagged manifests.
    """

    interval: float = 86400.0
    quarantine: float = 7 * 86400.0
    grace: float = 86400.0
    rate: float = 100.0
    delete_untagged: bool = False
    whole: Callable[[str], bool] = never


@dataclass(slots=True)
class Round:
    """What one has done. `bytes` are those of the blobs put away."""

    put_away: int = 0
    bytes: int = 0
    restored: int = 0
    discarded: int = 0
    """Batches."""
    left: bool = False
    """There is more, for the next one."""
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Rest:
    """What is due after work: `share` times as long as that took."""

    share: float
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    since: float = 0.0

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.since = self.clock()

    @property
    def due(self) -> float:
        """In seconds."""
        return min(self.share * (self.clock() - self.since), LONGEST_REST_SECONDS)

    async def now_and_then(self) -> None:
        """To be called while the work goes on."""
        due = self.due
        await self.sleep(due if due >= LEAST_REST_SECONDS else 0)
        # Below 0 the clock was set back.
        if due >= LEAST_REST_SECONDS or due < 0:
            self.begin()


@dataclass(slots=True)
class Collector:
    """Any number may work at once: they only do the same twice. The storage must not be one that rescues."""

    storage: Storage
    rules: Collecting
    note: Callable[[Round], None] = lambda _: None
    """Is told of each round that has ended well."""
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    own: Batch | None = None
    """The batch that it has put things into."""

    async def run(self) -> None:
        """For ever. What fails is logged, and tried again after the interval."""
        delay = secrets.randbelow(1000) / 1000 * min(FIRST_SECONDS, self.rules.interval)
        log.info("garbage collection begins in %.0f s", delay)
        while True:
            await self.sleep(delay)
            try:
                await self.round()
            except StorageError as error:
                log.error("cannot collect garbage: %s", error)
            delay = self.rules.interval

    async def round(self) -> Round:
        """Mark everything; bring back what is needed, delete what was away for long enough, put away the rest.

        Raises `StorageError`; where something cannot be read nothing has been put away or deleted.
        """
        begun = self.clock()
        quarantine, done = Quarantine(self.storage), Round()
        batches = await quarantine.batches(COLLECTED)
        wish = Wish(self.rules.delete_untagged, self.rules.grace, every_tag=True, whole=self.rules.whole)
        rest = _Rest(0.0 if self.storage.traits.flat else RESTS, self.clock, self.sleep)
        made = await Marking(self.storage, wish, _silent, batches, begun, rest.now_and_then).plan()
        for warning in made.warnings:
            log.warning("%s", warning)
        for batch, key in made.restore:
            done.restored += await quarantine.restore(batch, key)
        old = [batch for batch in batches if batch.begun <= begun - self.rules.quarantine]
        if old:
            # Who missed something just before it was brought back is to find it where it was.
            await self.sleep(ANNOUNCED_SECONDS)
        for batch in old:
            await quarantine.discard(batch)
        done.discarded = len(old)
        await self._put_away(quarantine, made, begun, done, rest)
        for name in made.bare:
            await Repositories(self.storage).leave(name)
        if done.left:
            log.warning("garbage is left: marking and putting away take more than a quarter of the quarantine")
        done.warnings = made.warnings
        log.info(
            "garbage collection: %d marked, %d put away with %d bytes, %d brought back, %d batches deleted",
            *(made.marked, done.put_away, done.bytes, done.restored, done.discarded),
        )
        self.note(done)
        return done

    async def _put_away(self, quarantine: Quarantine, made: Plan, begun: float, done: Round, rest: _Rest) -> None:
        sizes = {layout.blob_data(digest): size for digest, size in made.blobs}
        batch: Batch | None = None
        async for key in self._going(made):
            # What was seen so long ago is not to be trusted, nor is a batch that will be deleted soon.
            if self.clock() - begun > self.rules.quarantine / 4:
                done.left = True
                return
            if batch is None or not self._takes(batch):
                batch = await self._batch(quarantine)
            rest.begin()
            try:
                await quarantine.put_away(batch, key)
            except PathNotFoundError:
                continue
            done.put_away += 1
            done.bytes += sizes.get(key, 0)
            await self.sleep(max(1 / self.rules.rate, rest.due))

    async def _going(self, made: Plan) -> AsyncIterator[str]:
        """Links before what they lead to; a referrer's before its manifest's, so that no list asks for that."""
        histories = _Histories(self.storage)
        for doomed in made.manifests:
            if doomed.subject is not None:
                yield layout.referrer_link(doomed.repository, doomed.subject, doomed.digest)
            yield layout.manifest_link(doomed.repository, doomed.digest)
            await histories.forget(doomed)
        for layer in made.layers:
            yield layout.layer_link(*layer)
        for digest, _ in made.blobs:
            yield layout.blob_data(digest)

    def _takes(self, batch: Batch) -> bool:
        return self.clock() - batch.begun < self.rules.quarantine / 4

    async def _batch(self, quarantine: Quarantine) -> Batch:
        """One that can be put into: the last, or a new one.

        Where a move is a copy and a removal, two who put the same into one batch could spoil each other's copy: no
        two collectors share a batch there.
        """
        known = await quarantine.batches(COLLECTED) if self.storage.traits.renames else [self.own]
        batches = [batch for batch in known if batch is not None and self._takes(batch)]
        batch = self.own = batches[-1] if batches else await quarantine.begin(COLLECTED)
        await self.sleep(min(ANNOUNCED_SECONDS, max(0.0, batch.begun + ANNOUNCED_SECONDS - self.clock())))
        return batch


@dataclass(slots=True)
class _Histories:
    """The histories of tags, of one repository at a time: what each tag has shown."""

    storage: Storage
    name: str = ""
    shown: dict[Digest, list[Tag]] = field(default_factory=dict)

    async def forget(self, doomed: Doomed) -> None:
        if self.name != doomed.repository:
            self.name, self.shown = doomed.repository, {}
            for tag in doomed.tags:
                await self._read(doomed.repository, tag)
        for tag in self.shown.get(doomed.digest, ()):
            await links.delete(self.storage, layout.tag_history_link(doomed.repository, tag, doomed.digest))

    async def _read(self, name: RepositoryName, tag: Tag) -> None:
        for algorithm in HEX_DIGITS:
            try:
                digests = await self.storage.list(f"{layout.tag(name, tag)}/{layout.HISTORY}/{algorithm}")
            except PathNotFoundError:
                continue
            for encoded in digests:
                self.shown.setdefault(Digest(f"{algorithm}:{encoded}"), []).append(tag)


def _silent(_: str) -> None:
    return
