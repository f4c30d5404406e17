"""Sets of digests that can be named by their first digits, as people do on a terminal."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator

from lading.oci.digest import Digest


class DigestNotFoundError(LookupError):
    """No digest of the set begins so."""


class AmbiguousDigestError(LookupError):
    """More than one digest of the set begins so."""


class DigestSet:
    """Ordered by their digits, then by algorithm."""

    def __init__(self, digests: Iterable[Digest] = ()) -> None:
        self._entries = sorted({_entry(digest) for digest in digests})

    def add(self, digest: Digest) -> None:
        """Once, however often it is added."""
        if digest not in self:
            bisect.insort(self._entries, _entry(digest))

    def remove(self, digest: Digest) -> None:
        """Also if it is not there."""
        if digest in self:
            self._entries.remove(_entry(digest))

    def __contains__(self, digest: object) -> bool:
        if not isinstance(digest, Digest):
            return False
        entry = _entry(digest)
        place = bisect.bisect_left(self._entries, entry)
        return place < len(self._entries) and self._entries[place] == entry

    def __iter__(self) -> Iterator[Digest]:
        return (Digest(f"{algorithm}:{encoded}") for encoded, algorithm in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def lookup(self, code: str) -> Digest:
        """The one whose digits begin with `code`, which may name an algorithm before a colon.

        A whole digest without its algorithm is none of two that differ in that alone. Raises
        `DigestNotFoundError`, `AmbiguousDigestError`.
        """
        algorithm, colon, digits = code.rpartition(":")
        found: list[Digest] = []
        for place in range(bisect.bisect_left(self._entries, (digits, "")), len(self._entries)):
            encoded, own = self._entries[place]
            if not encoded.startswith(digits):
                break
            if not colon or own == algorithm:
                found.append(Digest(f"{own}:{encoded}"))
                if len(found) > 1:
                    raise AmbiguousDigestError(f"{code}: more than one digest begins so")
        if not found:
            raise DigestNotFoundError(f"{code}: no digest begins so")
        return found[0]

    def short_codes(self, length: int) -> dict[Digest, str]:
        """For each digest the least digits, but at least `length`, by which `lookup` finds it.

        Where the digits alone never do, the algorithm stands before them.
        """
        codes: dict[Digest, str] = {}
        for place, (encoded, algorithm) in enumerate(self._entries):
            around = self._entries[max(0, place - 1) : place] + self._entries[place + 1 : place + 2]
            need = max([length, *(_shared(encoded, other) + 1 for other, _ in around)])
            # Of two equal rows of digits, or one that goes on where another ends, no prefix tells them apart.
            whole = any(other.startswith(encoded) for other, _ in around)
            code = f"{algorithm}:{encoded}" if whole else encoded[:need]
            codes[Digest(f"{algorithm}:{encoded}")] = code
        return codes


def _entry(digest: Digest) -> tuple[str, str]:
    return digest.encoded, digest.algorithm


def _shared(first: str, second: str) -> int:
    """How many digits they have in common at their beginning."""
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return place
    return min(len(first), len(second))
