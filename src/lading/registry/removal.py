"""Removal of a whole repository (decision 0012). Content that others hold stays, as with every deletion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lading.oci import errors
from lading.oci.digest import HEX_DIGITS, Digest
from lading.oci.names import RepositoryName, Tag, is_tag
from lading.registry import layout, links
from lading.registry.blobs import Blobs
from lading.registry.manifests import Manifests
from lading.registry.ports import PathNotFoundError, Storage
from lading.registry.repositories import Repositories
from lading.registry.tags import Tags


@dataclass(frozen=True, slots=True)
class Removed:
    """How many went."""

    tags: int
    manifests: int


NOTHING = Removed(0, 0)


@dataclass(frozen=True, slots=True)
class Removal:
    storage: Storage
    blobs: Blobs
    tags: Tags
    manifests: Manifests

    async def remove(self, name: RepositoryName) -> Removed:
        """With its tags, manifests, blobs and uploads; not with repositories whose names begin with its name.

        What is left where it ends early is removed by the next one. Raises NAME_UNKNOWN, and DENIED if a tag is
        immutable; then nothing goes.
        """
        if not set(layout.PARTS) & set(await self._names(layout.repository(name))):
            raise errors.NAME_UNKNOWN(detail={"name": name})
        linked = await self._believed(name) if self.blobs.descriptors is not None else []
        for digest in linked:
            await self.blobs.forget(name, digest)
        async with self.storage.hold(layout.manifests(name), shared=False):
            await self.check(name)
            removed = await self._remove_manifests(name)
            for part in (layout.REVISIONS, layout.UPLOADS, layout.LAYERS, layout.REFERRERS, layout.PULLED):
                await links.delete(self.storage, f"{layout.repository(name)}/{part}")
            # Whom nothing keeps out may have pushed a manifest whose layers have just gone.
            while await self._remove_manifests(name) != NOTHING:
                continue
            if self.storage.traits.locks:
                await links.delete(self.storage, layout.manifests(name))
        for digest in linked:
            await self.blobs.forget(name, digest)
        await Repositories(self.storage).leave(name)
        await Repositories(self.storage).tidy(name)
        return removed

    async def check(self, name: RepositoryName) -> None:
        """Raises DENIED if a tag of the repository is immutable."""
        self.manifests.immutability.check_deletion(name, await self._tags(name, holding=layout.CURRENT_LINK))

    async def _remove_manifests(self, name: RepositoryName) -> Removed:
        """Tags first: at no moment does one lead to what is gone."""
        gone = await self.tags.delete_all(name, await self._tags(name))
        count = 0
        for algorithm in HEX_DIGITS:
            key = layout.revisions(name, algorithm)
            if linked := len(await self._names(key)):
                count += linked
                await links.delete(self.storage, key)
        return Removed(len(gone), count)

    async def _tags(self, name: RepositoryName, holding: str = "") -> list[Tag]:
        """Halves of tags among them, unless they are to hold a link."""
        return [Tag(tag) for tag in await self._names(layout.tags(name), holding) if is_tag(tag)]

    async def _believed(self, name: RepositoryName) -> list[Digest]:
        """All that a cache may take to be here."""
        return [*await self.manifests.all(name), *await self.blobs.all(name)]

    async def _names(self, key: str, holding: str = "") -> Sequence[str]:
        try:
            return await self.storage.list(key, holding=holding)
        except PathNotFoundError:
            return ()
