"""What a pushed manifest must satisfy before it is stored."""

from __future__ import annotations

import asyncio
import functools
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from lading.oci import errors, media
from lading.oci.digest import Digest, InvalidDigestError
from lading.oci.errors import Entry, RegistryError
from lading.oci.manifest import Descriptor, Manifest
from lading.oci.names import RepositoryName
from lading.registry import layout, links
from lading.registry.blobs import Blobs
from lading.registry.garbage import each
from lading.registry.ports import PathNotFoundError

AT_ONCE = 16
"""The blobs that are looked for together."""

_MAX_URL_LENGTH = 2048

_CLASS_OF_CONFIG = {
    media.DOCKER_IMAGE_CONFIG: "image",
    media.OCI_IMAGE_CONFIG: "image",
    media.DOCKER_PLUGIN_CONFIG: "plugin",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's part of the rules, from the `validation` and `policy` sections of the configuration.

    `url_allow` None means any URL, `platforms` None that no child of an index must exist, an empty set that
    all must; `classes` empty means that every kind of image is welcome. `twice` has it all looked at again when
    the manifest is stored, since whole repositories may be deleted meanwhile (decision 0012).
    """

    check_sizes: bool = True
    url_allow: tuple[re.Pattern[str], ...] | None = ()
    url_deny: tuple[re.Pattern[str], ...] = ()
    platforms: frozenset[tuple[str, str]] | None = frozenset()
    classes: frozenset[str] = frozenset()
    twice: bool = False

    def allows_url(self, url: str) -> bool:
        if len(url) > _MAX_URL_LENGTH:
            return False  # bounds what a pattern that backtracks can cost
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        if parts.scheme not in {"http", "https"} or parts.fragment:
            return False
        if self.url_allow is not None and not any(pattern.search(url) for pattern in self.url_allow):
            return False
        return not any(pattern.search(url) for pattern in self.url_deny)

    def requires_child(self, child: Descriptor) -> bool:
        if self.platforms is None:
            return False
        if not self.platforms:
            return True
        platform = child.platform
        return platform is not None and (platform.os, platform.architecture) in self.platforms


async def check(
    rules: Rules, blobs: Blobs, name: RepositoryName, manifest: Manifest, granted: frozenset[str] = frozenset()
) -> None:
    """Raises DENIED, MANIFEST_INVALID, or an error for every reference that is malformed or missing.

    `granted` are the classes of images the caller may push, empty for any.
    """
    _check_class(rules, manifest, granted)
    _check_subject(manifest)
    check_one = functools.partial(_check_child if manifest.is_index else _check_blob, rules, blobs, name)
    descriptors = manifest.children if manifest.is_index else manifest.blobs
    unique = list(dict.fromkeys(descriptors))
    if blobs.storage.traits.flat:
        # Over a network the answers are waited for together.
        found = dict(zip(unique, await each(check_one, unique, at_once=AT_ONCE), strict=True))
    else:
        found = {}
        for descriptor in unique:
            found[descriptor] = await check_one(descriptor)
            # A manifest may name tens of thousands of blobs: others are served in between.
            await asyncio.sleep(0)
    entries = [entry for descriptor in descriptors for entry in found[descriptor]]
    if entries:
        raise RegistryError(entries)


def _check_class(rules: Rules, manifest: Manifest, granted: frozenset[str]) -> None:
    if not rules.classes or manifest.config is None:
        return
    kind = _CLASS_OF_CONFIG.get(manifest.config.media_type)
    if kind is None:
        raise errors.DENIED(message=f"unknown manifest class for {manifest.config.media_type}")
    if kind not in rules.classes:
        raise errors.DENIED(message=f"registry does not allow {kind} manifest")
    if granted and kind not in granted:
        raise errors.DENIED(message=f"repository not authorized for {kind} manifest")


def _check_subject(manifest: Manifest) -> None:
    """It need not exist, but it must be nameable, or its referrers could never be asked for."""
    if manifest.subject is None:
        return
    try:
        Digest.parse(manifest.subject.digest)
    except InvalidDigestError as error:
        raise errors.MANIFEST_INVALID(detail=f"subject.digest: {error}") from error


async def _check_blob(rules: Rules, blobs: Blobs, name: RepositoryName, descriptor: Descriptor) -> list[Entry]:
    digest = _digest(descriptor)
    if isinstance(digest, list):
        return digest
    foreign = descriptor.media_type == media.DOCKER_FOREIGN_LAYER
    elsewhere = foreign or (descriptor.media_type in media.OCI_NON_DISTRIBUTABLE_LAYERS and bool(descriptor.urls))
    if foreign and not descriptor.urls:
        return [Entry(errors.MANIFEST_INVALID, f"missing URL on layer {digest}")]
    if (elsewhere or descriptor.media_type in media.OCI_LAYERS) and not all(
        map(rules.allows_url, descriptor.urls)
    ):
        return [Entry(errors.MANIFEST_INVALID, f"invalid URL on layer {digest}")]
    if elsewhere:
        return []
    try:
        size = await blobs.size(name, digest)
    except RegistryError:
        return [Entry(errors.MANIFEST_BLOB_UNKNOWN, digest)]
    if rules.check_sizes and size != descriptor.size:
        return [Entry(errors.MANIFEST_INVALID, f"size of {digest} is {size}, not {descriptor.size}")]
    return []


async def _check_child(rules: Rules, blobs: Blobs, name: RepositoryName, child: Descriptor) -> list[Entry]:
    digest = _digest(child)
    if isinstance(digest, list):
        return digest
    if not rules.requires_child(child):
        return []
    linked = await links.read(blobs.storage, layout.manifest_link(name, digest))
    try:
        stored = None if linked is None else await blobs.storage.stat(layout.blob_data(linked))
    except PathNotFoundError:
        stored = None
    if stored is None:
        return [Entry(errors.MANIFEST_BLOB_UNKNOWN, digest)]
    if rules.check_sizes and stored.size != child.size:
        return [Entry(errors.MANIFEST_INVALID, f"size of {digest} is {stored.size}, not {child.size}")]
    return []


def _digest(descriptor: Descriptor) -> Digest | list[Entry]:
    try:
        return Digest.parse(descriptor.digest)
    except InvalidDigestError as error:
        return [
            Entry(errors.DIGEST_INVALID, str(error)),
            Entry(errors.MANIFEST_BLOB_UNKNOWN, descriptor.digest),
        ]
