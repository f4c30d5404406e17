"""Garbage collection while nothing is pushed: what goes and what stays as a value, then its removal."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from lading.oci.digest import Digest
from lading.oci.names import RepositoryName
from lading.registry import layout, links
from lading.registry.garbage import Doomed, Plan, Tell, Wish, each, unheard
from lading.registry.marking import Marking
from lading.registry.ports import Storage
from lading.registry.quarantine import COLLECTED, Quarantine
from lading.registry.repositories import Repositories

log = logging.getLogger(__name__)


async def plan(storage: Storage, wish: Wish, tell: Tell) -> Plan:
    """What a collection would remove now. `tell` is given a line for each thing, as the original prints them.

    Raises `StorageError` where something cannot be read.
    """
    return await Marking(storage, wish, tell, await Quarantine(storage).batches(COLLECTED)).plan()


async def apply(storage: Storage, made: Plan, advance: Callable[[int], None] = unheard) -> None:
    """Remove what the plan names. What is gone already is no error. Raises `StorageError`.

    `advance` is told how many more of the plan's `things` are gone.
    """
    for batch, key in made.restore:
        await Quarantine(storage).restore(batch, key)
    # Links go before what they lead to: what is left of an interrupted collection is garbage, and nothing else.
    for doomed in made.manifests:
        await _remove_manifest(storage, doomed)
        advance(1)
    await each(partial(_remove_layer, storage), made.layers, advance)
    await each(partial(_remove_blob, storage), [digest for digest, _ in made.blobs], advance)
    for name in made.empty:
        await _remove_repository(storage, name)
    for name in made.bare:
        await Repositories(storage).leave(name)


async def _remove_manifest(storage: Storage, doomed: Doomed) -> None:
    name, digest = doomed.repository, doomed.digest
    for tag in doomed.shown_by:
        await links.delete(storage, layout.tag_link(name, tag))
        await links.delete(storage, layout.tag(name, tag))
    for tag in doomed.tags:
        key = _directory(layout.tag_history_link(name, tag, digest))
        if await links.delete(storage, key):
            log.info("deleting manifest tag reference: %s", key)
    key = _directory(layout.manifest_link(name, digest))
    log.info("deleting manifest: %s", key)
    await links.delete(storage, key)
    if doomed.subject is not None:
        await links.delete(storage, _directory(layout.referrer_link(name, doomed.subject, digest)))


async def _remove_layer(storage: Storage, layer: tuple[RepositoryName, Digest]) -> None:
    key = layout.layer_link(*layer)
    log.info("Deleting layer link path: %s", key)
    await links.delete(storage, _directory(key))


async def _remove_blob(storage: Storage, digest: Digest) -> None:
    key = _directory(layout.blob_data(digest))
    log.info("Deleting blob: %s", key)
    await links.delete(storage, key)


async def _remove_repository(storage: Storage, name: RepositoryName) -> None:
    """Repositories whose names begin with this one's lie below it, and stay."""
    log.info("Deleting empty repository: %s", name)
    for part in layout.PARTS:
        await links.delete(storage, f"{layout.repository(name)}/{part}")
    await Repositories(storage).tidy(name)


def _directory(link: str) -> str:
    return link.rpartition("/")[0]
