"""The directories that both registries read: in Distribution's layout, written once and kept for later runs.

`few` has 100 repositories, one of them with 100 tags and the blobs that are pulled; `many` has 100,000
repositories, one of them with 100,000 tags. `objects` is the bucket of a store, with the same blobs to pull
and one repository of 10,000 tags.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import bodies
from bench.bodies import GIB, KIB, MIB, Blob

VERSION = "1"
REPOSITORY = "bench/data"
TAG = "t000042"
FEW = 100
MANY = 100_000
THOUSANDS = 10_000
PAGE = 100

SIZES = {
    "1 KiB": KIB,
    "64 KiB": 64 * KIB,
    "1 MiB": MIB,
    "10 MiB": 10 * MIB,
    "1 GiB": GIB,
}
IMAGE_SIZES = (MIB // 8, 2 * MIB, 8 * MIB, 24 * MIB, 32 * MIB)
"""The layers of the image that real clients pull and push."""

_TREE = "docker/registry/v2"


@dataclass(frozen=True)
class Seed:
    """Where the directories are, and what is in them."""

    few: Path
    many: Path
    objects: Path
    blobs: dict[str, str]
    """Digests by the names in SIZES."""
    manifest: str
    """The digest under `TAG`."""


def prepare(folder: Path, *, many: bool, upload: Callable[[Path, Path], None] | None = None) -> Seed:
    """`many` false leaves out the 100,000 entries, which take a minute the first time.

    `upload` makes the files of a directory the objects of a bucket in another; without it there are none.
    """
    stamp = folder / f"complete-{VERSION}"
    if not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _write_few(folder / "few")
        stamp.touch()
    large = folder / f"complete-many-{VERSION}"
    if many and not large.exists():
        shutil.rmtree(folder / "many", ignore_errors=True)
        _write_many(folder / "many")
        large.touch()
    stored = folder / f"complete-objects-{VERSION}"
    if upload is not None and not stored.exists():
        shutil.rmtree(folder / "objects", ignore_errors=True)
        shutil.rmtree(folder / "files", ignore_errors=True)
        _write_few(folder / "files")
        _write_tags(folder / "files", THOUSANDS)
        upload(folder / "files", folder / "objects")
        shutil.rmtree(folder / "files")
        stored.touch()
    blobs = {name: _blob(size).digest for name, size in SIZES.items()}
    return Seed(folder / "few", folder / "many", folder / "objects", blobs, bodies.digest_of(_manifest()))


def tag(number: int) -> str:
    return f"t{number:06d}"


def repository(number: int) -> str:
    """In catalog order: a thousand teams of a hundred."""
    return f"team-{number // 100:04d}/app-{number % 100:02d}"


def image() -> tuple[bytes, list[Blob], bytes]:
    """The image to pull: its config, layers and manifest."""
    return image_of([_blob(size) for size in IMAGE_SIZES])


def image_of(layers: list[Blob]) -> tuple[bytes, list[Blob], bytes]:
    diffs = ",".join(f'"{layer.digest}"' for layer in layers)
    config = f'{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{diffs}]}}}}'.encode()
    document = bodies.manifest(Blob(bodies.digest_of(config), len(config), b""), layers)
    return config, layers, document


def _blob(size: int) -> Blob:
    return bodies.blob(size, size.to_bytes(bodies.TAIL, "big"))


def _manifest() -> bytes:
    return bodies.manifest(_blob(KIB), [_blob(64 * KIB), _blob(MIB)])


def _write_few(root: Path) -> None:
    for size in (*SIZES.values(), *IMAGE_SIZES):
        _put_blob(root, REPOSITORY, _blob(size))
    data = _manifest()
    _put_manifest(root, REPOSITORY, data, [tag(number) for number in range(FEW)])
    config, _, document = image()
    _put_data(root, bodies.digest_of(config), config)
    _put_link(_repository(root, REPOSITORY) / "_layers", bodies.digest_of(config))
    _put_manifest(root, REPOSITORY, document, ["image"])
    for number in range(1, FEW):
        _put_repository(root, repository(number))


def _write_many(root: Path) -> None:
    _write_tags(root, MANY)
    for number in range(1, MANY):
        _put_repository(root, repository(number))


def _write_tags(root: Path, count: int) -> None:
    data = _manifest()
    _put_manifest(root, repository(0), data, [])
    digest = bodies.digest_of(data).encode()
    tags = _repository(root, repository(0)) / "_manifests/tags"
    for number in range(count):
        current = tags / tag(number) / "current"
        current.mkdir(parents=True)
        (current / "link").write_bytes(digest)


def _repository(root: Path, name: str) -> Path:
    return root / _TREE / "repositories" / name


def _put_repository(root: Path, name: str) -> None:
    (_repository(root, name) / "_layers").mkdir(parents=True)
    (_repository(root, name) / "_manifests").mkdir()


def _put_blob(root: Path, name: str, blob: Blob) -> None:
    path = _data(root, blob.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(blob.pieces())
    _put_link(_repository(root, name) / "_layers", blob.digest)


def _put_manifest(root: Path, name: str, data: bytes, tags: list[str]) -> None:
    digest = bodies.digest_of(data)
    _put_data(root, digest, data)
    manifests = _repository(root, name) / "_manifests"
    _put_link(manifests / "revisions", digest)
    for each in tags:
        _put_link(manifests / "tags" / each / "index", digest)
        (manifests / "tags" / each / "current").mkdir()
        (manifests / "tags" / each / "current" / "link").write_text(digest)


def _put_data(root: Path, digest: str, data: bytes) -> None:
    path = _data(root, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _put_link(folder: Path, digest: str) -> None:
    path = folder / digest.replace(":", "/") / "link"
    path.parent.mkdir(parents=True)
    path.write_text(digest)


def _data(root: Path, digest: str) -> Path:
    algorithm, _, encoded = digest.partition(":")
    return root / _TREE / "blobs" / algorithm / encoded[:2] / encoded / "data"
