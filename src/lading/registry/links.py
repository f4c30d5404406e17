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
        found = await storage.get(key)
    except PathNotFoundError:
        return None
    try:
        return Digest.parse(found.decode("ascii", "replace"))
    except InvalidDigestError:
        log.warning("ignoring a damaged link file: %s", key)
        return None


def content(digest: Digest) -> bytes:
    """What a link to the digest holds."""
    return digest.encode("ascii")


async def write(storage: Storage, key: str, digest: Digest) -> None:
    await storage.put_all({key: content(digest)})


async def delete(storage: Storage, key: str) -> bool:
    """Whether there was a link."""
    try:
        await storage.delete(key)
    except PathNotFoundError:
        return False
    return True
