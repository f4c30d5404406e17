"""Plain files as an artifact: each is a layer that has the file's name as its title, as ORAS does it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import unicodedata
from collections.abc import Collection, Iterator, Mapping

from lading.client.copying import Copied, Place, digest_of
from lading.client.disk import open_regular, receive, tidy
from lading.client.download import Progress
from lading.client.errors import ClientError, InvalidAnswerError
from lading.client.sources import PIECE_BYTES, of_bytes, of_known_file
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

    Raises `ClientError`: `FilesError` for what is no regular file, cannot be read, or changes meanwhile.
    """
    layers = []
    sources = [of_bytes(building.EMPTY)]
    for path, media_type in files.items():
        title = _checked(os.path.basename(path))
        digest, size = await asyncio.to_thread(_measured, path)
        layers.append(Descriptor(media_type or media.OCTET_STREAM, digest, size, annotations={TITLE: title}))
        sources.append(of_known_file(path, digest, functools.partial(_failure, path), size=size))
    titles = [layer.annotations[TITLE] for layer in layers]
    if len(set(titles)) != len(titles):
        raise FilesError("two of the files have the same name")
    try:
        content = building.artifact(artifact_type, layers, subject=subject, annotations=annotations)
    except InvalidManifestError as error:
        raise FilesError(str(error)) from error
    copied = Copied(content)
    for layer, source in zip([building.empty().descriptor(), *layers], sources, strict=True):
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
    error. So are two layers with different content that would be one file. Nothing is written before all titles
    and digests are known to be good.
    """
    try:
        layers = [layer for layer in content.view().layers if layer.annotations.get(TITLE)]
    except InvalidManifestError as error:
        raise InvalidAnswerError(f"{content.digest}: {error}") from error
    if not layers:
        raise FilesError(f"{content.digest}: has no files: no layer has a title")
    targets: dict[str, Descriptor] = {}
    for layer in layers:
        target = _place(folder, layer.annotations[TITLE])
        if targets.setdefault(target, layer).digest != digest_of(layer):
            raise FilesError(f"{target}: two layers have this name")
    _check_free(targets.keys(), overwrite=overwrite)
    for inner in sorted({os.path.dirname(target) for target in targets}):
        with _failures(inner):
            tidy(inner)
    for target, layer in targets.items():
        with _failures(target):
            await _fetch(source, layer, target, progress)
    return list(targets)


async def _fetch(source: Place, layer: Descriptor, target: str, progress: Progress | None) -> None:
    digest = digest_of(layer)
    mismatch = InvalidAnswerError(f"{target}: what came does not match {digest}")
    await receive(target, source.source(digest), digest, layer.size, progress, mismatch)


def _check_free(targets: Collection[str], *, overwrite: bool) -> None:
    folders = {folder for target in targets for folder in _above(target)}
    for target in targets:
        if target in folders:
            raise FilesError(f"{target}: two layers have this name, and one of them has files below it")
        if os.path.lexists(target) and (not overwrite or os.path.isdir(target)):
            raise FilesError(f"{target}: is there already")


def _above(path: str) -> Iterator[str]:
    while (above := os.path.dirname(path)) != path:
        yield above
        path = above


def _place(folder: str, title: str) -> str:
    parts = _checked(title).split("/")
    inner = os.path.realpath(os.path.join(folder, *parts[:-1]))
    root = os.path.realpath(folder)
    if title.startswith("/") or not {"", ".", ".."}.isdisjoint(parts):
        raise FilesError(f"{title!r}: is no name of a file below a folder")
    if os.path.commonpath([root, inner]) != root:
        raise FilesError(f"{title!r}: leads out of {folder}")
    return os.path.join(inner, parts[-1])


def _checked(title: str) -> str:
    """Unless a terminal would obey it, or it is no text at all, as names of files may be."""
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in title):
        raise FilesError(f"{title!r}: has control characters, or what is no UTF-8, in its name")
    return title


@contextlib.contextmanager
def _failures(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failure(path, error.strerror or str(error)) from error


def _failure(path: str, what: str) -> FilesError:
    return FilesError(f"{path}: {what}")


def _measured(path: str) -> tuple[Digest, int]:
    hasher = Hasher(CANONICAL)
    with _failures(path), open_regular(path) as file:
        while piece := file.read(PIECE_BYTES):
            hasher.update(piece)
    return hasher.digest(), hasher.size
