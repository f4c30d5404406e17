"""Retention at work: reads what is there, decides, and removes tags, while the registry serves (decision 0011)."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lading.oci import errors
from lading.oci.digest import HEX_DIGITS, Digest
from lading.oci.names import RepositoryName, Tag
from lading.oci.patterns import Repositories as Matching
from lading.oci.patterns import none
from lading.registry import audit, filing, layout, links, retention
from lading.registry.events import Event, Events, Occasion
from lading.registry.garbage import each
from lading.registry.immutability import Immutability
from lading.registry.ports import PathNotFoundError, Storage, StorageError, found
from lading.registry.pulls import MARK_SECONDS
from lading.registry.repositories import Repositories
from lading.registry.retention import Held, Plan, Rule, Verdict
from lading.registry.tags import Tags

log = logging.getLogger(__name__)

FIRST_SECONDS = 3600.0
"""Several registries on one storage should not all begin at the same moment: each waits up to so long."""


@dataclass(frozen=True, slots=True)
class Retaining:
    """`interval` is in seconds; repositories that are `exempt` have an expiry of their own."""

    rules: tuple[Rule, ...]
    immutability: Immutability = field(default_factory=Immutability)
    interval: float = 86400.0
    exempt: Matching = none

    def covers(self, name: str) -> bool:
        return bool(retention.covering(self.rules, name)) and not self.exempt(name)

    def asks_for_pulls(self, name: str) -> bool:
        """Whether it matters when manifests of the repository were pulled."""
        pulled = (rule.pulled_within for _, rule in retention.covering(self.rules, name))
        return any(pulled) and not self.exempt(name)


@dataclass(slots=True)
class Round:
    """What one has done."""

    repositories: int = 0
    deleted: int = 0
    kept: int = 0
    moved: int = 0
    """Tags that were to go, and were pushed again or deleted meanwhile."""


@dataclass(slots=True)
class Retainer:
    """Any number may work at once, and while clients push: a tag only goes as it was when that was decided.

    `agent` is who does it, for those who hear of events. The storage must not be one that rescues.
    """

    storage: Storage
    rules: Retaining
    note: Callable[[Round], None] = lambda _: None
    """Is told of each round that has ended well."""
    events: Events | None = None
    agent: str = "lading"
    writes: bool = True
    """Otherwise `plans` does not say that pulls are known from now on, where nobody has."""
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self) -> None:
        """For ever. What fails is logged, and tried again after the interval."""
        delay = secrets.randbelow(1000) / 1000 * min(FIRST_SECONDS, self.rules.interval)
        log.info("retention begins in %.0f s", delay)
        while True:
            await self.sleep(delay)
            try:
                await self.round()
            except StorageError as error:
                log.error("cannot apply retention: %s", error)
            delay = self.rules.interval

    async def round(self) -> Round:
        """One repository after the other. Raises `StorageError`; what went until then stays gone."""
        done = Round()
        async for plan in self.plans():
            await self.apply(plan, done)
        log.info(
            "retention: %d repositories, %d tags deleted, %d kept, %d pushed or deleted meanwhile",
            *(done.repositories, done.deleted, done.kept, done.moved),
        )
        self.note(done)
        return done

    async def plans(self) -> AsyncIterator[Plan]:
        """For each repository that a rule covers. Nothing is removed. Raises `StorageError`."""
        async for found_name in Repositories(self.storage).walk(layout.MANIFESTS):
            if self.rules.covers(found_name):
                yield await self.plan(RepositoryName(found_name))

    async def plan(self, name: RepositoryName) -> Plan:
        now = self.clock()
        asks = self.rules.asks_for_pulls(name)
        since = await self._since(name, now) if asks else now
        try:
            tags = await Tags(self.storage).page(name)
        except errors.RegistryError:
            return Plan(name, ())  # it has been deleted meanwhile
        filed = await self._filed(name, tags)

        async def look(tag: Tag) -> Held | None:
            link = layout.tag_link(name, tag)
            stat = await found(self.storage, link)
            digest = await links.read(self.storage, link)
            if stat is None or digest is None:
                return None
            mark = await found(self.storage, layout.pulled(name, digest)) if asks else None
            return Held(
                tag,
                digest,
                stat.modified,
                0.0 if mark is None else mark.modified + MARK_SECONDS,
                self.rules.immutability.has(name, tag),
                filed.get(tag),
            )

        held = [each for each in await each(look, tags) if each is not None]
        return retention.decide(self.rules.rules, name, held, now, since)

    async def apply(self, plan: Plan, done: Round) -> None:
        """Remove the tags that go, and add to `done` what was; and notes of pulls of what is gone.

        Raises `StorageError`.
        """
        done.repositories += 1
        done.kept += len(plan.verdicts) - len(plan.going)
        for verdict in plan.going:
            if await self._delete(plan.repository, verdict):
                done.deleted += 1
            else:
                done.moved += 1
        if self.rules.asks_for_pulls(plan.repository):
            await self._forget_pulls(plan.repository)

    async def _delete(self, name: RepositoryName, verdict: Verdict) -> bool:
        """Whether the tag still was what it was when its end was decided."""
        held = verdict.held
        link = layout.tag_link(name, held.tag)
        async with self.storage.hold(layout.manifests(name), shared=False):
            stat = await found(self.storage, link)
            if stat is None or stat.modified != held.pushed:
                return False
            if await links.read(self.storage, link) != held.digest:
                return False
            try:
                await Tags(self.storage).delete(name, held.tag)
            except errors.RegistryError:
                return False
        log.info("retention: deleting tag %s of %s: %s", held.tag, name, verdict.reason)
        audit.record("retention", repository=name, tag=held.tag, digest=held.digest, reason=verdict.reason)
        if self.events is not None:
            occasion = Occasion(str(uuid.uuid4()), "", "", "DELETE", self.agent, "")
            await self.events.happened([Event("delete", name, tag=held.tag)], occasion)
        return True

    async def _since(self, name: RepositoryName, now: float) -> float:
        """From when on pulls are known. Who looks first says so: until a while after, nothing is too old."""
        key = layout.pulled_since(name)
        stat = await found(self.storage, key)
        if stat is None:
            if self.writes:
                await self.storage.put(key, b"")
            return now
        return stat.modified

    async def _forget_pulls(self, name: RepositoryName) -> None:
        """Of manifests that the repository has no more: whoever deletes one leaves that to this."""
        for algorithm in HEX_DIGITS:
            noted = await self._names(layout.pulls(name, algorithm))
            linked = set(await self._names(layout.revisions(name, algorithm), holding="link")) if noted else set()
            for encoded in noted:
                if encoded not in linked:
                    await links.delete(self.storage, f"{layout.pulls(name, algorithm)}/{encoded}")

    async def _filed(self, name: RepositoryName, tags: list[Tag]) -> Mapping[Tag, Digest]:
        """The tags that file what is about a manifest that the repository has."""
        places = {tag: place for tag in tags if (place := filing.place_of(tag))}
        if not places:
            return {}
        there = {filing.place(digest): digest for digest in await self._linked(name)}
        return {tag: there[place] for tag, place in places.items() if place in there}

    async def _linked(self, name: RepositoryName) -> list[Digest]:
        return [
            Digest(f"{algorithm}:{encoded}")
            for algorithm in HEX_DIGITS
            for encoded in await self._names(layout.revisions(name, algorithm), holding="link")
        ]

    async def _names(self, key: str, holding: str = "") -> Sequence[str]:
        try:
            return await self.storage.list(key, holding=holding)
        except PathNotFoundError:
            return ()
