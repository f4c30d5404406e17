"""Images, indexes and artifacts made from nothing: small, valid, and the same on every run."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def verified(data: bytes, digest: str) -> bytes:
    """`data`, if it is what `digest` says."""
    actual = digest_of(data, digest.partition(":")[0])
    assert actual == digest, f"{len(data)} bytes with digest {actual} came for {digest}"
    return data


@dataclass(frozen=True)
class Content:
    """Bytes with a media type and a digest: a blob or a manifest."""

    media_type: str
    data: bytes
    algorithm: str = "sha256"

    @property
    def digest(self) -> str:
        return digest_of(self.data, self.algorithm)

    def descriptor(self, **more: Any) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **more}


@dataclass(frozen=True)
class Package:
    """What one tag stands for: a manifest, the blobs and the manifests that it names."""

    manifest: Content
    blobs: tuple[Content, ...] = ()
    children: tuple[Package, ...] = ()

    def everything(self) -> dict[str, bytes]:
        """All its bytes by digest, as `Client.pull` returns them."""
        found = {item.digest: item.data for item in (self.manifest, *self.blobs)}
        for child in self.children:
            found |= child.everything()
        return found


def image(
    name: str,
    *,
    architecture: str = "amd64",
    docker: bool = False,
    algorithm: str = "sha256",
    layer_sizes: Sequence[int] = (700, 90_000),
    subject: Content | None = None,
) -> Package:
    """A runnable-looking image whose content depends on `name` and `architecture` alone."""
    archives = [_archive(f"{name}-{architecture}-{i}", size) for i, size in enumerate(layer_sizes)]
    layer_type = DOCKER_LAYER if docker else OCI_LAYER
    layers = [Content(layer_type, gzip.compress(archive, mtime=0), algorithm) for archive in archives]
    settings = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Labels": {"name": name}},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(archive) for archive in archives]},
        "history": [{"created_by": f"layer {i}"} for i in range(len(archives))],
    }
    config = Content(DOCKER_CONFIG if docker else OCI_CONFIG, _json(settings), algorithm)
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": DOCKER_IMAGE if docker else OCI_IMAGE,
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
    }
    if subject is not None:
        manifest["subject"] = subject.descriptor()
    return Package(Content(manifest["mediaType"], _json(manifest), algorithm), (config, *layers))


def index(children: Sequence[Package], *, docker: bool = False, algorithm: str = "sha256") -> Package:
    """An index over images (with their platforms) and over other indexes."""
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST if docker else OCI_INDEX,
        "manifests": [child.manifest.descriptor(**_platform(child)) for child in children],
    }
    return Package(Content(manifest["mediaType"], _json(manifest), algorithm), children=tuple(children))


def multi_arch(name: str, *, docker: bool = False) -> Package:
    return index([image(name, architecture=each, docker=docker) for each in ("amd64", "arm64")], docker=docker)


def artifact(name: str, artifact_type: str, *, subject: Content | None = None) -> Package:
    """An OCI artifact of one small file, attached to `subject` if there is one."""
    empty = Content(OCI_EMPTY, b"{}")
    payload = Content("text/plain", f"the content of {name}\n".encode())
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "artifactType": artifact_type,
        "config": empty.descriptor(),
        "layers": [payload.descriptor()],
        "annotations": {"org.example.name": name},
    }
    if subject is not None:
        manifest["subject"] = subject.descriptor()
    return Package(Content(OCI_IMAGE, _json(manifest)), (empty, payload))


def noise(name: str, size: int) -> bytes:
    """Bytes that do not compress, the same for the same name."""
    return random.Random(name).randbytes(size)


def _platform(package: Package) -> dict[str, Any]:
    if package.children:
        return {}
    config = json.loads(package.blobs[0].data)
    return {"platform": {"architecture": config["architecture"], "os": config["os"]}}


def _archive(name: str, size: int) -> bytes:
    """A layer's tar with one file; no times, no owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo(f"{name}.bin")
        entry.size = size
        tar.addfile(entry, io.BytesIO(noise(name, size)))
    return buffer.getvalue()


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
