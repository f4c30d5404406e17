"""Garbage collection while nothing is pushed: what goes and what stays as a value, then its removal."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from lading.oci.names import RepositoryName
from lading.registry import layout, links
from lading.registry.garbage import Doomed, Plan, Tell, Wish, each, unheard
from lading.registry.marking import Marking
from lading.registry.ports import Storage
from lading.registry.quarantine import COLLECTED, Batch, Quarantine
from lading.registry.repositories import Repositories

log = logging.getLogger(__name__)

TOGETHER = 1000
"""Objects that are removed at a time: what the stores take in one request."""


async def plan(storage: Storage, wish: Wish, tell: Tell) -> Plan:
    """What a collection would remove now. `tell` is given a line for each thing, as the original prints them.

    Raises `StorageError` where something cannot be read.
    """
    return await Marking(storage, wish, tell, await Quarantine(storage).batches(COLLECTED)).plan()


async def apply(storage: Storage, made: Plan, advance: Callable[[int], None] = unheard) -> None:
    """Remove what the plan names. What is gone already is no error. Raises `StorageError`.

    `advance` is told how many more of the plan's `things` are gone.
    """
    quarantine = Quarantine(storage)
    for batch, key in made.restore:
        await quarantine.restore(batch, key)
    # What was brought back by a copy is in its batch as well.
    batches = [] if storage.traits.renames else await quarantine.batches(COLLECTED)
    remove = partial(_remove, storage, batches)
    # Links go before what they lead to: what is left of an interrupted collection is garbage, and nothing else.
    for doomed in made.manifests:
        for tag in doomed.shown_by:
            await links.delete(storage, layout.tag_link(doomed.repository, tag))
            await links.delete(storage, layout.tag(doomed.repository, tag))
    await remove("", _histories(made.manifests))
    await remove("", _referrers(made.manifests))
    manifests = (layout.manifest_link(doomed.repository, doomed.digest) for doomed in made.manifests)
    await remove("deleting manifest", manifests, advance)
    layers = (layout.layer_link(*layer) for layer in made.layers)
    await remove("Deleting layer link path", layers, advance)
    blobs = (layout.blob_data(digest) for digest, _ in made.blobs)
    await remove("Deleting blob", blobs, advance)
    for name in made.empty:
        await _remove_repository(storage, name)
    for name in made.bare:
        await Repositories(storage).leave(name)


def _histories(manifests: Sequence[Doomed]) -> Iterator[str]:
    """What tags may have shown; who shows it now is asked of nobody."""
    for doomed in manifests:
        for tag in doomed.tags:
            yield layout.tag_history_link(doomed.repository, tag, doomed.digest)


def _referrers(manifests: Sequence[Doomed]) -> Iterator[str]:
    for doomed in manifests:
        if doomed.subject is not None:
            yield layout.referrer_link(doomed.repository, doomed.subject, doomed.digest)


async def _remove(
    storage: Storage,
    batches: Sequence[Batch],
    what: str,
    keys: Iterable[str],
    advance: Callable[[int], None] = unheard,
) -> None:
    """With what the batches hold of it. With `what` the log tells of each."""
    waiting = iter(keys)
    while some := list(itertools.islice(waiting, TOGETHER)):
        directories = [key.rpartition("/")[0] for key in some]
        for directory in directories if what else ():
            log.info("%s: %s", what, directory)
        if storage.traits.flat:
            await storage.delete_all([*some, *(batch.key_of(key) for batch in batches for key in some)])
            advance(len(some))
        else:
            await each(partial(links.delete, storage), directories, advance)


async def _remove_repository(storage: Storage, name: RepositoryName) -> None:
    """Repositories whose names begin with this one's lie below it, and stay."""
    log.info("Deleting empty repository: %s", name)
    for part in layout.PARTS:
        await links.delete(storage, f"{layout.repository(name)}/{part}")
    await Repositories(storage).tidy(name)
