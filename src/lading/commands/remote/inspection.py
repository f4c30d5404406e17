"""`lading inspect`: what a reference stands for."""

from __future__ import annotations

import argparse
from typing import Any

from lading.client import Content, Descriptor, InvalidAnswerError, InvalidManifestError, Manifest, Repository
from lading.client.copying import MAX_CONFIG_BYTES, chosen, read
from lading.commands.remote.said import Said
from lading.oci.building import platform_of


async def inspect(options: argparse.Namespace, repository: Repository) -> Said:
    """Raises `ClientError`."""
    content = await repository.manifest(options.reference.target)
    if options.platform is not None:
        content = await chosen(repository, content, options.platform)
    if options.raw:
        return Said(None, [], content.data)
    try:
        view = content.view()
    except InvalidManifestError as error:
        raise InvalidAnswerError(f"{content.digest}: {error}") from error
    config = None if view.config is None else await read(repository, view.config, MAX_CONFIG_BYTES)
    if options.config:
        if config is None:
            raise InvalidAnswerError(f"{content.digest}: an index has no config: choose an image by --platform")
        return Said(None, [], config)
    referrers = await repository.referrers(content.digest) if options.referrers else None
    document = _document(options.reference.name, content, view, config, referrers)
    return Said(document, list(_lines(document)))


def _document(
    name: str, content: Content, view: Manifest, config: bytes | None, referrers: list[Descriptor] | None
) -> dict[str, Any]:
    platform = ""
    if config is not None:
        try:
            platform = str(platform_of(config))
        except InvalidManifestError:
            platform = ""  # an artifact's config is whatever it is
    fields = {
        "name": name,
        "digest": content.digest,
        "mediaType": content.media_type,
        "artifactType": view.artifact_type,
        "size": len(content.data),
        "platform": platform,
        "config": None if view.config is None else _of(view.config),
        "layers": None if view.is_index else [_of(layer) for layer in view.layers],
        "manifests": [_of(child) for child in view.children] if view.is_index else None,
        "subject": None if view.subject is None else view.subject.digest,
        "annotations": dict(view.annotations),
        "referrers": None if referrers is None else [_of(each) for each in referrers],
    }
    return {key: value for key, value in fields.items() if value not in (None, "", {})}


def _of(descriptor: Descriptor) -> dict[str, Any]:
    fields = {
        "digest": descriptor.digest,
        "mediaType": descriptor.media_type,
        "size": descriptor.size,
        "platform": str(descriptor.platform or ""),
        "artifactType": descriptor.artifact_type,
        "annotations": dict(descriptor.annotations),
    }
    return {key: value for key, value in fields.items() if value not in ("", {})}


def _lines(document: dict[str, Any]) -> list[str]:
    lines = []
    for key, value in document.items():
        if isinstance(value, list):
            lines.append(f"{key}:")
            lines += [f"  {_line(each)}" for each in value]
        elif key == "annotations":
            lines.append(f"{key}:")
            lines += [f"  {name}: {text}" for name, text in value.items()]
        else:
            lines.append(f"{key}: {_line(value) if isinstance(value, dict) else value}")
    return lines


def _line(descriptor: dict[str, Any]) -> str:
    words = (descriptor.get(key, "") for key in ("digest", "size", "platform", "artifactType", "mediaType"))
    return "  ".join(str(word) for word in words if word != "")
