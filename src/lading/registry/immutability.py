"""Tags that, once pushed, neither move nor go (decision 0011). The one place of this rule."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from lading.oci import errors
from lading.oci.digest import Digest
from lading.oci.names import RepositoryName, Tag
from lading.oci.patterns import Repositories, Selection, none
from lading.registry import layout, links
from lading.registry.ports import BusyError, Storage, UnavailableError

CLAIM = str(uuid.uuid5(uuid.NAMESPACE_URL, "lading:immutable-tags"))
"""The upload session whose writer keeps other nodes out, in a repository."""

PATIENCE_SECONDS = 15.0
"""How long to wait for another node: longer than S3 keeps the lease of one that has died."""

RETRY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Immutability:
    """`exempt` are repositories whose tags others move: those that are pulled through."""

    selections: tuple[Selection, ...] = ()
    exempt: Repositories = none

    def has(self, name: str, tag: str) -> bool:
        """Whether the tag, if it is there, must stay as it is."""
        return any(each.has(name, tag) for each in self.selections) and not self.exempt(name)

    def among(self, name: RepositoryName, tags: Iterable[Tag]) -> list[Tag]:
        return [tag for tag in tags if self.has(name, tag)]

    def check_deletion(self, name: RepositoryName, tags: Iterable[Tag]) -> None:
        """These tags, which are there, are to be deleted. Raises DENIED."""
        for tag in self.among(name, tags):
            raise errors.TAG_IMMUTABLE(
                detail={"name": name, "tag": tag}, message=f"tag {tag} is immutable: it cannot be deleted"
            )

    async def check_push(
        self, storage: Storage, name: RepositoryName, tags: Iterable[Tag], digest: Digest
    ) -> None:
        """These tags are to point to the digest. To be called within `pushing`. Raises DENIED."""
        for tag in self.among(name, tags):
            held = await links.read(storage, layout.tag_link(name, tag))
            if held not in (None, digest):
                raise errors.TAG_IMMUTABLE(
                    detail={"name": name, "tag": tag, "digest": held},
                    message=f"tag {tag} is immutable: it stays at {held}",
                )

    @contextlib.asynccontextmanager
    async def pushing(self, storage: Storage, name: RepositoryName, tags: Iterable[Tag]) -> AsyncIterator[None]:
        """While tags of the repository are pushed: not while a manifest or a tag is deleted there.

        Where some are immutable nobody else pushes, either; raises `UnavailableError` if that takes too long.
        """
        alone = bool(self.among(name, tags))
        async with storage.hold(layout.manifests(name), shared=not alone):
            if not alone or storage.traits.locks:
                yield
                return
            # Other nodes are kept out by what every driver has: one writer for a key, anywhere.
            async with _claimed(storage, layout.upload_data(name, CLAIM)):
                yield


@contextlib.asynccontextmanager
async def _claimed(storage: Storage, key: str) -> AsyncIterator[None]:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            writer = await storage.writer(key, append=False)
            break
        except BusyError as error:
            if time.monotonic() > until:
                what = f"others push immutable tags, or one that did has died: {error.detail}"
                raise UnavailableError(error.driver, what) from error
            await asyncio.sleep(RETRY_SECONDS)
    try:
        yield
    finally:
        await writer.cancel()
