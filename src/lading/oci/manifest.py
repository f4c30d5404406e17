"""Manifests and indexes: a typed view of their bytes, which themselves are kept as they came.

Image specification: "Image Manifest", "Image Index", "Content Descriptors"; and Docker's schema 2 of both.
Field names match exactly and the last of duplicate fields counts. Unknown fields are left alone.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from lading.oci import errors, media

T = TypeVar("T")

_KINDS = {
    media.DOCKER_MANIFEST: "manifest",
    media.DOCKER_LIST: "manifest list",
    media.OCI_MANIFEST: "manifest",
    media.OCI_INDEX: "image index",
}

_MAX_INTEGER = 2**63 - 1

_SCHEMA_1_HINT = (
    "Docker image manifest schema 1 is not supported. Convert the image, for example with "
    "'skopeo copy --format v2s2', or push it with a current client"
)


@dataclass(frozen=True, slots=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content. The digest is as written: it may be of any form until it is checked."""

    media_type: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    data: str = ""
    """The content itself, in base64, where the descriptor carries it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the registry needs to know of an image manifest or an index."""

    media_type: str
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str
    annotations: dict[str, str]

    @property
    def is_index(self) -> bool:
        return self.media_type in media.INDEXES

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The content an image manifest refers to, config first."""
        return self.layers if self.config is None else (self.config, *self.layers)

    @property
    def referrer_type(self) -> str:
        """What a referrers list shows as artifactType: its own, or for images that of the config."""
        if self.artifact_type or self.config is None:
            return self.artifact_type
        return self.config.media_type


def parse(data: bytes, content_type: str) -> Manifest:
    """A manifest as it is pushed. Raises MANIFEST_INVALID with the reason as detail."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in {media.DOCKER_SCHEMA_1, media.DOCKER_SCHEMA_1_SIGNED}:
        raise errors.MANIFEST_INVALID(detail=_SCHEMA_1_HINT)
    if media_type not in media.IMAGES and media_type not in media.INDEXES:
        raise errors.MANIFEST_INVALID(
            detail=f"unsupported manifest media type and no default available: {media_type}"
        )
    document = _document(data)
    manifest = _view(document, media_type)
    _check_shape(manifest)
    if _own_media_type(document) != media_type:
        # No type is stored beside a manifest: it would come back as something else.
        raise errors.MANIFEST_INVALID(detail="index: neither mediaType nor manifests tells that it is an index")
    return manifest


def read(data: bytes) -> Manifest:
    """A manifest as it is stored, typed by what it says of itself. Raises MANIFEST_INVALID."""
    document = _document(data)
    return _view(document, _own_media_type(document))


def view(data: bytes, media_type: str) -> Manifest:
    """A manifest whose type is known from elsewhere, as a client knows it. Raises MANIFEST_INVALID."""
    return _view(_document(data), media_type)


def media_type_of(data: bytes) -> str:
    """The type of a stored manifest, which no file tells. Raises MANIFEST_INVALID."""
    return _own_media_type(_document(data))


def _own_media_type(document: dict[str, Any]) -> str:
    media_type = _field(document, "mediaType", str, "", "mediaType")
    if not media_type:
        return media.OCI_INDEX if document.get("manifests") is not None else media.OCI_MANIFEST
    if media_type not in media.IMAGES and media_type not in media.INDEXES:
        raise errors.MANIFEST_INVALID(detail=f"unsupported manifest media type: {media_type}")
    return media_type


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise errors.MANIFEST_INVALID(detail=f"invalid JSON: {error}") from error
    if not isinstance(document, dict):
        raise errors.MANIFEST_INVALID(detail="the document is not a JSON object")
    version = _field(document, "schemaVersion", int, 0, "schemaVersion")
    if version == 1:
        raise errors.MANIFEST_INVALID(detail=_SCHEMA_1_HINT)
    if version != 2:
        raise errors.MANIFEST_INVALID(detail=f"unrecognized manifest schema version {version}")
    return document


def _view(document: dict[str, Any], media_type: str) -> Manifest:
    _check_kind(document, media_type)
    stated = _field(document, "mediaType", str, "", "mediaType")
    required = media_type in {media.DOCKER_MANIFEST, media.DOCKER_LIST}
    if stated != media_type and (stated or required):
        raise errors.MANIFEST_INVALID(
            detail=f"{'' if required else 'if present, '}mediaType in {_KINDS[media_type]} should be "
            f"'{media_type}' not '{stated}'"
        )
    return Manifest(
        media_type=media_type,
        config=_optional(document, "config"),
        layers=_descriptors(document, "layers"),
        children=_descriptors(document, "manifests"),
        subject=_optional(document, "subject"),
        artifact_type=_field(document, "artifactType", str, "", "artifactType"),
        annotations=_annotations(document, "annotations"),
    )


def _check_kind(document: dict[str, Any], media_type: str) -> None:
    """OCI documents need not name their type: one that has the fields of the other kind is not believed."""
    if media_type == media.OCI_INDEX and (
        document.get("config") is not None or document.get("layers") is not None
    ):
        raise errors.MANIFEST_INVALID(detail="index: expected index but found manifest")
    if media_type == media.OCI_MANIFEST and document.get("manifests") is not None:
        raise errors.MANIFEST_INVALID(detail="ocimanifest: expected manifest but found index")


def _check_shape(manifest: Manifest) -> None:
    if not manifest.is_index and manifest.config is None:
        raise errors.MANIFEST_INVALID(detail="config: an image manifest must have one")


def _field(document: dict[str, Any], name: str, kind: type[T], default: T, path: str) -> T:
    value = document.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
        raise errors.MANIFEST_INVALID(detail=f"{path}: expected {_KIND_NAMES[kind]}, found {type(value).__name__}")
    return value


_KIND_NAMES: dict[type, str] = {str: "a string", int: "an integer", list: "a list", dict: "an object"}


def _list(document: dict[str, Any], name: str, path: str, element: Callable[[Any, str], T]) -> tuple[T, ...]:
    values: list[Any] = _field(document, name, list, [], path)
    return tuple(element(value, f"{path}[{index}]") for index, value in enumerate(values))


def _descriptors(document: dict[str, Any], name: str) -> tuple[Descriptor, ...]:
    return _list(document, name, name, descriptor)


def _optional(document: dict[str, Any], name: str) -> Descriptor | None:
    value = document.get(name)
    return None if value is None else descriptor(value, name)


def descriptor(value: Any, path: str) -> Descriptor:
    """A descriptor out of JSON; `path` is how errors call it. Raises MANIFEST_INVALID."""
    if not isinstance(value, dict):
        raise errors.MANIFEST_INVALID(detail=f"{path}: expected a descriptor object")
    size = _field(value, "size", int, 0, f"{path}.size")
    if not 0 <= size <= _MAX_INTEGER:
        raise errors.MANIFEST_INVALID(detail=f"{path}.size: {size} is not a size in bytes")
    data = _field(value, "data", str, "", f"{path}.data")
    _check_base64(data, f"{path}.data")
    return Descriptor(
        media_type=_field(value, "mediaType", str, "", f"{path}.mediaType"),
        digest=_field(value, "digest", str, "", f"{path}.digest"),
        size=size,
        urls=_list(value, "urls", f"{path}.urls", _string),
        platform=_platform(value, f"{path}.platform"),
        annotations=_annotations(value, f"{path}.annotations"),
        artifact_type=_field(value, "artifactType", str, "", f"{path}.artifactType"),
        data=data,
    )


def _platform(value: dict[str, Any], path: str) -> Platform | None:
    platform: dict[str, Any] = _field(value, "platform", dict, {}, path)
    if not platform:
        return None
    _list(platform, "features", f"{path}.features", _string)
    return Platform(
        os=_field(platform, "os", str, "", f"{path}.os"),
        architecture=_field(platform, "architecture", str, "", f"{path}.architecture"),
        variant=_field(platform, "variant", str, "", f"{path}.variant"),
        os_version=_field(platform, "os.version", str, "", f"{path}.os.version"),
        os_features=_list(platform, "os.features", f"{path}.os.features", _string),
    )


def _check_base64(text: str, path: str) -> None:
    try:
        base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError as error:
        raise errors.MANIFEST_INVALID(detail=f"{path}: expected base64") from error


def _annotations(document: dict[str, Any], path: str) -> dict[str, str]:
    annotations: dict[str, Any] = _field(document, "annotations", dict, {}, path)
    return {key: _string(value, f"{path}.{key}") for key, value in annotations.items()}


def _string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise errors.MANIFEST_INVALID(detail=f"{path}: expected a string, found {type(value).__name__}")
    return value
