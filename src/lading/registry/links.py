"""Link files: a digest in a small file, the way a repository holds on to content."""

from __future__ import annotations

import contextlib
import logging

from lading.oci.digest import HEX_DIGITS, Digest, InvalidDigestError
from lading.registry.cache import Cache
from lading.registry.ports import PathNotFoundError, Storage
from lading.registry.trust import Moment, Trust

log = logging.getLogger(__name__)

KNOWN_BYTES = 2 * 1024 * 1024
"""For some 3,000 links of each kind, in each process."""


class Known(Cache[Moment]):
    """Keys of links that hold the digest they are named after, and of content, and when they were last seen."""

    def __init__(self, trust: Trust | None = None) -> None:
        super().__init__(KNOWN_BYTES)
        self.trust = Trust() if trust is None else trust

    def lately(self, key: str) -> bool:
        """Seen so lately that a request that only reads need not ask again."""
        if not self.trust:
            return False
        seen = self.get(key)
        return seen is not None and self.trust.covers(seen)

    def saw(self, key: str, asked: Moment) -> None:
        """For `lately`."""
        if self.trust:
            self.put(key, asked, len(key))


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


async def follow(
    storage: Storage, key: str, digest: Digest, known: Known, *, lately: bool = False
) -> Digest | None:
    """As `read`, for a link that is named after `digest`, which as a rule is also what it holds.

    `known` are links that were read and did: what such a file holds never changes, so that the storage is only
    asked whether it is still there; nor that, if it is enough that it was there `lately`.
    """
    seen, asked = known.get(key), known.trust.now
    if seen is not None:
        if lately and known.trust.covers(seen):
            return digest
        try:
            if (await storage.stat(key)).size == len(digest):
                known.saw(key, asked)
                return digest
        except PathNotFoundError:
            known.forget(key)
            return None
    linked = await read(storage, key)
    if linked == digest:
        known.put(key, asked, len(key))
    return linked


async def listed(storage: Storage, directory: str) -> list[Digest]:
    """What is linked below a directory of links, by algorithm and in byte order."""
    found: list[Digest] = []
    for algorithm in HEX_DIGITS:
        try:
            names = await storage.list(f"{directory}/{algorithm}", holding="link")
        except PathNotFoundError:
            continue
        for encoded in names:
            with contextlib.suppress(InvalidDigestError):
                found.append(Digest.parse(f"{algorithm}:{encoded}"))
    return found


def content(digest: Digest) -> bytes:
    """What a link to the digest holds."""
    return digest.encode("ascii")


async def delete(storage: Storage, key: str) -> bool:
    """Whether there was a link."""
    try:
        await storage.delete(key)
    except PathNotFoundError:
        return False
    return True
