"""An OCI image layout on disk (image specification: "Image Layout") as a place to copy from and to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, Iterator

from lading.client.disk import receive, write
from lading.client.download import Progress
from lading.client.errors import ClientError
from lading.client.sources import of_file
from lading.client.upload import Outcome, Source
from lading.oci import building, media
from lading.oci.building import Content, InvalidManifestError
from lading.oci.digest import Digest, InvalidDigestError
from lading.oci.errors import RegistryError
from lading.oci.hashing import Hasher
from lading.oci.manifest import Descriptor, view
from lading.oci.names import is_tag

REF_NAME = "org.opencontainers.image.ref.name"
MARKER = "oci-layout"

_VERSION = b'{"imageLayoutVersion":"1.0.0"}'


class LayoutError(ClientError):
    """A directory that is no layout, or does not hold what was asked for; the text names it."""


class Layout:
    """See `lading.client.copying.Place`. Whatever appears in it appears whole: files are renamed to their place.

    Its index is read and written by one process at a time.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._writing = asyncio.Lock()

    def create(self) -> None:
        """The directory and what marks it; what is there stays. Raises `LayoutError`."""
        try:
            os.makedirs(os.path.join(self.path, "blobs"), exist_ok=True)
            if not os.path.exists(os.path.join(self.path, MARKER)):
                write(os.path.join(self.path, MARKER), _VERSION)
            if not os.path.exists(os.path.join(self.path, "index.json")):
                write(os.path.join(self.path, "index.json"), building.index([]).data)
        except OSError as error:
            raise LayoutError(f"{self.path}: {error.strerror}") from error

    def check(self) -> None:
        """Raises `LayoutError` if it is none that can be read."""
        try:
            with open(os.path.join(self.path, MARKER), "rb") as file:
                version = json.loads(file.read())["imageLayoutVersion"]
        except OSError as error:
            raise LayoutError(f"{self.path}: is no OCI image layout: {MARKER}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError):
            raise LayoutError(f"{self.path}: {MARKER} is not what it should be") from None
        if not str(version).startswith("1."):
            raise LayoutError(f"{self.path}: is a layout of version {version}")

    def entries(self) -> list[Descriptor]:
        """What its index names, in order. Raises `LayoutError`."""
        try:
            with open(os.path.join(self.path, "index.json"), "rb") as file:
                return list(view(file.read(), media.OCI_INDEX).children)
        except OSError as error:
            raise LayoutError(f"{self.path}: index.json: {error.strerror}") from error
        except RegistryError as error:
            raise LayoutError(f"{self.path}: index.json: {error.entries[0].detail}") from error

    async def manifest(self, reference: str) -> Content:
        """By its digest or its name in the index; "" is the only one there. Raises `LayoutError`."""
        found = self._find(reference)
        with self._failures(found.digest):
            data = await asyncio.to_thread(_read, self._file(found.digest))
        digest = _digest(self.path, found.digest)
        if Digest.of(data, digest.algorithm) != digest:
            raise LayoutError(f"{self.path}: the content of {digest} does not match it")
        return Content(digest, found.media_type or _media_type(data), data)

    async def has_manifest(self, digest: Digest) -> bool:
        return self._holds(digest)

    async def put_manifest(self, content: Content, tag: str = "", *, root: bool = True) -> None:
        async with self._writing:
            with self._failures(content.digest):
                self._store(content)
                if root:
                    self._list(content, tag)

    def source(self, digest: Digest) -> Source:
        pieces = of_file(self._file(digest))

        async def verified(offset: int) -> AsyncGenerator[bytes, None]:
            hasher = Hasher(digest.algorithm)
            with self._failures(digest):
                async with contextlib.aclosing(pieces(offset)) as found:
                    async for piece in found:
                        hasher.update(piece)
                        yield piece
            if not offset and hasher.digest() != digest:
                raise LayoutError(f"{self.path}: the content of {digest} does not match it")

        return verified

    async def put_blob(
        self,
        descriptor: Descriptor,
        source: Source,
        *,
        mount: str | None,  # noqa: ARG002
        progress: Progress | None,
    ) -> Outcome:
        """Verified before it appears."""
        digest = _digest(self.path, descriptor.digest)
        target = self._file(digest)
        if self._holds(digest):
            return Outcome.PRESENT
        mismatch = LayoutError(f"{self.path}: what came for {digest} does not match it")
        with self._failures(digest):
            await receive(target, source, digest, descriptor.size, progress, mismatch)
        return Outcome.UPLOADED

    async def referrers(self, subject: Digest) -> list[Descriptor]:
        """Of those that the index names."""
        found = []
        for entry in self.entries():
            content = await self.manifest(entry.digest)
            try:
                refers_to = content.view().subject
            except InvalidManifestError:
                continue
            if refers_to is not None and refers_to.digest == subject:
                found.append(entry)
        return found

    def mountable(self, origin: object) -> str | None:  # noqa: ARG002
        return None

    def _find(self, reference: str) -> Descriptor:
        entries = self.entries()
        if not reference:
            named = [entry for entry in entries if entry.annotations.get(REF_NAME)] or entries
            if len({entry.digest for entry in named}) != 1:
                raise LayoutError(f"{self.path}: has {len(named)} images: say which by its tag or digest")
            return named[0]
        for entry in reversed(entries):  # the last of those with one name is the youngest
            if reference in {entry.digest, entry.annotations.get(REF_NAME)}:
                return entry
        if not is_tag(reference) and self._holds(reference):
            return Descriptor("", reference, 0)
        raise LayoutError(f"{self.path}: has no {reference}")

    def _file(self, digest: str) -> str:
        checked = _digest(self.path, digest)
        return os.path.join(self.path, "blobs", checked.algorithm, checked.encoded)

    def _holds(self, digest: str) -> bool:
        return os.path.exists(self._file(digest))

    def _store(self, content: Content) -> None:
        target = self._file(content.digest)
        if not self._holds(content.digest):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            write(target, content.data)

    def _list(self, content: Content, tag: str) -> None:
        entries = self.entries()
        if not tag and any(entry.digest == content.digest for entry in entries):
            return
        kept = [entry for entry in entries if not tag or entry.annotations.get(REF_NAME) != tag]
        added = content.descriptor(annotations={REF_NAME: tag} if tag else {})
        write(os.path.join(self.path, "index.json"), building.index([*kept, added]).data)

    @contextlib.contextmanager
    def _failures(self, digest: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LayoutError(f"{self.path}: {digest}: {error.strerror or error}") from error


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _digest(path: str, text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidDigestError as error:
        raise LayoutError(f"{path}: {text[:160]!r}: {error}") from error


def _media_type(data: bytes) -> str:
    """Of a manifest that no index names."""
    try:
        document = json.loads(data)
        stated = document.get("mediaType") or (media.OCI_INDEX if "manifests" in document else media.OCI_MANIFEST)
    except (ValueError, RecursionError, AttributeError):
        return media.OCTET_STREAM
    return str(stated)
