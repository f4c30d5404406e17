"""The set of what is marked: eight bytes for each digest, however many there are."""

from __future__ import annotations

from array import array
from bisect import bisect_left

from lading.oci.digest import Digest

_BITS = 64
_SHELF_BITS = 12


class Marks:
    """The first 64 bits of a hash stand for it: should two ever have the same, garbage stays."""

    def __init__(self) -> None:
        # Sorted arrays, each of a few thousand entries even for ten million digests; made when they are needed.
        self._shelves: list[array[int] | None] = [None] * (1 << _SHELF_BITS)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, digest: Digest) -> bool:
        key = _key(digest)
        shelf = self._shelves[key >> (_BITS - _SHELF_BITS)]
        if shelf is None:
            return False
        place = bisect_left(shelf, key)
        return place < len(shelf) and shelf[place] == key

    def add(self, digest: Digest) -> bool:
        """Whether it was not there before."""
        key = _key(digest)
        number = key >> (_BITS - _SHELF_BITS)
        shelf = self._shelves[number]
        if shelf is None:
            shelf = self._shelves[number] = array("Q")
        place = bisect_left(shelf, key)
        if place < len(shelf) and shelf[place] == key:
            return False
        shelf.insert(place, key)
        self._count += 1
        return True


def _key(digest: Digest) -> int:
    return int(digest.encoded[: _BITS // 4], 16)
