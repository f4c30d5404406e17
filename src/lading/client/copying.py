"""Copies of images: whole indexes or one platform, with what refers to them, from any place to any other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lading.client.download import Progress
from lading.client.errors import ClientError, InvalidAnswerError
from lading.client.upload import Outcome, Source
from lading.oci import media
from lading.oci.building import Content, InvalidManifestError, platform_of
from lading.oci.digest import Digest, InvalidDigestError
from lading.oci.manifest import Descriptor, Manifest, Platform

PARALLEL = 4
"""Blobs on their way at the same time."""

MAX_DEPTH = 16
"""Of indexes in indexes, and of referrers of referrers."""

MAX_CONFIG_BYTES = 16 * 1024 * 1024

_ELSEWHERE = media.OCI_NON_DISTRIBUTABLE_LAYERS | {media.DOCKER_FOREIGN_LAYER}


class Place(Protocol):
    """Where images are: a `Repository` of a registry, a `Layout` on disk. Every method raises `ClientError`."""

    async def manifest(self, reference: str) -> Content:
        """By tag or digest, verified."""
        ...

    async def has_manifest(self, digest: Digest) -> bool:
        """Whether it is there, with all that it names."""
        ...

    async def put_manifest(self, content: Content, tag: str = "", *, root: bool = True) -> None:
        """After all that it names. `root` says that no other manifest leads to it."""
        ...

    def source(self, digest: Digest) -> Source:
        """The bytes of a blob."""
        ...

    async def put_blob(
        self, descriptor: Descriptor, source: Source, *, mount: str | None, progress: Progress | None
    ) -> Outcome:
        """Unless it is there. What does not match its digest does not get in."""
        ...

    async def referrers(self, subject: Digest) -> list[Descriptor]:
        """What refers to a manifest."""
        ...

    def mountable(self, origin: object) -> str | None:
        """How blobs get here from `origin` without their bytes: the `mount` of `put_blob`; None if not so."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one blob. `outcome` is None while it is on its way; `done` and `size` are in bytes."""

    digest: str
    size: int
    done: int = 0
    outcome: Outcome | None = None


Report = Callable[[Step], None]


@dataclass(slots=True)
class Copied:
    """What a copy came to. `moved` are the bytes of blobs that were uploaded."""

    content: Content
    manifests: int = 0
    blobs: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    moved: int = 0
    referrers: int = 0


async def copy(
    source: Place,
    target: Place,
    reference: str,
    tag: str = "",
    *,
    platform: Platform | None = None,
    referrers: bool = False,
    parallel: int = PARALLEL,
    report: Report | None = None,
) -> Copied:
    """What `reference` stands for, to `tag` there, or by its digest without one. Raises `ClientError`.

    With a `platform` an index stands for its one image of that platform. What is there already is not asked for
    again; manifests come after all that they name, so that a copy that breaks off shows nothing half.
    """
    content = await source.manifest(reference)
    if platform is not None:
        content = await chosen(source, content, platform)
    copier = _Copier(source, target, content, parallel, report)
    await copier.tree(content, tag)
    if referrers:
        await copier.referrers(content)
    return copier.copied


async def chosen(source: Place, content: Content, platform: Platform) -> Content:
    """The image of a platform. Raises `ClientError`."""
    for _ in range(MAX_DEPTH):
        view = view_of(content)
        if not view.is_index:
            await _check_platform(source, content, view, platform)
            return content
        fitting = [child for child in view.children if child.platform and fits(child.platform, platform)]
        if not fitting:
            there = ", ".join(sorted({str(child.platform) for child in view.children if child.platform}))
            raise ClientError(f"{content.digest}: has no image for {platform}: there are {there or 'none'}")
        content = await source.manifest(digest_of(fitting[0]))
    raise InvalidAnswerError(f"{content.digest}: indexes in indexes")


async def _check_platform(source: Place, content: Content, view: Manifest, platform: Platform) -> None:
    """A lone image says in its config what it is for; an artifact does not, and fits nothing."""
    if view.config is None or view.config.media_type not in {media.OCI_IMAGE_CONFIG, media.DOCKER_IMAGE_CONFIG}:
        raise ClientError(f"{content.digest}: is no image for {platform}")
    data = await read(source, view.config, MAX_CONFIG_BYTES)
    try:
        found = platform_of(data)
    except InvalidManifestError as error:
        raise InvalidAnswerError(f"{view.config.digest}: {error}") from error
    if not fits(found, platform):
        raise ClientError(f"{content.digest}: is an image for {found}, not for {platform}")


async def read(source: Place, blob: Descriptor, limit: int) -> bytes:
    """A blob of at most `limit` bytes, as a whole. Raises `ClientError`."""
    if blob.size > limit:
        raise InvalidAnswerError(f"{blob.digest}: has {blob.size} bytes, more than {limit}")
    data = bytearray()
    async with contextlib.aclosing(source.source(digest_of(blob))(0)) as pieces:
        async for piece in pieces:
            data += piece
            if len(data) > limit:
                raise InvalidAnswerError(f"{blob.digest}: has more than {limit} bytes")
    return bytes(data)


def fits(found: Platform, wanted: Platform) -> bool:
    """Whether a platform is the one that is wanted; what is not said of the wanted one may be anything."""
    return (
        (found.os, found.architecture) == (wanted.os, wanted.architecture)
        and wanted.variant in {"", found.variant}
        and wanted.os_version in {"", found.os_version}
    )


class _Copier:
    def __init__(
        self, source: Place, target: Place, content: Content, parallel: int, report: Report | None
    ) -> None:
        self._source = source
        self._target = target
        self._mount = target.mountable(source)
        self._turns = asyncio.Semaphore(parallel)
        self._report = report
        self._done: set[str] = set()
        self._walked: set[str] = set()
        self.copied = Copied(content)

    async def tree(self, content: Content, tag: str = "", depth: int = 0) -> None:
        """A manifest and all below it."""
        if depth > MAX_DEPTH:
            raise InvalidAnswerError(f"{content.digest}: indexes in indexes")
        there = content.digest in self._done or await self._target.has_manifest(content.digest)
        if not there:
            parts = named(view_of(content))
            for child in parts.manifests:
                digest = digest_of(child)
                if digest not in self._done:
                    await self.tree(await self._source.manifest(digest), depth=depth + 1)
            await self._all(parts.blobs)
        if not depth or not there:
            await self._target.put_manifest(content, tag, root=not depth)
            self.copied.manifests += 1
        self._done.add(content.digest)

    async def referrers(self, subject: Content, depth: int = 0) -> None:
        """What refers to a manifest, to what is in it if it is an index, and to all of these; each once."""
        if subject.digest in self._walked:
            return
        if depth > MAX_DEPTH:
            raise InvalidAnswerError(f"{subject.digest}: referrers of referrers")
        self._walked.add(subject.digest)
        for child in named(view_of(subject)).manifests:
            digest = digest_of(child)
            if digest not in self._walked:
                await self.referrers(await self._source.manifest(digest), depth + 1)
        for found in await self._source.referrers(subject.digest):
            digest = digest_of(found)
            if digest not in self._walked:
                content = await self._source.manifest(digest)
                if digest not in self._done:
                    await self.tree(content)
                    self.copied.referrers += 1
                await self.referrers(content, depth + 1)

    async def _all(self, blobs: list[Descriptor]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for blob in {blob.digest: blob for blob in blobs}.values():
                    if blob.digest not in self._done:
                        group.create_task(self._blob(blob))
        except BaseExceptionGroup as errors:
            raise _first(errors) from None

    async def _blob(self, blob: Descriptor) -> None:
        digest = digest_of(blob)
        async with self._turns:
            self._tell(Step(digest, blob.size))
            outcome = await self._target.put_blob(
                blob,
                self._source.source(digest),
                mount=self._mount,
                progress=lambda done, _: self._tell(Step(digest, blob.size, done)),
            )
        self._done.add(digest)
        self.copied.blobs[outcome] += 1
        self.copied.moved += blob.size if outcome is Outcome.UPLOADED else 0
        self._tell(Step(digest, blob.size, blob.size, outcome))

    def _tell(self, step: Step) -> None:
        if self._report is not None:
            self._report(step)


@dataclass(frozen=True, slots=True)
class Named:
    """What must be where a manifest is: other manifests, and blobs."""

    manifests: list[Descriptor]
    blobs: list[Descriptor]


def named(view: Manifest) -> Named:
    """Without what the manifest says is elsewhere."""
    manifests = [child for child in view.children if child.media_type in media.IMAGES | media.INDEXES]
    others = [child for child in view.children if child.media_type not in media.IMAGES | media.INDEXES]
    blobs = [blob for blob in (*view.blobs, *others) if not (blob.urls and blob.media_type in _ELSEWHERE)]
    return Named(manifests, blobs)


def view_of(content: Content) -> Manifest:
    """Raises `InvalidAnswerError`."""
    try:
        return content.view()
    except InvalidManifestError as error:
        raise InvalidAnswerError(f"{content.digest}: {error}") from error


def digest_of(descriptor: Descriptor) -> Digest:
    """Raises `InvalidAnswerError`."""
    try:
        return Digest.parse(descriptor.digest)
    except InvalidDigestError as error:
        raise InvalidAnswerError(f"{descriptor.digest[:160]!r}: {error}") from error


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of the errors, as one is enough to say why a copy has failed."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
