"""Verification: whether all that is stored is what it should be, and all that is referred to is there.

Content first, then repositories, each in byte order: so a verification can go on where another one stopped. It may
run while the registry serves: what goes meanwhile is passed over, what comes may be.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from lading.oci import manifest as oci_manifest
from lading.oci.digest import HEX_DIGITS, Digest, InvalidDigestError
from lading.oci.errors import RegistryError
from lading.oci.hashing import INLINE_BYTES, Hasher
from lading.oci.manifest import Descriptor
from lading.oci.names import RepositoryName, Tag, is_tag
from lading.registry import layout, links
from lading.registry.ports import PathNotFoundError, Storage, found
from lading.registry.quarantine import CORRUPT, Batch, Quarantine
from lading.registry.repositories import Repositories

PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be at `key`. Where it is `harmful` something cannot be pulled."""

    key: str
    what: str
    harmful: bool = True
    removable: bool = False
    """Nothing is worse without it: it can be put into quarantine."""


@dataclass(slots=True)
class Verification:
    """`position` is where it is, and where it begins; `read` counts bytes of blobs.

    `read_on` is told of the bytes of each piece of a blob, and waits as long as the reading is to be slowed down.
    """

    storage: Storage
    read_on: Callable[[int], Awaitable[None]]
    position: str = ""
    blobs: int = 0
    repositories: int = 0
    _sizes: dict[str, int | None] = field(default_factory=dict)
    _broken: set[str] = field(default_factory=set)
    """Links of this repository that lead nowhere: what leads to one of them is no better."""

    async def units(self) -> AsyncIterator[Finding | None]:
        """What is found in one blob or repository after the other; None where `position` is behind one.

        Each is told as soon as it is found: later it may be right again. Raises `StorageError` where something
        cannot be read.
        """
        done = self.position.removeprefix(f"{layout.REPOSITORIES}/")
        if done == self.position:
            done = ""
            async for key in self._blobs():
                if (finding := await self._blob(key)) is not None:
                    yield finding
                self.position = key
                yield None
        async for name in Repositories(self.storage).walk(layout.MANIFESTS, after=done):
            async for finding in self._repository(RepositoryName(name)):
                yield finding
            self.repositories += 1
            self.position = layout.repository(name)
            yield None

    async def _blobs(self) -> AsyncIterator[str]:
        """The keys of those behind `position`."""
        for algorithm in await self._names(layout.BLOBS):
            for prefix in await self._names(f"{layout.BLOBS}/{algorithm}"):
                folder = f"{layout.BLOBS}/{algorithm}/{prefix}"
                if f"{folder}/~" > self.position:
                    for encoded in await self._names(folder):
                        key = f"{folder}/{encoded}/data"
                        if key > self.position:
                            yield key

    async def _blob(self, key: str) -> Finding | None:
        digest = layout.blob_of(key)
        if digest is None:
            return Finding(key.rpartition("/")[0], "is no place for a blob", harmful=False)
        try:
            reader = await self.storage.open(key)
        except PathNotFoundError:
            return None
        hasher, size = Hasher(digest.algorithm), 0
        try:
            while data := await reader.read(PIECE_BYTES):
                if len(data) <= INLINE_BYTES:
                    hasher.update(data)
                else:
                    await asyncio.to_thread(hasher.update, data)
                size += len(data)
                await self.read_on(len(data))
        finally:
            await reader.close()
        self.blobs += 1
        if hasher.digest() == digest:
            return None
        return Finding(key, f"is something else: {size} bytes with digest {hasher.digest()}", removable=True)

    async def _repository(self, name: RepositoryName) -> AsyncIterator[Finding]:
        self._sizes.clear()
        self._broken.clear()
        for algorithm in HEX_DIGITS:
            for encoded in await self._names(layout.layers(name, algorithm)):
                async for finding in self._link(layout.layer_link, name, f"{algorithm}:{encoded}"):
                    yield finding
        for algorithm in HEX_DIGITS:
            for encoded in await self._names(layout.revisions(name, algorithm)):
                async for finding in self._link(layout.manifest_link, name, f"{algorithm}:{encoded}"):
                    yield finding
                async for finding in self._manifest(name, f"{algorithm}:{encoded}"):
                    yield finding
        for tag in await self._names(layout.tags(name)):
            if is_tag(tag):
                async for finding in self._tag(name, Tag(tag)):
                    yield finding
                async for finding in self._history(name, Tag(tag)):
                    yield finding
        async for finding in self._referrers(name):
            yield finding

    async def _link(
        self, key_of: Callable[[RepositoryName, Digest], str], name: RepositoryName, text: str
    ) -> AsyncIterator[Finding]:
        try:
            digest = Digest.parse(text)
        except InvalidDigestError:
            return
        key = key_of(name, digest)
        if await found(self.storage, key) is None:
            return
        linked = await links.read(self.storage, key)
        if linked is None:
            self._broken.add(key)
            yield Finding(key, "holds no digest", removable=True)
        elif await found(self.storage, layout.blob_data(linked)) is None and await found(self.storage, key):
            self._broken.add(key)
            yield Finding(key, f"leads to {linked}, which is not stored", removable=True)

    async def _manifest(self, name: RepositoryName, text: str) -> AsyncIterator[Finding]:
        try:
            digest = Digest.parse(text)
        except InvalidDigestError:
            return
        key = layout.manifest_link(name, digest)
        linked = await links.read(self.storage, key)
        if linked is None:
            return
        try:
            manifest = oci_manifest.read(await self.storage.get(layout.blob_data(linked)))
        except PathNotFoundError:
            return
        except RegistryError as error:
            yield Finding(key, f"cannot be understood: {error}")
            return
        for blob in manifest.blobs:
            if not blob.urls:
                async for finding in self._part(key, layout.layer_link, name, blob, harmful=True):
                    yield finding
        for child in manifest.children:
            # An index may be pushed without the platforms that nobody wants here.
            async for finding in self._part(key, layout.manifest_link, name, child, harmful=False):
                yield finding

    async def _part(
        self,
        key: str,
        key_of: Callable[[RepositoryName, Digest], str],
        name: RepositoryName,
        part: Descriptor,
        *,
        harmful: bool,
    ) -> AsyncIterator[Finding]:
        try:
            digest = Digest.parse(part.digest)
        except InvalidDigestError:
            yield Finding(key, f"refers to {part.digest!r}, which is no digest", harmful)
            return
        link = key_of(name, digest)
        if link not in self._sizes:
            linked = await links.read(self.storage, link)
            held = None if linked is None else await found(self.storage, layout.blob_data(linked))
            self._sizes[link] = None if held is None else held.size
        size = self._sizes[link]
        if size is None:
            # Unless it went with what refers to it.
            if await found(self.storage, key) is not None:
                yield Finding(key, f"refers to {digest}, which the repository does not have", harmful)
        elif size != part.size:
            yield Finding(key, f"refers to {digest} with {part.size} bytes, of which there are {size}")

    async def _tag(self, name: RepositoryName, tag: Tag) -> AsyncIterator[Finding]:
        key = layout.tag_link(name, tag)
        if await found(self.storage, key) is None:
            return
        digest = await links.read(self.storage, key)
        if digest is None:
            yield Finding(key, "holds no digest", removable=True)
        elif await self._lacks(name, digest) and await links.read(self.storage, key) == digest:
            yield Finding(key, f"shows {digest}, which the repository does not have", removable=True)

    async def _lacks(self, name: RepositoryName, digest: Digest) -> bool:
        link = layout.manifest_link(name, digest)
        return link in self._broken or await found(self.storage, link) is None

    async def _history(self, name: RepositoryName, tag: Tag) -> AsyncIterator[Finding]:
        """What a tag has shown. Only collections read it, and manifests go without it: damage harms nobody."""
        for digest in await links.listed(self.storage, f"{layout.tag(name, tag)}/{layout.HISTORY}"):
            key = layout.tag_history_link(name, tag, digest)
            if await links.read(self.storage, key) is None and await found(self.storage, key) is not None:
                yield Finding(key, "holds no digest", harmful=False, removable=True)

    async def _referrers(self, name: RepositoryName) -> AsyncIterator[Finding]:
        """Links by which referrers are found: of manifests that are there, and say so themselves."""
        top = f"{layout.repository(name)}/{layout.REFERRERS}"
        for algorithm in HEX_DIGITS:
            for encoded in await self._names(f"{top}/{algorithm}"):
                try:
                    subject = Digest.parse(f"{algorithm}:{encoded}")
                except InvalidDigestError:
                    continue
                for digest in await links.listed(self.storage, f"{top}/{algorithm}/{encoded}"):
                    key = layout.referrer_link(name, subject, digest)
                    if await self._lacks(name, digest) and await found(self.storage, key) is not None:
                        what = f"is about {digest}, which the repository does not have"
                        yield Finding(key, what, harmful=False, removable=True)

    async def _names(self, key: str) -> Sequence[str]:
        try:
            return await self.storage.list(key)
        except PathNotFoundError:
            return ()


@dataclass(slots=True)
class Repair:
    """Puts into quarantine what harms nobody by its absence. It never deletes; nothing comes back by itself."""

    storage: Storage
    batch: Batch | None = None

    async def put_away(self, finding: Finding) -> bool:
        """False if it has gone, or is not to be put away. Raises `StorageError`."""
        if not finding.removable:
            return False
        quarantine = Quarantine(self.storage)
        if self.batch is None:
            self.batch = await quarantine.begin(CORRUPT)
        try:
            await quarantine.put_away(self.batch, finding.key)
        except PathNotFoundError:
            return False
        return True
