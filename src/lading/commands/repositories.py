"""`lading repo`: the repositories of a storage, without a server."""

from __future__ import annotations

import argparse

from lading.commands import stored
from lading.oci import errors
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName
from lading.registry import audit, layout
from lading.registry.ports import PathNotFoundError
from lading.registry.registry import Registry


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = commands.add_parser("repo", help="list, inspect or delete repositories in the storage")
    ways = about.add_subparsers(dest="way", metavar="COMMAND", required=True)
    listing = stored.command(ways, "list", "those there are, or whose names match", _list)
    listing.add_argument("globs", nargs="*", metavar="GLOB")
    inspecting = stored.command(ways, "inspect", "what one holds", _inspect)
    inspecting.add_argument("name", type=stored.repository, metavar="NAME")
    deleting = stored.command(ways, "delete", "with all that they hold", _delete)
    deleting.add_argument("globs", nargs="+", metavar="NAME", help="or a glob")
    stored.deleting(deleting)


def _list(options: argparse.Namespace) -> int:
    async def work(registry: Registry) -> int:
        rows = []
        async for name in stored.repositories(registry, options.globs):
            counts = len(await registry.tags.page(name)), len(await registry.manifests.all(name))
            rows.append({"repository": name, "tags": counts[0], "manifests": counts[1]})
        stored.show(rows, options)
        return 0

    return stored.run(options, work)


def _inspect(options: argparse.Namespace) -> int:
    async def work(registry: Registry) -> int:
        name: RepositoryName = options.name
        parts, sizes = await _parts(registry, name), []
        for digest in await registry.blobs.all(name):
            try:
                sizes.append(await registry.blobs.size(name, digest))
            except RegistryError:
                continue
        row = {
            "repository": name,
            "tags": len(await registry.tags.page(name)) if layout.MANIFESTS in parts else 0,
            "manifests": len(await registry.manifests.all(name)),
            "blobs": len(sizes),
            "bytes": sum(sizes),
            "uploads": len(await registry.repositories.storage.list(layout.uploads(name)))
            if layout.UPLOADS in parts
            else 0,
        }
        stored.show_one(row, options)
        return 0

    return stored.run(options, work)


def _delete(options: argparse.Namespace) -> int:
    async def work(registry: Registry) -> int:
        names = [name async for name in stored.repositories(registry, options.globs)]
        for glob in options.globs:
            if not set("*?[") & set(glob) and glob not in names:
                # What has no manifest yet, or was left by a deletion that was cut short, is in no list.
                names.append(RepositoryName.parse(glob))
                await _parts(registry, names[-1])
        for name in names:
            await registry.removal.check(name)

        async def one(place: int) -> None:
            removed = await registry.removal.remove(names[place])
            facts = {"tags": removed.tags, "manifests": removed.manifests}
            audit.record("repository deleted", repository=names[place], command="repo delete", **facts)

        return await stored.delete(names, options, one)

    return stored.run(options, work)


async def _parts(registry: Registry, name: RepositoryName) -> set[str]:
    """Raises NAME_UNKNOWN."""
    try:
        parts = set(await registry.repositories.storage.list(layout.repository(name))) & set(layout.PARTS)
    except PathNotFoundError:
        parts = set()
    if not parts:
        raise errors.NAME_UNKNOWN(detail=name)
    return parts
