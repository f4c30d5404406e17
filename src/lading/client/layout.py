"""An OCI image layout on disk (image specification: "Image Layout") as a place to copy from and to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import orjson

from lading.client.copying import named, view_of
from lading.client.disk import open_regular, receive, tidy, write
from lading.client.download import Progress
from lading.client.errors import ClientError
from lading.client.registry import MAX_MANIFEST_BYTES
from lading.client.sources import of_known_file
from lading.client.upload import Outcome, Source
from lading.oci import building, media
from lading.oci.building import Content, InvalidManifestError
from lading.oci.digest import Digest, InvalidDigestError
from lading.oci.errors import RegistryError
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
        """The directory and what marks it; what is there stays, but for what a killed process left half.

        Raises `LayoutError`.
        """
        blobs = os.path.join(self.path, "blobs")
        try:
            os.makedirs(blobs, exist_ok=True)
            for folder in (self.path, *(each.path for each in os.scandir(blobs) if each.is_dir())):
                tidy(folder)
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
        return self._index()[1]

    async def manifest(self, reference: str) -> Content:
        """By its digest or its name in the index; "" is the only one there. Raises `LayoutError`."""
        return await self._content(self._find(reference))

    async def has_manifest(self, digest: Digest) -> bool:
        """With all that it names; a manifest that is corrupt is not there."""
        left, seen = [Descriptor("", digest, 0)], set()
        while left:
            each = left.pop()
            if each.digest in seen:
                continue
            seen.add(each.digest)
            try:
                parts = named(view_of(await self._content(each)))
                if not all(self._holds(blob.digest) for blob in parts.blobs):
                    return False
            except ClientError:
                return False
            left += parts.manifests
        return True

    async def put_manifest(self, content: Content, tag: str = "", *, root: bool = True) -> None:
        async with self._writing:
            with self._failures(content.digest):
                self._store(content)
                if root:
                    self._list(content, tag)

    def source(self, digest: Digest) -> Source:
        return of_known_file(
            self._file(digest), digest, lambda what: LayoutError(f"{self.path}: {digest}: {what}")
        )

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
            tagged = [entry for entry in entries if entry.annotations.get(REF_NAME)] or entries
            if len({entry.digest for entry in tagged}) != 1:
                raise LayoutError(f"{self.path}: has {len(tagged)} images: say which by its tag or digest")
            return tagged[0]
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
        if not self._holds(content.digest) or _read(target) != content.data:
            write(target, content.data)

    async def _content(self, found: Descriptor) -> Content:
        with self._failures(found.digest):
            data = await asyncio.to_thread(_read, self._file(found.digest))
        digest = _digest(self.path, found.digest)
        if len(data) > MAX_MANIFEST_BYTES:
            raise LayoutError(f"{self.path}: {digest}: is no manifest: has more than {MAX_MANIFEST_BYTES} bytes")
        if Digest.of(data, digest.algorithm) != digest:
            raise LayoutError(f"{self.path}: the content of {digest} does not match it")
        return Content(digest, found.media_type or _media_type(data), data)

    def _index(self) -> tuple[dict[str, Any], list[Descriptor]]:
        """The document, with all that others have written into it, and what of it is known."""
        try:
            with open(os.path.join(self.path, "index.json"), "rb") as file:
                data = file.read()
            return orjson.loads(data), list(view(data, media.OCI_INDEX).children)
        except OSError as error:
            raise LayoutError(f"{self.path}: index.json: {error.strerror}") from error
        except orjson.JSONDecodeError as error:
            raise LayoutError(f"{self.path}: index.json: invalid JSON: {error}") from error
        except RegistryError as error:
            raise LayoutError(f"{self.path}: index.json: {error.entries[0].detail}") from error

    def _list(self, content: Content, tag: str) -> None:
        document, entries = self._index()
        under = [entry.digest for entry in entries if not tag or entry.annotations.get(REF_NAME) == tag]
        if under == [content.digest] or (not tag and content.digest in under):
            return
        written = zip(document.get("manifests") or [], entries, strict=True)
        kept = [each for each, entry in written if not tag or entry.annotations.get(REF_NAME) != tag]
        added = content.descriptor(annotations={REF_NAME: tag} if tag else {})
        document["manifests"] = [*kept, building.fields(added)]
        write(os.path.join(self.path, "index.json"), orjson.dumps(document))

    @contextlib.contextmanager
    def _failures(self, digest: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LayoutError(f"{self.path}: {digest}: {error.strerror or error}") from error


def _read(path: str) -> bytes:
    """No more than tells that it is too large for a manifest."""
    with open_regular(path) as file:
        return file.read(MAX_MANIFEST_BYTES + 1)


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
