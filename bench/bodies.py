"""Blobs without end: each of its size, no two alike, and none of them ever hashed or built as a whole."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

TAIL = 16
"""What tells one blob from another; all else of them is the same noise, hashed once for each size."""

IMAGE_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


@functools.cache
def noise() -> bytes:
    """4 MiB that do not compress, the same in every run."""
    return random.Random("lading").randbytes(4 * MIB)  # noqa: S311


@dataclass(frozen=True)
class Blob:
    digest: str
    size: int
    tail: bytes

    def pieces(self) -> Iterator[memoryview]:
        view = memoryview(noise())
        left = self.size - TAIL
        while left:
            piece = view[: min(left, len(view))]
            left -= len(piece)
            yield piece
        yield memoryview(self.tail)

    def whole(self) -> bytes:
        return b"".join(self.pieces())


def blob(size: int, tail: bytes | None = None) -> Blob:
    """A new one, unless the tail (16 bytes) is given."""
    tail = os.urandom(TAIL) if tail is None else tail
    state = common(size).copy()
    state.update(tail)
    return Blob(f"sha256:{state.hexdigest()}", size, tail)


@functools.cache
def common(size: int) -> hashlib._Hash:
    """The hash of all but the tail. To be called before the clock runs."""
    state = hashlib.sha256()
    for piece in Blob("", size, b"").pieces():
        state.update(piece)
    return state


def manifest(config: Blob, layers: list[Blob], note: str = "") -> bytes:
    """An image manifest; the note makes it another one."""

    def descriptor(kind: str, item: Blob) -> dict[str, object]:
        return {"mediaType": kind, "digest": item.digest, "size": item.size}

    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE_TYPE,
        "config": descriptor(CONFIG_TYPE, config),
        "layers": [descriptor(LAYER_TYPE, layer) for layer in layers],
        "annotations": {"org.example.note": note},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
