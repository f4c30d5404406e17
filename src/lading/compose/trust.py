"""What of an object store is believed for a while, where the configuration asks for a cache of descriptors."""

from __future__ import annotations

import mmap

from lading.config.models.configuration import Configuration
from lading.config.remarks import CACHES
from lading.registry.ports import Storage
from lading.registry.trust import Trust

TRUST_SECONDS = 10.0
"""So long a deletion by another node, or another program, may go unnoticed by pulls."""

_deletions: list[memoryview] = []


def prepare() -> None:
    """To be called before there are processes: so each hears of deletions by the others."""
    _deletions.append(memoryview(mmap.mmap(-1, mmap.PAGESIZE)))


def trust(configuration: Configuration, storage: Storage) -> Trust | None:
    """None where the storage is always asked: it is on this machine, or there is to be no cache."""
    if not storage.traits.flat or configuration.storage.cache.blobdescriptor not in CACHES:
        return None
    return Trust(TRUST_SECONDS, _deletions[-1] if _deletions else None)
