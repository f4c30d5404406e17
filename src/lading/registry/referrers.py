"""Referrers: the manifests of a repository whose `subject` is another one (signatures, attestations, …)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lading.oci import manifest as oci_manifest
from lading.oci.digest import HEX_DIGITS, Digest, InvalidDigestError
from lading.oci.errors import RegistryError
from lading.oci.manifest import Manifest
from lading.oci.names import RepositoryName, Tag
from lading.registry import layout, links
from lading.registry.ports import PathNotFoundError, Storage


@dataclass(frozen=True, slots=True)
class Referrers:
    """A link file for each referrer, kept by whoever stores and deletes manifests."""

    storage: Storage

    async def remove(self, name: RepositoryName, subject: Digest, digest: Digest) -> None:
        await links.delete(self.storage, layout.referrer_link(name, subject, digest))

    async def page(
        self, name: RepositoryName, subject: Digest, *, artifact_type: str, after: str, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """Up to `limit` descriptors of referrers whose digest sorts after `after`, and whether there are more.

        An empty `artifact_type` means all. Referrers that clients pushed to the original, which knows none, are
        found through the tag in which those clients list them.
        """
        known = await self._linked(name, subject) | await self._in_fallback_tag(name, subject)
        descriptors: list[dict[str, Any]] = []
        for digest in sorted(known):
            if digest <= after:
                continue
            descriptor = await self._describe(name, subject, digest)
            if descriptor is None or (artifact_type and descriptor.get("artifactType") != artifact_type):
                continue
            if len(descriptors) == limit:
                return descriptors, True
            descriptors.append(descriptor)
        return descriptors, False

    async def _linked(self, name: RepositoryName, subject: Digest) -> set[Digest]:
        found: set[Digest] = set()
        for algorithm in HEX_DIGITS:
            try:
                names = await self.storage.list(layout.referrers(name, subject, algorithm))
            except PathNotFoundError:
                continue
            found.update(Digest(f"{algorithm}:{encoded}") for encoded in names)
        return found

    async def _in_fallback_tag(self, name: RepositoryName, subject: Digest) -> set[Digest]:
        """Specification: "Backwards Compatibility", referrers tag schema."""
        digest = await links.read(self.storage, layout.tag_link(name, fallback_tag(subject)))
        index = None if digest is None else await self._manifest(name, digest)
        found = set()
        for child in () if index is None else index[0].children:
            try:
                found.add(Digest.parse(child.digest))
            except InvalidDigestError:
                continue
        return found

    async def _describe(self, name: RepositoryName, subject: Digest, digest: Digest) -> dict[str, Any] | None:
        stored = await self._manifest(name, digest)
        if stored is None:
            return None
        manifest, size = stored
        if manifest.subject is None or manifest.subject.digest != subject:
            return None
        descriptor: dict[str, Any] = {"mediaType": manifest.media_type, "digest": digest, "size": size}
        if manifest.referrer_type:
            descriptor["artifactType"] = manifest.referrer_type
        if manifest.annotations:
            descriptor["annotations"] = manifest.annotations
        return descriptor

    async def _manifest(self, name: RepositoryName, digest: Digest) -> tuple[Manifest, int] | None:
        linked = await links.read(self.storage, layout.manifest_link(name, digest))
        if linked is None:
            return None
        try:
            data = await self.storage.get(layout.blob_data(linked))
            return oci_manifest.read(data), len(data)
        except (PathNotFoundError, RegistryError):
            return None


def fallback_tag(subject: Digest) -> Tag:
    """The tag in which clients of registries without a referrers API list the referrers of a subject."""
    algorithm = re.sub(r"[^A-Za-z0-9_.-]", "-", subject.algorithm[:32])
    return Tag(f"{algorithm}-{subject.encoded[:64]}")
