"""A directory of the original's making, key by key: written here without any code of Lading's."""

from __future__ import annotations

import hashlib
import json
from typing import Any

ROOT = "/docker/registry/v2"

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
PLUGIN_CONFIG = "application/vnd.docker.plugin.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ZSTD_LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
ELSEWHERE_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
EVERYTHING = ", ".join([DOCKER, DOCKER_LIST, OCI, INDEX])

Document = dict[str, Any]


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def path(of: str) -> str:
    return of.replace(":", "/")


def blob_key(of: str) -> str:
    algorithm, _, encoded = of.partition(":")
    return f"{ROOT}/blobs/{algorithm}/{encoded[:2]}/{encoded}/data"


def layer_key(repository: str, of: str) -> str:
    return f"{ROOT}/repositories/{repository}/_layers/{path(of)}/link"


def revision_key(repository: str, of: str) -> str:
    return f"{ROOT}/repositories/{repository}/_manifests/revisions/{path(of)}/link"


def tag_key(repository: str, tag: str) -> str:
    return f"{ROOT}/repositories/{repository}/_manifests/tags/{tag}/current/link"


def history_key(repository: str, tag: str, of: str) -> str:
    return f"{ROOT}/repositories/{repository}/_manifests/tags/{tag}/index/{path(of)}/link"


def session_key(repository: str, session: str, name: str) -> str:
    return f"{ROOT}/repositories/{repository}/_uploads/{session}/{name}"


def as_json(document: Document) -> bytes:
    """Indented, with a final newline: nobody would write it just so again."""
    return json.dumps(document, indent=3).encode() + b"\n"


def descriptor(media_type: str, data: bytes, algorithm: str = "sha256", **more: object) -> Document:
    return {"mediaType": media_type, "digest": digest(data, algorithm), "size": len(data), **more}


def image(media_type: str, config: Document, *layers: Document, **more: object) -> bytes:
    return as_json({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers, **more})


def index(media_type: str, *children: Document, **more: object) -> bytes:
    return as_json({"schemaVersion": 2, "mediaType": media_type, "manifests": children, **more})


class Directory:
    """Files by key."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def blob(self, repository: str, data: bytes, algorithm: str = "sha256") -> str:
        name = digest(data, algorithm)
        self.files[blob_key(name)] = data
        self.files[layer_key(repository, name)] = name.encode()
        return name

    def alias(self, repository: str, data: bytes, algorithm: str = "sha512") -> str:
        """As the original stores what is pushed by another digest: under sha256, with two links."""
        canonical, name = self.blob(repository, data), digest(data, algorithm)
        self.files[layer_key(repository, name)] = canonical.encode()
        return name

    def manifest(self, repository: str, data: bytes, *tags: str, algorithm: str = "sha256") -> str:
        name = digest(data, algorithm)
        self.files[blob_key(name)] = data
        self.files[revision_key(repository, name)] = name.encode()
        for tag in tags:
            self.files[tag_key(repository, tag)] = name.encode()
            self.files[history_key(repository, tag, name)] = name.encode()
        return name
