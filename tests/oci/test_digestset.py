"""Digests by their first digits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.oci.digest import HEX_DIGITS, Digest
from lading.oci.digestset import AmbiguousDigestError, DigestNotFoundError, DigestSet


def digest(start: str, algorithm: str = "sha256") -> Digest:
    return Digest.parse(f"{algorithm}:{start:0<{HEX_DIGITS[algorithm]}}")


SET = DigestSet([digest("12345"), digest("1234"), digest("12346"), digest("54321"), digest("65431")])


@pytest.mark.parametrize("code", ["12345", "sha256:12345", "54", "6", digest("1234"), digest("1234").encoded])
def test_lookup(code: str) -> None:
    assert SET.lookup(code).encoded.startswith(code.removeprefix("sha256:"))


@pytest.mark.parametrize("code", ["1234", "1", "", "sha256:", "sha256:1234"])
def test_more_than_one(code: str) -> None:
    with pytest.raises(AmbiguousDigestError):
        SET.lookup(code)


@pytest.mark.parametrize("code", ["12347", "7", "sha512:54321", "z", "54321" * 20])
def test_none(code: str) -> None:
    with pytest.raises(DigestNotFoundError):
        SET.lookup(code)
    with pytest.raises(DigestNotFoundError):
        DigestSet().lookup(code)


def test_an_algorithm_tells_apart() -> None:
    both = DigestSet([digest("abc"), digest("abc", "sha512")])
    assert both.lookup("sha512:abc").algorithm == "sha512"
    with pytest.raises(AmbiguousDigestError):
        both.lookup("abc")
    codes = both.short_codes(4)
    assert [both.lookup(code) for code in codes.values()] == list(codes)


def test_a_set_of_them() -> None:
    some = DigestSet()
    some.add(digest("2"))
    some.add(digest("1"))
    some.add(digest("2"))
    assert list(some) == [digest("1"), digest("2")]
    some.remove(digest("3"))
    some.remove(digest("1"))
    assert (list(some), len(some), digest("1") in some, "x" in some) == ([digest("2")], 1, False, False)


def test_short_codes() -> None:
    assert SET.short_codes(3) == {
        digest("1234"): "12340",
        digest("12345"): "12345",
        digest("12346"): "12346",
        digest("54321"): "543",
        digest("65431"): "654",
    }


DIGESTS = st.builds(
    digest, st.text("01a", min_size=0, max_size=6), st.sampled_from(["sha256", "sha384", "sha512"])
)


@given(st.sets(DIGESTS, max_size=12), st.text("01a", max_size=7))
def test_lookup_is_a_search_of_all(digests: set[Digest], code: str) -> None:
    fitting = [each for each in digests if each.encoded.startswith(code)]
    some = DigestSet(digests)
    assert set(some) == digests
    if len(fitting) == 1:
        assert some.lookup(code) == fitting[0]
    else:
        with pytest.raises(AmbiguousDigestError if fitting else DigestNotFoundError):
            some.lookup(code)


@given(st.sets(DIGESTS, max_size=12), st.integers(1, 8))
def test_short_codes_find_what_they_stand_for(digests: set[Digest], length: int) -> None:
    some = DigestSet(digests)
    codes = some.short_codes(length)
    assert codes.keys() == digests
    for each, code in codes.items():
        assert len(code.rpartition(":")[2]) >= length
        assert some.lookup(code) == each
        if ":" not in code and len(code) > length:
            with pytest.raises(AmbiguousDigestError):
                some.lookup(code[:-1])
