"""Link files: a digest in a small file, the way a repository holds on to content."""

from __future__ import annotations

import logging

from lading.oci.digest import Digest, InvalidDigestError
from lading.registry.ports import PathNotFoundError, Storage

log = logging.getLogger(__name__)


async def read(storage: Storage, key: str) -> Digest | None:
    """The digest under which the linked data lies; None where there is no link.

    A damaged link counts as none, so that the next push of the content repairs it.
    """
    try:
        content = await storage.get(key)
    except PathNotFoundError:
        return None
    try:
        return Digest.parse(content.decode("ascii", "replace"))
    except InvalidDigestError:
        log.warning("ignoring a damaged link file: %s", key)
        return None


async def write(storage: Storage, key: str, digest: Digest, *, durable: bool = True) -> None:
    await storage.put(key, digest.encode("ascii"), durable=durable)


async def delete(storage: Storage, key: str) -> bool:
    """Whether there was a link."""
    try:
        await storage.delete(key)
    except PathNotFoundError:
        return False
    return True
