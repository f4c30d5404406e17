"""The compact set of digests says the same as a set."""

from __future__ import annotations

import hashlib

from lading.oci.digest import Digest
from lading.registry.marks import Marks


def _digest(number: int, algorithm: str = "sha256") -> Digest:
    return Digest(f"{algorithm}:{hashlib.new(algorithm, str(number).encode()).hexdigest()}")


def test_what_was_added_is_in_it_and_nothing_else() -> None:
    marks = Marks()
    assert all(marks.add(_digest(number)) for number in range(20_000))
    assert not any(marks.add(_digest(number)) for number in range(0, 20_000, 7))
    assert len(marks) == 20_000
    assert all(_digest(number) in marks for number in range(20_000))
    assert not any(_digest(number) in marks for number in range(20_000, 40_000))


def test_neighbours_and_ends_are_told_apart() -> None:
    marks = Marks()
    texts = [f"{first}{'0' * 48}" for first in ("0" * 16, "0" * 15 + "1", "f" * 15 + "e", "f" * 16)]
    for text in texts[::2]:
        marks.add(Digest(f"sha256:{text}"))
    assert [Digest(f"sha256:{text}") in marks for text in texts] == [True, False, True, False]


def test_other_algorithms() -> None:
    marks = Marks()
    marks.add(_digest(1, "sha512"))
    assert _digest(1, "sha512") in marks
    assert _digest(1) not in marks
