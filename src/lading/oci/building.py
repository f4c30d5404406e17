"""Manifests, indexes and image configs made from nothing: the same input gives the same bytes.

The fields stand in the specification's order, annotations are sorted, and there is no white space: so that whoever
builds the same image again has the same digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from lading.oci import manifest, media
from lading.oci.digest import CANONICAL, Digest
from lading.oci.errors import RegistryError
from lading.oci.manifest import Descriptor, Manifest, Platform

EMPTY = b"{}"
"""The content of a config that says nothing (image specification: "Guidance for an Empty Descriptor")."""


class InvalidManifestError(ValueError):
    """What was to be built, or read, is no manifest; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes with their media type and digest: a manifest, an index, or a config."""

    digest: Digest
    media_type: str
    data: bytes

    @classmethod
    def of(cls, data: bytes, media_type: str, algorithm: str = CANONICAL) -> Content:
        return cls(Digest.of(data, algorithm), media_type, data)

    def descriptor(
        self,
        *,
        platform: Platform | None = None,
        annotations: Mapping[str, str] | None = None,
        artifact_type: str = "",
    ) -> Descriptor:
        return Descriptor(
            self.media_type,
            self.digest,
            len(self.data),
            platform=platform,
            annotations=annotations or {},
            artifact_type=artifact_type,
        )

    def view(self) -> Manifest:
        """What it says, if it is a manifest or an index. Raises `InvalidManifestError`."""
        if self.media_type not in media.IMAGES | media.INDEXES:
            raise InvalidManifestError(f"{self.media_type!r} is no type of a manifest")
        try:
            return manifest.view(self.data, self.media_type)
        except RegistryError as error:
            raise InvalidManifestError(str(error.entries[0].detail)) from error


def image(
    config: Descriptor,
    layers: Sequence[Descriptor],
    *,
    media_type: str = media.OCI_MANIFEST,
    artifact_type: str = "",
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Content:
    """An image manifest: OCI's, or Docker's schema 2 by its media type. Raises `InvalidManifestError`.

    The schema 2 knows no artifact types, subjects and annotations.
    """
    if media_type == media.DOCKER_MANIFEST and (artifact_type or subject or annotations):
        raise InvalidManifestError("schema 2 has no artifactType, subject and annotations")
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "artifactType": artifact_type,
        "config": fields(config),
        "layers": [fields(layer) for layer in layers],
        "subject": None if subject is None else fields(subject),
        "annotations": annotations,
    }
    return _built(document, media_type)


def artifact(
    artifact_type: str,
    layers: Sequence[Descriptor] = (),
    *,
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Content:
    """An image manifest for what is no image, such as a signature. Its config is `empty()`, which must be pushed.

    Without layers the same stands in for them. Raises `InvalidManifestError`.
    """
    if not artifact_type:
        raise InvalidManifestError("an artifact must have an artifactType")
    filler = empty().descriptor()
    return image(filler, layers or [filler], artifact_type=artifact_type, subject=subject, annotations=annotations)


def index(
    children: Sequence[Descriptor],
    *,
    media_type: str = media.OCI_INDEX,
    artifact_type: str = "",
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Content:
    """An image index, or Docker's manifest list by its media type. Raises `InvalidManifestError`."""
    if media_type == media.DOCKER_LIST and (artifact_type or subject or annotations):
        raise InvalidManifestError("a manifest list has no artifactType, subject and annotations")
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "artifactType": artifact_type,
        "manifests": [fields(child) for child in children],
        "subject": None if subject is None else fields(subject),
        "annotations": annotations,
    }
    return _built(document, media_type)


def empty() -> Content:
    return Content.of(EMPTY, media.OCI_EMPTY)


def image_config(
    platform: Platform,
    diff_ids: Sequence[Digest],
    *,
    created: str = "",
    config: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    media_type: str = media.OCI_IMAGE_CONFIG,
) -> Content:
    """What a container is run by. `diff_ids` are digests of the layers before they are compressed, base first.

    `created` is a time as RFC 3339 writes it; `config` and `history` are as the image specification has them.
    """
    document: dict[str, Any] = {
        "created": created,
        "architecture": platform.architecture,
        "os": platform.os,
        "os.version": platform.os_version,
        "os.features": list(platform.os_features),
        "variant": platform.variant,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": list(history),
    }
    return Content.of(_encoded(document), media_type)


def platform_of(config: bytes) -> Platform:
    """The platform that an image's config names. Raises `InvalidManifestError`."""
    try:
        document = orjson.loads(config)
        os, architecture, variant, version = (
            document.get(name) or "" for name in ("os", "architecture", "variant", "os.version")
        )
        features = document.get("os.features") or []
    except (orjson.JSONDecodeError, AttributeError):
        raise InvalidManifestError("the config is no JSON object") from None
    texts = [os, architecture, variant, version]
    if not isinstance(features, list) or not all(isinstance(text, str) for text in [*texts, *features]):
        raise InvalidManifestError("the config's platform is none")
    return Platform(os, architecture, variant, version, tuple(features))


def _built(document: dict[str, Any], media_type: str) -> Content:
    try:
        data = _encoded(document)
        manifest.parse(data, media_type)
    except RegistryError as error:
        raise InvalidManifestError(str(error.entries[0].detail)) from error
    except orjson.JSONEncodeError as error:
        raise InvalidManifestError(str(error)) from error
    return Content.of(data, media_type)


def _encoded(document: dict[str, Any]) -> bytes:
    """Without fields that say nothing, except lists of content, which the specification requires."""
    required = {"layers", "manifests", "rootfs"}
    kept = {name: value for name, value in document.items() if value or name in required}
    if kept.get("annotations"):
        kept["annotations"] = dict(sorted(kept["annotations"].items()))
    return orjson.dumps(kept)


def fields(descriptor: Descriptor) -> dict[str, Any]:
    """A descriptor as JSON has it."""
    platform = descriptor.platform
    found: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
        "urls": list(descriptor.urls),
        "annotations": dict(sorted(descriptor.annotations.items())),
        "data": descriptor.data,
        "artifactType": descriptor.artifact_type,
        "platform": None
        if platform is None
        else {
            name: value
            for name, value in (
                ("architecture", platform.architecture),
                ("os", platform.os),
                ("os.version", platform.os_version),
                ("os.features", list(platform.os_features)),
                ("variant", platform.variant),
            )
            if value or name in {"architecture", "os"}
        },
    }
    return {name: value for name, value in found.items() if value or name == "size"}
