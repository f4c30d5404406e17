"""Manifests of a repository: stored as they came, found by digest."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace

from lading.oci import errors
from lading.oci import manifest as oci_manifest
from lading.oci.digest import CANONICAL, Digest, InvalidDigestError
from lading.oci.errors import RegistryError
from lading.oci.manifest import Manifest
from lading.oci.names import Reference, RepositoryName, Tag
from lading.oci.patterns import Repositories, none
from lading.registry import layout, links, validation
from lading.registry.blobs import Blobs
from lading.registry.cache import Cache
from lading.registry.immutability import Immutability
from lading.registry.ports import PathNotFoundError, Storage, found
from lading.registry.quarantine import SETTLE_SECONDS
from lading.registry.referrers import Referrers
from lading.registry.tags import Tags
from lading.registry.validation import Rules

CACHE_BYTES = 8 * 1024 * 1024
"""For manifests that were asked for lately, in each process."""


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """The exact bytes, and the type they were recognised as."""

    digest: Digest
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push has stored."""

    digest: Digest
    tags: list[Tag]
    subject: Digest | None


@dataclass(frozen=True, slots=True)
class Manifests:
    storage: Storage
    blobs: Blobs
    tags: Tags
    referrers: Referrers
    rules: Rules = field(default_factory=Rules)
    known: links.Known = field(default_factory=links.Known)
    cache: Cache[StoredManifest] = field(default_factory=lambda: Cache(CACHE_BYTES))
    immutability: Immutability = field(default_factory=Immutability)
    dated: Repositories = none
    """Where the time of a tag's last push counts, though it may have shown the same before."""

    async def resolve(self, name: RepositoryName, reference: Reference) -> Digest:
        """The digest a reference stands for now. Raises MANIFEST_UNKNOWN for an unknown tag."""
        return reference if isinstance(reference, Digest) else await self.tags.get(name, reference)

    async def all(self, name: RepositoryName) -> list[Digest]:
        """Every manifest that the repository has, tagged or not."""
        return await links.listed(self.storage, f"{layout.repository(name)}/{layout.REVISIONS}")

    async def get(self, name: RepositoryName, digest: Digest, *, lately: bool = False) -> StoredManifest:
        """It may be enough that it was there `lately`. Raises MANIFEST_UNKNOWN."""
        link = layout.manifest_link(name, digest)
        linked = await links.follow(self.storage, link, digest, self.known, lately=lately)
        stored = None if linked is None else await self._stored(linked, lately=lately)
        if stored is None:
            raise errors.MANIFEST_UNKNOWN(detail=f"unknown manifest name={name} revision={digest}")
        return stored if linked == digest else replace(stored, digest=digest)

    async def put(
        self,
        name: RepositoryName,
        reference: Reference,
        data: bytes,
        content_type: str,
        tags: list[Tag],
        classes: frozenset[str] = frozenset(),
    ) -> Pushed:
        """Check and store a manifest, then point the reference, if it is a tag, and `tags` to it.

        `classes` are those of the images the caller may push, empty for any.

        Raises MANIFEST_INVALID, DIGEST_INVALID, MANIFEST_BLOB_UNKNOWN, DENIED, also where an immutable tag shows
        another manifest; then nothing is stored.
        """
        manifest = oci_manifest.parse(data, content_type)
        digest = Digest.of(data, reference.algorithm if isinstance(reference, Digest) else CANONICAL)
        if isinstance(reference, Digest):
            if digest != reference:
                raise errors.DIGEST_INVALID()
        elif reference not in tags:
            tags = [reference, *tags]
        begun = time.monotonic()
        await validation.check(self.rules, self.blobs, name, manifest, classes)
        subject = await self._store(name, manifest, digest, data, tags)
        if self.rules.twice or time.monotonic() - begun > SETTLE_SECONDS:
            # What was there may have been collected: who looks now brings it back.
            try:
                await self._check_again(name, manifest, digest, classes)
            except RegistryError:
                if not self.rules.twice:
                    raise
                await self._take_back(name, manifest, digest, classes)
        return Pushed(digest, tags, subject)

    async def _check_again(
        self, name: RepositoryName, manifest: Manifest, digest: Digest, classes: frozenset[str]
    ) -> None:
        await validation.check(self.rules, self.blobs, name, manifest, classes)
        await self.get(name, digest)

    async def _take_back(
        self, name: RepositoryName, manifest: Manifest, digest: Digest, classes: frozenset[str]
    ) -> None:
        """The repository was deleted meanwhile (decision 0012). Raises unless somebody has made it whole again."""
        async with self.storage.hold(layout.manifests(name), shared=False):
            try:
                await self._check_again(name, manifest, digest, classes)
            except RegistryError:
                await self._delete(name, digest, await self.tags.of(name, digest))
                raise

    async def _store(
        self, name: RepositoryName, manifest: Manifest, digest: Digest, data: bytes, tags: list[Tag]
    ) -> Digest | None:
        """Returns the subject, if there is one."""
        subject = None if manifest.subject is None else Digest(manifest.subject.digest)
        link = links.content(digest)
        stored = {layout.blob_data(digest): data}
        if subject is not None:
            # Before the manifest is visible: a referrer that can be pulled can also be found.
            stored[layout.referrer_link(name, subject, digest)] = link
        stored[layout.manifest_link(name, digest)] = link
        shown = {layout.tag_link(name, tag): link for tag in tags}
        # Not while a manifest is deleted: its tags could come after its deletion, or go with it though they moved.
        async with self.immutability.pushing(self.storage, name, tags):
            await self.immutability.check_push(self.storage, name, tags, digest)
            if self.dated(name):
                # `put_all` may leave what is the same, as old as it is.
                await self.storage.put_all(stored)
                for key in shown:
                    await self.storage.put(key, link)
            else:
                await self.storage.put_all(stored, shown)
            for tag in tags:
                await self.tags.note(name, tag, digest)
        return subject

    async def delete(self, name: RepositoryName, digest: Digest) -> list[Tag]:
        """Remove the manifest from the repository, with the tags that point to it, which are returned.

        Children of an index and referrers stay. Raises MANIFEST_UNKNOWN, DENIED if one of the tags is immutable.
        """
        if await links.read(self.storage, layout.manifest_link(name, digest)) is None:
            raise errors.MANIFEST_UNKNOWN()
        await self.blobs.forget(name, digest)
        async with self.storage.hold(layout.manifests(name), shared=False):
            tags = await self.tags.of(name, digest)
            self.immutability.check_deletion(name, tags)
            deleted = await self._delete(name, digest, tags)
        await self.blobs.forget(name, digest)
        if not deleted:
            raise errors.MANIFEST_UNKNOWN()
        return tags

    async def _delete(self, name: RepositoryName, digest: Digest, tags: list[Tag]) -> bool:
        """`tags` are those that point to it. Returns whether the manifest was there."""
        # Tags first: at no moment does a tag lead to what is gone.
        await self.tags.delete_all(name, tags)
        await self._forget_subject(name, digest)
        return await links.delete(self.storage, layout.manifest_link(name, digest))

    async def delete_tag(self, name: RepositoryName, tag: Tag) -> None:
        """The manifest stays. Raises MANIFEST_UNKNOWN, and DENIED for a tag that is immutable."""
        if await found(self.storage, layout.manifests(name)) is None:
            raise errors.MANIFEST_UNKNOWN(detail=f"unknown tag={tag}")
        if self.immutability.has(name, tag):
            await self.tags.get(name, tag)
            self.immutability.check_deletion(name, [tag])
        async with self.storage.hold(layout.manifests(name), shared=False):
            await self.tags.delete(name, tag)

    async def _stored(self, digest: Digest, *, lately: bool) -> StoredManifest | None:
        """From memory, as long as the storage holds it."""
        key = layout.blob_data(digest)
        cached = self.cache.get(digest)
        if cached is not None and lately and self.known.lately(key):
            return cached
        asked = self.known.trust.now
        if cached is not None:
            held = await found(self.storage, key)
            if held is not None and held.size == len(cached.data):
                self.known.saw(key, asked)
                return cached
        try:
            data = await self.storage.get(key)
        except PathNotFoundError:
            return None
        stored = StoredManifest(digest, oci_manifest.media_type_of(data), data)
        # Damaged content, should somebody repair it, is not to live on here.
        if Digest.of(data, digest.algorithm) == digest:
            self.cache.put(digest, stored, len(data))
            self.known.saw(key, asked)
        return stored

    async def _forget_subject(self, name: RepositoryName, digest: Digest) -> None:
        try:
            manifest = oci_manifest.read((await self.get(name, digest)).data)
        except RegistryError:
            return
        if manifest.subject is not None:
            # What the original stored may name a subject of any form; then there is no link.
            with contextlib.suppress(InvalidDigestError):
                await self.referrers.remove(name, Digest.parse(manifest.subject.digest), digest)
