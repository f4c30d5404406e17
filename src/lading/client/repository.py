"""One repository of a registry as a place to copy from and to."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from lading.client.download import Progress
from lading.client.registry import RegistryClient
from lading.client.upload import CHUNK_BYTES, Outcome, Source
from lading.oci.building import Content
from lading.oci.digest import Digest
from lading.oci.manifest import Descriptor


class Repository:
    """See `lading.client.copying.Place`. The client stays the caller's to close."""

    def __init__(self, client: RegistryClient, name: str, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.client = client
        self.name = name
        self._chunk_bytes = chunk_bytes

    async def manifest(self, reference: str) -> Content:
        return await self.client.manifest(self.name, reference)

    async def has_manifest(self, digest: Digest) -> bool:
        return await self.client.has_manifest(self.name, digest)

    async def put_manifest(self, content: Content, tag: str = "", *, root: bool = True) -> None:  # noqa: ARG002
        await self.client.put_manifest(self.name, content, tag)

    def source(self, digest: Digest) -> Source:
        """From 0 on the bytes are verified, and their number from any offset."""

        async def pieces(offset: int) -> AsyncGenerator[bytes, None]:
            async with contextlib.AsyncExitStack() as stack:
                download = await stack.enter_async_context(await self.client.blob(self.name, digest, offset))
                async for piece in download:
                    yield piece

        return pieces

    async def put_blob(
        self, descriptor: Descriptor, source: Source, *, mount: str | None, progress: Progress | None
    ) -> Outcome:
        return await self.client.put_blob(
            self.name,
            Digest.parse(descriptor.digest),
            descriptor.size,
            source,
            mount=mount,
            chunk_bytes=self._chunk_bytes,
            progress=progress,
        )

    async def referrers(self, subject: Digest) -> list[Descriptor]:
        return await self.client.referrers(self.name, subject)

    def mountable(self, origin: object) -> str | None:
        """The name to mount from, if `origin` is another repository of the same registry."""
        if isinstance(origin, Repository) and origin.client.host == self.client.host and origin.name != self.name:
            return origin.name
        return None
