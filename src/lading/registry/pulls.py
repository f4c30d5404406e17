"""When manifests were pulled last: an empty file for each, in `_pulled`, that is as old as the last pull."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from lading.oci.digest import Digest
from lading.oci.names import RepositoryName
from lading.oci.patterns import Repositories
from lading.registry import layout
from lading.registry.ports import Storage, StorageError

log = logging.getLogger(__name__)

MARK_SECONDS = 600.0
"""How often a pull of the same manifest is noted, by each process."""

MAX_REMEMBERED = 8192


def everywhere(_: str) -> bool:
    return True


@dataclass(slots=True)
class Pulls:
    """In the repositories that are `wanted`."""

    storage: Storage
    wanted: Repositories = everywhere
    clock: Callable[[], float] = time.monotonic
    _marked: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _marking: set[asyncio.Task[None]] = field(default_factory=set)

    def note(self, name: RepositoryName, digest: Digest) -> None:
        """The manifest was pulled. Nobody waits."""
        if self.wanted(name) and self._is_due(layout.pulled(name, digest)):
            task = asyncio.get_running_loop().create_task(self.mark(name, digest))
            self._marking.add(task)
            task.add_done_callback(self._marking.discard)

    async def mark(self, name: RepositoryName, digest: Digest) -> None:
        """As `note`, at once and in any repository. Never fails."""
        key = layout.pulled(name, digest)
        if not self._is_due(key):
            return
        self._marked[key] = self.clock()
        while len(self._marked) > MAX_REMEMBERED:
            self._marked.popitem(last=False)
        try:
            await self.storage.put(key, b"", durable=False)
        except StorageError as error:
            log.warning("cannot note a pull of %s: %s", name, error)

    def _is_due(self, key: str) -> bool:
        return self.clock() - self._marked.get(key, -MARK_SECONDS) >= MARK_SECONDS
