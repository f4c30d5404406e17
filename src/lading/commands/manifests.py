"""`lading manifest`: the manifests in a storage, without a server."""

from __future__ import annotations

import argparse
import datetime
from typing import Any

from lading.commands import stored
from lading.oci import manifest as oci_manifest
from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.manifest import Descriptor
from lading.oci.names import RepositoryName, Tag
from lading.registry import audit, layout
from lading.registry.ports import found
from lading.registry.registry import Registry

REFERRERS = 1000
"""So many are told of one manifest, at most."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = commands.add_parser("manifest", help="list, inspect or delete manifests in the storage")
    ways = about.add_subparsers(dest="way", metavar="COMMAND", required=True)
    listing = stored.command(ways, "list", "those of a repository, with the tags that show them", _list)
    listing.add_argument("name", type=stored.repository, metavar="NAME")
    listing.add_argument("--untagged", action="store_true", help="only those that no tag shows")
    inspecting = stored.command(ways, "inspect", "what one is, and refers to", inspect)
    inspecting.add_argument("of", type=stored.named, metavar="NAME@DIGEST", help="or NAME:TAG")
    deleting = stored.command(ways, "delete", "with the tags that show them", _delete)
    deleting.add_argument("of", nargs="+", type=stored.named, metavar="NAME@DIGEST", help="or NAME:TAG")
    stored.deleting(deleting)


def _list(options: argparse.Namespace) -> int:
    async def work(registry: Registry) -> int:
        name: RepositoryName = options.name
        shown: dict[Digest, list[Tag]] = {}
        for tag in await registry.tags.page(name):
            try:
                shown.setdefault(await registry.tags.get(name, tag), []).append(tag)
            except RegistryError:
                continue  # deleted meanwhile, or damaged
        rows = []
        for digest in await registry.manifests.all(name):
            if options.untagged and digest in shown:
                continue
            try:
                held = await registry.manifests.get(name, digest)
                kind, size = held.media_type, len(held.data)
            except RegistryError:
                kind, size = "missing", 0
            rows.append({"digest": digest, "mediaType": kind, "size": size, "tags": shown.get(digest, [])})
        stored.show(rows, options)
        return 0

    return stored.run(options, work)


def inspect(options: argparse.Namespace) -> int:
    """Of what `options.of` names, a repository and a tag or digest."""

    async def work(registry: Registry) -> int:
        name, reference = options.of
        stored.show_one(await _inspected(registry, name, reference), options)
        return 0

    return stored.run(options, work)


async def _inspected(registry: Registry, name: RepositoryName, reference: Tag | Digest) -> dict[str, Any]:
    digest = await registry.manifests.resolve(name, reference)
    held = await registry.manifests.get(name, digest)
    manifest = oci_manifest.read(held.data)
    referring, _ = await registry.referrers.page(name, digest, artifact_type="", after="", limit=REFERRERS)
    link = await found(registry.repositories.storage, layout.manifest_link(name, digest))
    return {
        "repository": name,
        "digest": digest,
        "mediaType": held.media_type,
        "artifactType": manifest.referrer_type,
        "size": len(held.data),
        "bytes": sum(blob.size for blob in set(manifest.blobs)),
        "pushed": "" if link is None else _time(link.modified),
        "tags": await registry.tags.of(name, digest),
        "subject": "" if manifest.subject is None else manifest.subject.digest,
        "config": "" if manifest.config is None else manifest.config.digest,
        "layers": [layer.digest for layer in manifest.layers],
        "manifests": [_child(child) for child in manifest.children],
        "referrers": [descriptor["digest"] for descriptor in referring],
    }


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def _child(child: Descriptor) -> str:
    platform = child.platform
    return child.digest if platform is None else f"{child.digest} ({platform.os}/{platform.architecture})"


def _delete(options: argparse.Namespace) -> int:
    async def work(registry: Registry) -> int:
        chosen: dict[tuple[RepositoryName, Digest], None] = {}
        for name, reference in options.of:
            digest = await registry.manifests.resolve(name, reference)
            await registry.manifests.get(name, digest)
            registry.manifests.immutability.check_deletion(name, await registry.tags.of(name, digest))
            chosen[name, digest] = None
        things = list(chosen)

        async def one(place: int) -> None:
            name, digest = things[place]
            tags = await registry.manifests.delete(name, digest)
            facts = {"digest": digest, "tags": " ".join(tags)}
            audit.record("manifest deleted", repository=name, command="manifest delete", **facts)

        return await stored.delete([stored.written(*each) for each in things], options, one)

    return stored.run(options, work)
