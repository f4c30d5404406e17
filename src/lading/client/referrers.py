"""Referrers where a registry has no list of them: an index under a tag, which clients keep.

Distribution specification: "Referrers Tag Schema". Two clients that write it at the same time can lose each
other's entry; whoever has written looks whether its own is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import orjson

from lading.client.errors import InvalidAnswerError, NotFoundError
from lading.oci import building, media
from lading.oci.building import Content, InvalidManifestError
from lading.oci.digest import Digest, InvalidDigestError
from lading.oci.errors import RegistryError
from lading.oci.manifest import Descriptor, descriptor

ATTEMPTS = 5


class Manifests(Protocol):
    host: str

    async def manifest(self, name: str, reference: str) -> Content:
        """See `lading.client.registry.RegistryClient`."""
        ...

    async def put_manifest(self, name: str, content: Content, reference: str = "") -> Digest:
        """See `lading.client.registry.RegistryClient`."""
        ...


def tag_of(subject: Digest) -> str:
    """The tag whose index lists the referrers of a manifest."""
    return subject.replace(":", "-")[:128]


def subject_of(content: Content) -> Digest | None:
    """What a manifest refers to; None for none, and for what is no manifest."""
    try:
        subject = content.view().subject
        return None if subject is None else Digest.parse(subject.digest)
    except (InvalidManifestError, InvalidDigestError):
        return None


class Referrers:
    """The tags of one registry. Within one process its writers wait for each other."""

    def __init__(self) -> None:
        self._writing = asyncio.Lock()

    async def listed(self, manifests: Manifests, name: str, subject: Digest) -> dict[str, Any]:
        """The index under the tag; an empty one if there is none. Raises `ClientError`."""
        try:
            document = orjson.loads((await manifests.manifest(name, tag_of(subject))).data)
        except NotFoundError:
            return {}
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise InvalidAnswerError(f"{manifests.host}: the list of referrers is not JSON")
        return document

    def descriptors(self, host: str, pages: Iterable[Mapping[str, Any]]) -> list[Descriptor]:
        """Of all pages. Raises `InvalidAnswerError`."""
        try:
            found = [descriptor(entry, "manifests") for page in pages for entry in page.get("manifests") or []]
            for each in found:
                Digest.parse(each.digest)
        except (RegistryError, InvalidDigestError, TypeError, AttributeError) as error:
            raise InvalidAnswerError(f"{host}: the list of referrers is not one") from error
        return found

    async def add(self, manifests: Manifests, name: str, subject: Digest, content: Content) -> None:
        """Raises `ClientError`."""
        view = content.view()
        entry = content.descriptor(annotations=view.annotations, artifact_type=view.referrer_type)

        def change(found: list[Descriptor]) -> list[Descriptor]:
            return found if any(each.digest == entry.digest for each in found) else [*found, entry]

        await self._change(manifests, name, subject, change)

    async def remove(self, manifests: Manifests, name: str, subject: Digest, digest: Digest) -> None:
        """Raises `ClientError`."""

        def change(found: list[Descriptor]) -> list[Descriptor]:
            return [each for each in found if each.digest != digest]

        await self._change(manifests, name, subject, change)

    async def _change(
        self,
        manifests: Manifests,
        name: str,
        subject: Digest,
        change: Callable[[list[Descriptor]], list[Descriptor]],
    ) -> None:
        async with self._writing:
            for _ in range(ATTEMPTS):
                found = self.descriptors(manifests.host, [await self.listed(manifests, name, subject)])
                wanted = change(found)
                if wanted == found:
                    return
                index = building.index(wanted, media_type=media.OCI_INDEX)
                await manifests.put_manifest(name, index, tag_of(subject))
        raise InvalidAnswerError(f"{manifests.host}: the list of referrers of {subject} does not stay as written")
