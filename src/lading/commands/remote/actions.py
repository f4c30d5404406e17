"""What the commands do: each answers what is to be printed, as lines or as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from lading.client import (
    ClientError,
    Copied,
    ImageReference,
    Layout,
    NotFoundError,
    Outcome,
    RefusedError,
    Repository,
    copy,
    pull_files,
    push_files,
)
from lading.client.layout import MARKER
from lading.commands.remote.arguments import reference_of
from lading.commands.remote.connections import registries
from lading.commands.remote.inspection import inspect
from lading.commands.remote.progress import Bar, mebibytes
from lading.commands.remote.said import Said
from lading.config.problems import printable
from lading.oci.manifest import Descriptor

FAILED, MISUSED, ABSENT, REFUSED = 1, 2, 3, 4


class UsageError(Exception):
    """Arguments that do not go together."""


def run(options: argparse.Namespace) -> int:
    """The exit status: 3 for what is not there, 4 for who may not, 2 for what makes no sense, 1 for all else."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line(f"lading {options.command}: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    try:
        said = asyncio.run(_ACTIONS[options.command](options))
    except UsageError as error:
        return _fail(options, error, MISUSED)
    except NotFoundError as error:
        return _fail(options, error, ABSENT)
    except RefusedError as error:
        return _fail(options, error, REFUSED)
    except ClientError as error:
        return _fail(options, error, FAILED)
    if said.raw is not None:
        sys.stdout.buffer.write(said.raw)
        sys.stdout.buffer.flush()
    elif options.json:
        print(json.dumps(said.document, indent=2))
    else:
        for line in said.lines:
            print(printable(line))
    return 0


def _fail(options: argparse.Namespace, error: Exception, status: int) -> int:
    line = " ".join(str(error).split())
    print(printable(f"lading {options.command}: {line}"), file=sys.stderr)
    return status


class _Line(logging.Formatter):
    """Nothing that a registry says moves the cursor, here and in what is printed."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


@dataclass(frozen=True, slots=True)
class _Result:
    """Of a copy, from `source` to `target`."""

    copied: Copied
    target: str

    def said(self) -> Said:
        copied = self.copied
        blobs = {outcome.value: copied.blobs[outcome] for outcome in Outcome}
        document = {
            "reference": self.target,
            "digest": copied.content.digest,
            "mediaType": copied.content.media_type,
            "manifests": copied.manifests,
            "blobs": blobs,
            "bytes": copied.moved,
            "referrers": copied.referrers,
        }
        moved = (
            f"{blobs['uploaded']} blobs with {mebibytes(copied.moved)} moved, {blobs['mounted']} mounted, "
            f"{blobs['present']} were there"
        )
        return Said(document, [f"{self.target} {copied.content.digest}", moved])


async def _copy(options: argparse.Namespace) -> Said:
    source, target = options.source, options.target
    if target.digest is not None:
        raise UsageError("TARGET must not name a digest: that of what is copied is given")
    if target.tag is None and source.digest is None:
        target = target.with_tag(source.target)
    async with registries(options, "src") as from_, registries(options, "dest") as to:
        copied = await _copied(
            options, from_.repository(source), to.repository(target), source.target, target.tag or ""
        )
    return _Result(copied, str(target)).said()


async def _push(options: argparse.Namespace) -> Said:
    target = options.reference
    if target.digest is not None:
        raise UsageError("REFERENCE must not name a digest: that of what is pushed is given")
    async with registries(options) as to:
        repository = to.repository(target)
        if options.artifact_type:
            copied = await _push_files(options, repository)
        else:
            if options.annotation or options.subject:
                raise UsageError("--annotation and --subject are for files: say what they are by --artifact-type")
            copied = await _push_layout(options, repository)
    return _Result(copied, str(target.with_default_tag())).said()


async def _push_layout(options: argparse.Namespace, repository: Repository) -> Copied:
    if len(options.paths) != 1 or not _is_layout(options.paths[0]):
        raise UsageError(
            f"{options.paths[0]}: is no OCI image layout; files are pushed as an artifact by --artifact-type TYPE"
        )
    layout = Layout(options.paths[0])
    layout.check()
    return await _copied(options, layout, repository, options.image, options.reference.with_default_tag().tag)


async def _push_files(options: argparse.Namespace, repository: Repository) -> Copied:
    subject: Descriptor | None = None
    if options.subject:
        found = await repository.manifest(options.subject)
        subject = found.descriptor()
    bar = Bar(hidden=options.json)
    try:
        return await push_files(
            repository,
            dict(_file(path) for path in options.paths),
            options.artifact_type,
            options.reference.with_default_tag().tag or "",
            subject=subject,
            annotations=dict(options.annotation),
            progress=bar.bytes,
        )
    finally:
        bar.close()


async def _pull(options: argparse.Namespace) -> Said:
    reference: ImageReference = options.reference
    async with registries(options) as from_:
        repository = from_.repository(reference)
        if options.files:
            bar = Bar(hidden=options.json)
            try:
                content = await repository.manifest(reference.target)
                paths = await pull_files(
                    repository, content, options.directory, overwrite=options.overwrite, progress=bar.bytes
                )
            finally:
                bar.close()
            return Said({"reference": str(reference), "digest": content.digest, "files": paths}, paths)
        layout = Layout(options.directory)
        layout.create()
        layout.check()
        tag = "" if reference.digest is not None else reference.target
        copied = await _copied(options, repository, layout, reference.target, tag)
    return _Result(copied, str(reference.with_default_tag())).said()


async def _copied(
    options: argparse.Namespace,
    source: Repository | Layout,
    target: Repository | Layout,
    reference: str,
    tag: str,
) -> Copied:
    bar = Bar(hidden=options.json)
    try:
        return await copy(
            source,
            target,
            reference,
            tag,
            platform=options.platform,
            referrers=options.referrers,
            parallel=options.parallel,
            report=bar.report,
        )
    finally:
        bar.close()


async def _inspect(options: argparse.Namespace) -> Said:
    if options.raw and options.config:
        raise UsageError("--raw and --config are two things to print")
    async with registries(options) as at:
        return await inspect(options, at.repository(options.reference))


async def _ls(options: argparse.Namespace) -> Said:
    place: str = options.place
    host = place.removesuffix("/")
    async with registries(options) as at:
        if "/" not in host and (":" in host or "." in host or host == "localhost"):
            try:
                names = at.client(host).iterate_repositories(page=options.limit)
            except ValueError:
                raise UsageError(f"{place!r}: is neither a host nor a repository") from None
            key = "repositories"
        else:
            repository = at.repository(_repository(place))
            names = repository.client.iterate_tags(repository.name, page=options.limit)
            key = "tags"
        found = []
        async for name in names:
            found.append(name)
            if len(found) == options.limit:
                break
    return Said({key: found}, found)


async def _retag(options: argparse.Namespace) -> Said:
    reference: ImageReference = options.reference
    async with registries(options) as at:
        repository = at.repository(reference)
        content = await repository.manifest(reference.target)
        for tag in options.tags:
            await repository.put_manifest(content, tag)
    named = [f"{reference.name}:{tag}" for tag in options.tags]
    return Said({"digest": content.digest, "references": named}, [f"{each} {content.digest}" for each in named])


async def _delete(options: argparse.Namespace) -> Said:
    reference: ImageReference = options.reference
    if reference.tag is None and reference.digest is None:
        raise UsageError("REFERENCE must name a tag or a digest: nothing is deleted by default")
    async with registries(options) as at:
        await at.client(reference.domain).delete_manifest(reference.path, reference.target)
    return Said({"deleted": str(reference)}, [f"deleted {reference}"])


def _repository(text: str) -> ImageReference:
    try:
        reference = reference_of(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if reference.tag or reference.digest:
        raise UsageError(f"{text}: is more than a repository")
    return reference


def _is_layout(path: str) -> bool:
    return os.path.exists(os.path.join(path, MARKER))


def _file(path: str) -> tuple[str, str]:
    """A path, and a media type behind a colon: what looks like none belongs to the path."""
    name, colon, media_type = path.rpartition(":")
    return (name, media_type) if colon and "/" in media_type and not os.path.exists(path) else (path, "")


_ACTIONS: dict[str, Callable[[argparse.Namespace], Coroutine[Any, Any, Said]]] = {
    "copy": _copy,
    "delete": _delete,
    "inspect": _inspect,
    "ls": _ls,
    "pull": _pull,
    "push": _push,
    "retag": _retag,
}
