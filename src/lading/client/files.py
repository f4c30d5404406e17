"""Plain files as an artifact: each is a layer that has the file's name as its title, as ORAS does it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from lading.client.copying import Copied, Place
from lading.client.disk import receive
from lading.client.download import Progress
from lading.client.errors import ClientError, InvalidAnswerError
from lading.client.sources import PIECE_BYTES, of_bytes, of_file
from lading.client.upload import Outcome
from lading.oci import building, media
from lading.oci.building import Content, InvalidManifestError
from lading.oci.digest import CANONICAL, Digest
from lading.oci.hashing import Hasher
from lading.oci.manifest import Descriptor

TITLE = "org.opencontainers.image.title"


class FilesError(ClientError):
    """A file that cannot be pushed or written; the text names it."""


async def push_files(
    target: Place,
    files: Mapping[str, str],
    artifact_type: str,
    tag: str = "",
    *,
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Copied:
    """Files by path, with their media types ("" is any bytes). Without a tag by digest alone.

    Raises `ClientError`.
    """
    layers = []
    for path, media_type in files.items():
        digest, size = await asyncio.to_thread(_digest_of, path)
        title = {TITLE: os.path.basename(path)}
        layers.append(Descriptor(media_type or media.OCTET_STREAM, digest, size, annotations=title))
    titles = [layer.annotations[TITLE] for layer in layers]
    if len(set(titles)) != len(titles):
        raise FilesError("two of the files have the same name")
    try:
        content = building.artifact(artifact_type, layers, subject=subject, annotations=annotations)
    except InvalidManifestError as error:
        raise FilesError(str(error)) from error
    copied = Copied(content)
    filler = building.empty()
    sources = [(filler.descriptor(), of_bytes(filler.data))]
    sources += [(layer, of_file(path)) for layer, path in zip(layers, files, strict=True)]
    for layer, source in sources:
        outcome = await target.put_blob(layer, source, mount=None, progress=progress)
        copied.blobs[outcome] += 1
        copied.moved += layer.size if outcome is Outcome.UPLOADED else 0
    await target.put_manifest(content, tag)
    copied.manifests = 1
    return copied


async def pull_files(
    source: Place, content: Content, folder: str, *, overwrite: bool = False, progress: Progress | None = None
) -> list[str]:
    """Every layer with a title, to the folder under that name; the paths. Raises `ClientError`.

    A title may name a subfolder, and leads nowhere else. Unless `overwrite`, a file that is there stays, and is an
    error.
    """
    try:
        layers = [layer for layer in content.view().layers if layer.annotations.get(TITLE)]
    except InvalidManifestError as error:
        raise InvalidAnswerError(f"{content.digest}: {error}") from error
    if not layers:
        raise FilesError(f"{content.digest}: has no files: no layer has a title")
    targets = [_place(folder, layer.annotations[TITLE]) for layer in layers]
    if not overwrite:
        _check_free(targets)
    for layer, target in zip(layers, targets, strict=True):
        try:
            await _fetch(source, layer, target, progress)
        except OSError as error:
            raise FilesError(f"{target}: {error.strerror}") from error
    return targets


async def _fetch(source: Place, layer: Descriptor, target: str, progress: Progress | None) -> None:
    digest = Digest.parse(layer.digest)
    mismatch = InvalidAnswerError(f"{target}: what came does not match {digest}")
    await receive(target, source.source(digest), digest, layer.size, progress, mismatch)


def _check_free(targets: list[str]) -> None:
    for target in targets:
        if os.path.lexists(target):
            raise FilesError(f"{target}: is there already")


def _place(folder: str, title: str) -> str:
    parts = title.split("/")
    inner = os.path.realpath(os.path.join(folder, *parts[:-1]))
    root = os.path.realpath(folder)
    if title.startswith("/") or not {"", ".", ".."}.isdisjoint(parts) or "\0" in title:
        raise FilesError(f"{title!r}: is no name of a file below a folder")
    if os.path.commonpath([root, inner]) != root:
        raise FilesError(f"{title!r}: leads out of {folder}")
    return os.path.join(inner, parts[-1])


def _digest_of(path: str) -> tuple[Digest, int]:
    hasher = Hasher(CANONICAL)
    try:
        with open(path, "rb") as file:
            while piece := file.read(PIECE_BYTES):
                hasher.update(piece)
    except OSError as error:
        raise FilesError(f"{path}: {error.strerror}") from error
    return hasher.digest(), hasher.size
