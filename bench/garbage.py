"""A storage that has garbage to be collected, in Distribution's layout, made from a seed.

A tenth of the blobs is garbage, half of it with a link in a repository, as deletions leave it. All else belongs to
images with a tag each: a manifest, a configuration, layers of their own and some that many repositories share.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

IMAGES = 90
"""Of a repository."""
OWN_LAYERS = 8
COMMON_LAYERS = 3
"""That an image has besides."""
COMMON_EACH = 500
"""Of so many blobs that belong to images one is a layer that repositories have in common."""
BLOB_BYTES = 200

_TREE = "docker/registry/v2"
_IMAGE = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True)
class Tree:
    """`root` is the storage's directory; `blobs` is about how many are in it, garbage included."""

    root: Path
    blobs: int
    seed: int = 7

    @property
    def images(self) -> int:
        return (self.blobs - self.garbage) // (OWN_LAYERS + 2)

    @property
    def garbage(self) -> int:
        return self.blobs // 10

    def write(self) -> None:
        """What was there is removed."""
        shutil.rmtree(self.root, ignore_errors=True)
        for prefix in range(256):
            os.makedirs(f"{self.root}/{_TREE}/blobs/sha256/{prefix:02x}")
        chance = random.Random(self.seed)  # noqa: S311
        common = [b"common %d %d" % (self.seed, n) for n in range(COMMON_LAYERS + self.blobs // COMMON_EACH)]
        for layer in common:
            self._put_blob(layer)
        for first in range(0, self.images, IMAGES):
            name = self.name(first)
            self._make_repository(name)
            linked: set[str] = set()
            for number in range(first, min(first + IMAGES, self.images)):
                self._put_image(name, number, chance.sample(common, COMMON_LAYERS), linked)
        self.write_garbage()
        os.sync()

    def write_garbage(self) -> None:
        """Also where a collection has removed it: then the storage is again as it was."""
        names = [self.name(first) for first in range(0, self.images, IMAGES)]
        for number in range(self.garbage):
            digest = self._put_blob(b"garbage %d %d" % (self.seed, number))
            if number % 2:
                _put_link(f"{self._repository(names[number % len(names)])}/_layers/sha256", digest)

    def name(self, image: int) -> str:
        """Of the repository in which an image is."""
        return f"team-{image // IMAGES // 100:03d}/app-{image // IMAGES % 100:02d}"

    def tag(self, image: int) -> str:
        return f"v{image % IMAGES}"

    def parts(self, image: int) -> Iterator[str]:
        """The digests of the blobs that are the image's own."""
        for data in self._own(image):
            yield _digest(_filled(data))

    def _own(self, image: int) -> list[bytes]:
        return [b"layer %d %d %d" % (self.seed, image, n) for n in range(OWN_LAYERS)]

    def _put_image(self, name: str, number: int, common: Sequence[bytes], linked: set[str]) -> None:
        repository = self._repository(name)
        layers = [self._put_blob(data) for data in self._own(number)] + [_digest(_filled(data)) for data in common]
        config = self._put_blob(b'{"architecture": "amd64", "os": "linux", "n": %d}' % number)
        document = {
            "schemaVersion": 2,
            "mediaType": _IMAGE,
            "config": {"mediaType": _CONFIG, "digest": config, "size": BLOB_BYTES},
            "layers": [{"mediaType": _LAYER, "digest": layer, "size": BLOB_BYTES} for layer in layers],
        }
        manifest = self._put_blob(json.dumps(document).encode())
        for digest in (config, *layers):
            if digest not in linked:
                linked.add(digest)
                _put_link(f"{repository}/_layers/sha256", digest)
        _put_link(f"{repository}/_manifests/revisions/sha256", manifest)
        tag = f"{repository}/_manifests/tags/{self.tag(number)}"
        os.makedirs(f"{tag}/index/sha256")
        _put_link(f"{tag}/index/sha256", manifest)
        os.mkdir(f"{tag}/current")
        _write(f"{tag}/current/link", manifest.encode())

    def _make_repository(self, name: str) -> None:
        os.makedirs(f"{self._repository(name)}/_layers/sha256")
        os.makedirs(f"{self._repository(name)}/_manifests/revisions/sha256")

    def _put_blob(self, data: bytes) -> str:
        """Its digest."""
        data = _filled(data)
        digest = _digest(data)
        folder = f"{self.root}/{_TREE}/blobs/sha256/{digest[7:9]}/{digest[7:]}"
        os.makedirs(folder, exist_ok=True)
        _write(f"{folder}/data", data)
        return digest

    def _repository(self, name: str) -> str:
        return f"{self.root}/{_TREE}/repositories/{name}"


def _filled(data: bytes) -> bytes:
    return data.ljust(BLOB_BYTES)


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _put_link(folder: str, digest: str) -> None:
    os.makedirs(f"{folder}/{digest[7:]}", exist_ok=True)
    _write(f"{folder}/{digest[7:]}/link", digest.encode())


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(descriptor, data)
    os.close(descriptor)
