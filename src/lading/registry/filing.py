"""Tags by which clients file what is about a manifest: of the fallback for referrers, and of cosign."""

from __future__ import annotations

import re

from lading.oci.digest import Digest

_FILED = re.compile(r"(sha256|sha384|sha512)-([0-9a-f]{64,128})(?:\..+)?", re.ASCII)


def place(digest: Digest) -> str:
    """What tags begin with that file what is about the digest."""
    return _place(digest.algorithm, digest.encoded)


def place_of(tag: str) -> str:
    """The `place` of the digest that the tag says it is about; empty for a tag as any other."""
    match = _FILED.fullmatch(tag)
    return "" if match is None else _place(match[1], match[2])


def _place(algorithm: str, encoded: str) -> str:
    return f"{algorithm}-{encoded[:64]}"
