"""A registry whose repositories are, in part or in whole, those of upstreams: what is asked there, and when.

Content that is here is served from here. Tags are asked for again after the interval of their upstream; where it
cannot say, what is cached is served. Names of an upstream cannot be pushed to.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lading.oci import errors
from lading.oci import manifest as oci_manifest
from lading.oci.digest import Digest
from lading.oci.errors import Code, RegistryError
from lading.oci.names import Reference, RepositoryName, Tag
from lading.registry import layout, links
from lading.registry.blobs import Blobs
from lading.registry.fills import Fills
from lading.registry.manifests import Manifests, Pushed, StoredManifest
from lading.registry.ports import Reader, Storage, StorageError, found
from lading.registry.pulls import Pulls
from lading.registry.referrers import Referrers
from lading.registry.removal import Removal, Removed
from lading.registry.sources import Source, Sources
from lading.registry.tags import Tags
from lading.registry.uploads import Upload, Uploads
from lading.registry.upstream import (
    AbsentError,
    BusyUpstreamError,
    Counter,
    DeniedError,
    DownError,
    Fetched,
    UpstreamError,
    WrongError,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE_SECONDS = 1.0
"""An upstream that wants to be left alone without saying for how long is, so long."""

MAX_PAUSE_SECONDS = 3600.0

DOWN_SECONDS = 5.0
"""An upstream that did not answer is not asked about what is cached for so long."""

PATIENCE_SECONDS = 5.0
"""So long somebody waits to hear whether what is cached is still right."""

ANSWER_SECONDS = 120.0
"""So long an answer may take to come in full, or of a larger blob its beginning, byte by byte as it may."""

MAX_REMEMBERED = 8192

MAX_UNKEPT = 16
"""So many manifests are held in memory that could not be stored."""


@dataclass(slots=True)
class PullThrough:
    """What the services share: whom to ask, and what is known of the answers."""

    storage: Storage
    sources: Sources
    fills: Fills
    count: Counter
    pulls: Pulls
    _misses: OrderedDict[object, tuple[float, UpstreamError]] = field(default_factory=OrderedDict)
    _pauses: dict[str, tuple[float, UpstreamError]] = field(default_factory=dict)
    _down: dict[str, tuple[float, UpstreamError]] = field(default_factory=dict)
    _asking: dict[object, asyncio.Task[Any]] = field(default_factory=dict)

    async def ask(self, source: Source, key: object, call: Callable[[], Awaitable[T]]) -> T:
        """What the call returns, which is made once for all who ask for `key` meanwhile. Raises `UpstreamError`.

        Not asked is who wants to be left alone, nor for what was not there a moment ago.
        """
        host, now = source.upstream.host, time.monotonic()
        until, refusal = self._pauses.get(host, (0.0, None))
        if refusal is not None and now < until:
            raise BusyUpstreamError(str(refusal), until - now)
        until, refusal = self._misses.get(key, (0.0, None))
        if refusal is not None and now < until:
            raise refusal
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.ensure_future(self._noted(source, key, call))
            task.add_done_callback(functools.partial(self._answered, key))
        answer: T = await asyncio.shield(task)
        return answer

    def _answered(self, key: object, task: asyncio.Task[Any]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen, also where all who have asked are gone

    def down(self, source: Source) -> UpstreamError | None:
        """Why there is no sense in asking about what is cached."""
        until, failure = self._down.get(source.upstream.host, (0.0, None))
        return failure if time.monotonic() < until else None

    def late(self, source: Source) -> UpstreamError:
        """It has not answered for `PATIENCE_SECONDS`."""
        failure = DownError(f"{source.upstream.host}: no answer in {PATIENCE_SECONDS:g} s")
        self._down[source.upstream.host] = (time.monotonic() + DOWN_SECONDS, failure)
        return failure

    async def _noted(self, source: Source, key: object, call: Callable[[], Awaitable[T]]) -> T:
        host = source.upstream.host
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await call()
        except AbsentError as absent:
            self._misses[key] = (time.monotonic() + source.misses, absent)
            while len(self._misses) > MAX_REMEMBERED:
                self._misses.popitem(last=False)
            raise
        except BusyUpstreamError as busy:
            pause = min(busy.seconds or PAUSE_SECONDS, MAX_PAUSE_SECONDS)
            log.warning("%s is left alone for %.0f s: %s", host, pause, busy)
            self._pauses[host] = (time.monotonic() + pause, busy)
            raise
        except (DownError, TimeoutError) as error:
            slow = DownError(f"{host}: no whole answer in {ANSWER_SECONDS:g} s")
            failure = slow if isinstance(error, TimeoutError) else error
            self._down[host] = (time.monotonic() + DOWN_SECONDS, failure)
            raise failure from error
        self._down.pop(host, None)
        return answer

    async def mark(self, source: Source, name: RepositoryName, digest: Digest) -> None:
        """Note that a manifest was pulled. Never fails."""
        if source.max_bytes:
            await self.pulls.mark(name, digest)

    def refuse(self, name: RepositoryName) -> None:
        """Raises UNSUPPORTED for a name that cannot be written to."""
        source = self.sources.of(name)
        if source is not None:
            raise errors.UNSUPPORTED(detail=f"{name} is pulled through from {source.upstream.host}")


def told(failure: UpstreamError, absent: Code) -> RegistryError:
    """What a client hears of it."""
    match failure:
        case AbsentError():
            return absent(detail=str(failure))
        case DeniedError():
            return (errors.DENIED if failure.signed_in else errors.UNAUTHORIZED)(detail=str(failure))
        case BusyUpstreamError():
            refusal = errors.TOO_MANY_REQUESTS(detail=str(failure))
            refusal.retry_after = failure.seconds or PAUSE_SECONDS
            return refusal
        case WrongError():
            return errors.UPSTREAM_WRONG(detail=str(failure))
    return errors.UPSTREAM_DOWN(detail=str(failure))


@dataclass(frozen=True)
class PulledBlobs(Blobs):
    pulling: PullThrough = field(kw_only=True)

    async def size(self, name: RepositoryName, digest: Digest) -> int:
        source = self.pulling.sources.of(name)
        there = None if source is None else source.name_there(name)
        try:
            return await super().size(name, digest)
        except RegistryError:
            if source is None or there is None:
                raise
        upstream, path = source.upstream, there
        try:
            return await self.pulling.ask(source, ("size", name, digest), lambda: upstream.size(path, digest))
        except UpstreamError as failure:
            raise told(failure, errors.BLOB_UNKNOWN) from failure

    async def open(self, name: RepositoryName, digest: Digest) -> Reader:
        source = self.pulling.sources.of(name)
        if source is None:
            return await super().open(name, digest)
        there, pulling = source.name_there(name), self.pulling
        pulling.count("Requests", "blob")
        try:
            reader = await super().open(name, digest)
        except RegistryError:
            pulling.count("Misses", "blob")
        else:
            pulling.count("Hits", "blob")
            pulling.count("BytesPushed", "blob", reader.size)
            return reader
        try:
            # All who ask at once share a fill, and each has a reader of its own.
            await pulling.ask(
                source, ("fill", name, digest), lambda: pulling.fills.begin(source, name, there, digest)
            )
            return await pulling.fills.open(source, name, there, digest)
        except UpstreamError as failure:
            raise told(failure, errors.BLOB_UNKNOWN) from failure

    async def redirect(self, name: RepositoryName, digest: Digest, method: str, client: str) -> str | None:
        source = self.pulling.sources.of(name)
        if source is not None:
            source.name_there(name)
        try:
            return await super().redirect(name, digest, method, client)
        except RegistryError:
            if source is None:
                raise
            return None

    async def mount(self, target: RepositoryName, digest: Digest, source: RepositoryName | None) -> bool:
        self.pulling.refuse(target)
        return await super().mount(target, digest, source)

    async def delete(self, name: RepositoryName, digest: Digest) -> None:
        self.pulling.refuse(name)
        await super().delete(name, digest)


@dataclass(frozen=True)
class PulledManifests(Manifests):
    pulling: PullThrough = field(kw_only=True)
    fresh: set[tuple[str, str]] = field(default_factory=set)
    """Fetched to find out what a tag stands for, and not yet given to a client."""
    unkept: OrderedDict[tuple[str, str], StoredManifest] = field(default_factory=OrderedDict)

    async def resolve(self, name: RepositoryName, reference: Reference) -> Digest:
        source = self.pulling.sources.of(name)
        if source is None:
            return await super().resolve(name, reference)
        there = source.name_there(name)
        if isinstance(reference, Digest):
            return reference
        held = await links.read(self.storage, layout.tag_link(name, reference))
        if held is not None and await self._is_fresh(source, name, reference):
            return held
        try:
            failure = None if held is None else self.pulling.down(source)
            if failure is not None:
                raise failure
            async with asyncio.timeout(None if held is None else PATIENCE_SECONDS):
                return await self.pulling.ask(
                    source, ("tag", name, reference), lambda: self._renew(source, name, there, reference, held)
                )
        except (UpstreamError, TimeoutError) as error:
            failure = self.pulling.late(source) if isinstance(error, TimeoutError) else error
            if held is None:
                raise told(failure, errors.MANIFEST_UNKNOWN) from failure
            log.warning("%s:%s is served as it is cached: %s", name, reference, failure)
            return held

    async def get(self, name: RepositoryName, digest: Digest, *, lately: bool = False) -> StoredManifest:
        source = self.pulling.sources.of(name)
        if source is None:
            return await super().get(name, digest, lately=lately)
        there, pulling = source.name_there(name), self.pulling
        try:
            stored = await super().get(name, digest, lately=lately)
        except RegistryError:
            try:
                await pulling.ask(
                    source, ("manifest", name, digest), lambda: self._fetch(source, name, there, digest, [])
                )
            except UpstreamError as failure:
                raise told(failure, errors.MANIFEST_UNKNOWN) from failure
            stored = self.unkept.get((name, digest)) or await super().get(name, digest)
        pulling.count("Requests", "manifest")
        if (name, digest) in self.fresh:
            self.fresh.discard((name, digest))
            pulling.count("Misses", "manifest")
        else:
            pulling.count("Hits", "manifest")
        pulling.count("BytesPushed", "manifest", len(stored.data))
        await pulling.mark(source, name, digest)
        return stored

    async def put(
        self,
        name: RepositoryName,
        reference: Reference,
        data: bytes,
        content_type: str,
        tags: list[Tag],
        classes: frozenset[str] = frozenset(),
    ) -> Pushed:
        self.pulling.refuse(name)
        return await super().put(name, reference, data, content_type, tags, classes)

    async def delete(self, name: RepositoryName, digest: Digest) -> list[Tag]:
        self.pulling.refuse(name)
        return await super().delete(name, digest)

    async def delete_tag(self, name: RepositoryName, tag: Tag) -> None:
        self.pulling.refuse(name)
        await super().delete_tag(name, tag)

    async def _is_fresh(self, source: Source, name: RepositoryName, tag: Tag) -> bool:
        # The age of the link: so all processes know when one of them has asked.
        if source.interval <= 0:
            return False
        link = await found(self.storage, layout.tag_link(name, tag))
        return link is not None and time.time() - link.modified < source.interval

    async def _renew(
        self, source: Source, name: RepositoryName, there: str, tag: Tag, held: Digest | None
    ) -> Digest:
        digest = await source.upstream.resolve(there, tag)
        if digest is None:
            return await self._fetch(source, name, there, tag, [tag])
        try:
            await super().get(name, digest)
        except RegistryError:
            return await self._fetch(source, name, there, digest, [tag])
        link = layout.tag_link(name, tag)
        try:
            if digest != held:
                async with self.storage.hold(layout.manifests(name), shared=True):
                    await self.storage.put_all({link: links.content(digest)})
                    await self.tags.note(name, tag, digest)
            elif source.interval > 0:
                await self.storage.put(link, links.content(digest), durable=False)
        except StorageError as error:
            log.warning("cannot note what %s:%s stands for: %s", name, tag, error)
        return digest

    async def _fetch(
        self, source: Source, name: RepositoryName, there: str, reference: Reference, tags: list[Tag]
    ) -> Digest:
        fetched: Fetched = await source.upstream.manifest(there, reference)
        try:
            manifest = oci_manifest.parse(fetched.data, fetched.media_type)
            await self._store(name, manifest, fetched.digest, fetched.data, tags)
        except RegistryError as error:
            raise WrongError(f"{source.upstream.host}: {there}:{reference} is no manifest: {error}") from error
        except StorageError as error:
            log.warning("%s:%s is passed on without being kept: %s", name, reference, error)
            kind = oci_manifest.media_type_of(fetched.data)
            self.unkept[name, fetched.digest] = StoredManifest(fetched.digest, kind, fetched.data)
            while len(self.unkept) > MAX_UNKEPT:
                self.unkept.popitem(last=False)
        self.pulling.count("BytesPulled", "manifest", len(fetched.data))
        self.fresh.add((name, fetched.digest))
        return fetched.digest


@dataclass(frozen=True)
class PulledTags(Tags):
    pulling: PullThrough = field(kw_only=True)

    async def page(self, name: RepositoryName, *, after: str = "", limit: int | None = None) -> list[Tag]:
        source = self.pulling.sources.of(name)
        if source is None:
            return await super().page(name, after=after, limit=limit)
        upstream, there = source.upstream, source.name_there(name)
        try:
            key = "tags", name, after, limit
            return [
                Tag(tag) for tag in await self.pulling.ask(source, key, lambda: upstream.tags(there, after, limit))
            ]
        except UpstreamError as failure:
            try:
                return await super().page(name, after=after, limit=limit)
            except RegistryError:
                raise told(failure, errors.NAME_UNKNOWN) from failure


@dataclass(frozen=True)
class PulledReferrers(Referrers):
    pulling: PullThrough = field(kw_only=True)
    manifests: PulledManifests = field(kw_only=True)

    async def page(
        self, name: RepositoryName, subject: Digest, *, artifact_type: str, after: str, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        source = self.pulling.sources.of(name)
        if source is not None:
            upstream, there = source.upstream, source.name_there(name)
            try:
                key = "referrers", name, subject
                for digest in await self.pulling.ask(source, key, lambda: upstream.referrers(there, subject)):
                    # Stored with its link to the subject, by which it is found below.
                    await self.manifests.get(name, digest)
            except (UpstreamError, RegistryError) as failure:
                log.warning("the referrers of %s in %s are those that are cached: %s", subject, name, failure)
        return await super().page(name, subject, artifact_type=artifact_type, after=after, limit=limit)


@dataclass(frozen=True)
class PulledRemoval(Removal):
    pulling: PullThrough = field(kw_only=True)

    async def remove(self, name: RepositoryName) -> Removed:
        self.pulling.refuse(name)
        return await super().remove(name)


@dataclass(slots=True)
class PulledUploads(Uploads):
    pulling: PullThrough = field(kw_only=True)

    async def start(self, name: RepositoryName) -> Upload:
        self.pulling.refuse(name)
        return await Uploads.start(self, name)

    async def get(self, name: RepositoryName, upload_id: str, told: int = 0) -> Upload:
        self.pulling.refuse(name)
        return await Uploads.get(self, name, upload_id, told)
