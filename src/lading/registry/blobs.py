"""Blobs of a repository: content that a link makes visible there."""

from __future__ import annotations

from dataclasses import dataclass, field

from lading.oci import errors
from lading.oci.digest import Digest
from lading.oci.names import RepositoryName
from lading.registry import layout, links
from lading.registry.ports import Descriptors, Objects, PathNotFoundError, Reader, Storage


@dataclass(frozen=True, slots=True)
class Blobs:
    """Content is shared by all repositories; only what a repository links can be seen through it."""

    storage: Storage
    known: links.Known = field(default_factory=links.Known)
    descriptors: Descriptors | None = None

    async def size(self, name: RepositoryName, digest: Digest) -> int:
        """In bytes. Raises BLOB_UNKNOWN, also where the link is there and the data is not."""
        linked = await self._linked(name, digest)
        size = await self._size(digest, linked)
        self._seen(name, digest, linked, size)
        return size

    async def all(self, name: RepositoryName) -> list[Digest]:
        """Every blob that the repository has, whether or not a manifest refers to it."""
        return await links.listed(self.storage, f"{layout.repository(name)}/{layout.LAYERS}")

    async def open(self, name: RepositoryName, digest: Digest) -> Reader:
        """The caller closes the reader. Raises BLOB_UNKNOWN."""
        believed = self._is_believed(name, digest)
        linked = await self._linked(name, digest, lately=True)
        try:
            reader = await self.storage.open(layout.blob_data(linked))
        except PathNotFoundError as error:
            raise errors.BLOB_UNKNOWN(detail=digest) from error
        if not believed:
            self._seen(name, digest, linked, reader.size)
        return reader

    @property
    def redirects(self) -> bool:
        return self.storage.traits.redirects

    async def redirect(self, name: RepositoryName, digest: Digest, method: str, client: str) -> str | None:
        """Where the client, of that address, can fetch the blob itself, if anywhere. Raises BLOB_UNKNOWN."""
        if not self.redirects:
            return None
        # HEAD may be the question of a push.
        lately, data = method == "GET", layout.blob_data(digest)
        believed = lately and self._is_believed(name, digest)
        linked = await self._linked(name, digest, lately=lately)
        if method != "GET" or linked != digest or not self.known.lately(data):
            asked = self.known.trust.now
            size = await self._size(digest, linked)
            if linked == digest:
                self.known.saw(data, asked)
            if not believed:
                self._seen(name, digest, linked, size)
        return await self.storage.redirect(layout.blob_data(linked), method, client)

    def link_of(self, name: RepositoryName, digest: Digest) -> Objects:
        """What makes content visible in the repository, once it is stored."""
        return {layout.layer_link(name, digest): links.content(digest)}

    async def link(self, name: RepositoryName, digest: Digest, stored: Digest | None = None) -> bool:
        """Make content visible in the repository that lies under `stored`, or else under `digest`.

        False where nothing lies there.
        """
        stored = stored or digest
        objects = {layout.layer_link(name, digest): links.content(stored)}
        try:
            # Whoever stores the same content just now may not have come to make it durable.
            await self.storage.put_all(objects, upon=[layout.blob_data(stored)])
        except PathNotFoundError:
            return False
        return True

    async def mount(self, target: RepositoryName, digest: Digest, source: RepositoryName | None) -> bool:
        """Link into `target` what `source`, or with None any repository, holds. False where it is not there."""
        found: Digest | None = digest
        if source is not None:
            found = await links.follow(self.storage, layout.layer_link(source, digest), digest, self.known)
        return found is not None and await self.link(target, digest, found)

    async def delete(self, name: RepositoryName, digest: Digest) -> None:
        """Remove the link; the data stays for other repositories, or for garbage collection.

        Raises BLOB_UNKNOWN.
        """
        await self.forget(name, digest)
        try:
            if not await links.delete(self.storage, layout.layer_link(name, digest)):
                raise errors.BLOB_UNKNOWN()
        finally:
            await self.forget(name, digest)

    async def forget(self, name: RepositoryName, digest: Digest) -> None:
        """No other registry is to believe that the blob, or manifest, is there: see `Descriptors.gone`."""
        if self.descriptors is not None:
            await self.descriptors.gone(name, digest)

    async def _size(self, digest: Digest, linked: Digest) -> int:
        """Of the content that lies under `linked`."""
        try:
            return (await self.storage.stat(layout.blob_data(linked))).size
        except PathNotFoundError as error:
            raise errors.BLOB_UNKNOWN(detail=digest) from error

    def _is_believed(self, name: RepositoryName, digest: Digest) -> bool:
        """The link may have gone meanwhile: no other registry is told, which might believe it for ever."""
        return self.known.lately(layout.layer_link(name, digest))

    def _seen(self, name: RepositoryName, digest: Digest, linked: Digest, size: int) -> None:
        if self.descriptors is not None and linked == digest:
            self.descriptors.seen(name, digest, size)

    async def _linked(self, name: RepositoryName, digest: Digest, *, lately: bool = False) -> Digest:
        # The link may name another digest: the original stores sha512 content under its sha256 digest.
        link = layout.layer_link(name, digest)
        linked = await links.follow(self.storage, link, digest, self.known, lately=lately)
        if linked is None:
            raise errors.BLOB_UNKNOWN(detail=digest)
        return linked
