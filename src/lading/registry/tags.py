"""Tags: names of a repository that point to manifests."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from lading.oci import errors
from lading.oci.digest import Digest
from lading.oci.names import RepositoryName, Tag, is_tag
from lading.registry import layout, links
from lading.registry.ports import PathNotFoundError, Storage, StorageError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tags:
    """`concurrency` bounds the links that are read or deleted at once."""

    storage: Storage
    concurrency: int = 8

    async def get(self, name: RepositoryName, tag: Tag) -> Digest:
        """Raises MANIFEST_UNKNOWN."""
        digest = await links.read(self.storage, layout.tag_link(name, tag))
        if digest is None:
            raise errors.MANIFEST_UNKNOWN(detail=f"unknown tag={tag}")
        return digest

    async def note(self, name: RepositoryName, tag: Tag, digest: Digest) -> None:
        """Add to the history of a tag that has been pointed to the digest. Never fails."""
        # The tag has moved: its history, which only garbage collection reads, is no reason to say otherwise.
        try:
            key = layout.tag_history_link(name, tag, digest)
            await self.storage.put(key, links.content(digest), durable=False)
        except StorageError as error:
            log.warning("cannot note the history of tag %s of %s: %s", tag, name, error)

    async def delete(self, name: RepositoryName, tag: Tag) -> None:
        """The manifest stays. Raises MANIFEST_UNKNOWN."""
        if not await self._unlink(name, tag):
            raise errors.MANIFEST_UNKNOWN(detail=f"unknown tag={tag}")
        await self._clear(name, tag)

    async def delete_all(self, name: RepositoryName, tags: Sequence[Tag]) -> list[Tag]:
        """With what is left of those that are halves. Returns those that were there."""
        # The current links go first: a crash in between leaves tags that are gone, not halves of some.
        there = await self._each(functools.partial(self._unlink, name), tags)
        await self._each(functools.partial(self._clear, name), tags)
        return [tag for tag, was_there in zip(tags, there, strict=True) if was_there]

    async def _unlink(self, name: RepositoryName, tag: Tag) -> bool:
        """Whether it was there."""
        return await links.delete(self.storage, layout.tag_link(name, tag))

    async def _clear(self, name: RepositoryName, tag: Tag) -> bool:
        return await links.delete(self.storage, layout.tag(name, tag))

    async def page(self, name: RepositoryName, *, after: str = "", limit: int | None = None) -> list[Tag]:
        """Up to `limit` tags that sort after `after`, in byte order. Raises NAME_UNKNOWN."""
        tags: list[Tag] = []
        key = layout.tags(name)
        try:
            while limit is None or len(tags) < limit:
                wanted = None if limit is None else limit - len(tags)
                names = await self.storage.list(key, after=after, limit=wanted, holding=layout.CURRENT_LINK)
                tags += [Tag(name) for name in names if is_tag(name)]
                if wanted is None or len(names) < wanted:
                    break
                after = names[-1]
        except PathNotFoundError as error:
            await self._check_repository(name, error)
        return tags

    async def of(self, name: RepositoryName, digest: Digest) -> list[Tag]:
        """The tags that point to the digest."""

        async def points_there(tag: Tag) -> bool:
            return await links.read(self.storage, layout.tag_link(name, tag)) == digest

        try:
            tags = [Tag(entry) for entry in await self.storage.list(layout.tags(name)) if is_tag(entry)]
        except PathNotFoundError:
            return []
        there = await self._each(points_there, tags)
        return [tag for tag, points in zip(tags, there, strict=True) if points]

    async def _each(self, work: Callable[[Tag], Awaitable[bool]], tags: Sequence[Tag]) -> list[bool]:
        gate = asyncio.Semaphore(self.concurrency)

        async def one(tag: Tag) -> bool:
            async with gate:
                return await work(tag)

        return await asyncio.gather(*map(one, tags))

    async def _check_repository(self, name: RepositoryName, cause: PathNotFoundError) -> None:
        try:
            await self.storage.stat(layout.manifests(name))
        except PathNotFoundError:
            raise errors.NAME_UNKNOWN(detail={"name": name}) from cause
