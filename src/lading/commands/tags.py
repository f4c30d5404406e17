"""`lading tag`: the tags in a storage, without a server."""

from __future__ import annotations

import argparse

from lading.commands import manifests, stored
from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.registry import audit
from lading.registry.registry import Registry


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = commands.add_parser("tag", help="list, inspect or delete tags in the storage")
    ways = about.add_subparsers(dest="way", metavar="COMMAND", required=True)
    listing = stored.command(ways, "list", "those of a repository, with what they show", _list)
    listing.add_argument("name", type=stored.repository, metavar="NAME")
    listing.add_argument("globs", nargs="*", metavar="GLOB")
    inspecting = stored.command(ways, "inspect", "what one shows", manifests.inspect)
    inspecting.add_argument("of", type=stored.named, metavar="NAME:TAG")
    deleting = stored.command(ways, "delete", "the tags alone: manifests stay", _delete)
    deleting.add_argument("of", nargs="+", type=stored.tag_globs, metavar="NAME:TAG", help="the tag may be a glob")
    stored.deleting(deleting)


def _list(options: argparse.Namespace) -> int:
    async def work(registry: Registry) -> int:
        rows = []
        for tag in await registry.tags.page(options.name):
            if not stored.matches(tag, options.globs):
                continue
            digest: Digest | None = None
            kind, size = "missing", 0
            try:
                digest = await registry.tags.get(options.name, tag)
                found = await registry.manifests.get(options.name, digest)
                kind, size = found.media_type, len(found.data)
            except RegistryError:
                pass  # told as missing
            rows.append({"tag": tag, "digest": digest or "", "mediaType": kind, "size": size})
        stored.show(rows, options)
        return 0

    return stored.run(options, work)


def _delete(options: argparse.Namespace) -> int:
    async def work(registry: Registry) -> int:
        chosen = [(name, tag) for name, glob in options.of for tag in await stored.tags(registry, name, glob)]
        chosen = list(dict.fromkeys(chosen))
        for name, tag in chosen:
            registry.manifests.immutability.check_deletion(name, [tag])

        async def one(place: int) -> None:
            name, tag = chosen[place]
            await registry.manifests.delete_tag(name, tag)
            audit.record("tag deleted", repository=name, tag=tag, command="tag delete")

        return await stored.delete([stored.written(*each) for each in chosen], options, one)

    return stored.run(options, work)
