from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.oci.digest import HEX_DIGITS, Digest, InvalidDigestError, has_digest_shape

FORMAT = "invalid checksum digest format"
LENGTH = "invalid checksum digest length"
UNSUPPORTED = "unsupported digest algorithm"

digests = st.sampled_from(sorted(HEX_DIGITS)).flatmap(
    lambda name: st.text("0123456789abcdef", min_size=HEX_DIGITS[name], max_size=HEX_DIGITS[name]).map(
        lambda encoded: f"{name}:{encoded}"
    )
)


@given(digests)
def test_a_digest_is_its_text(text: str) -> None:
    digest = Digest.parse(text)
    assert digest == text
    assert f"{digest.algorithm}:{digest.encoded}" == text
    assert has_digest_shape(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", FORMAT),
        (":", FORMAT),
        ("sha256", LENGTH),
        ("sha256:", LENGTH),
        ("sha256:" + "a" * 63, LENGTH),
        ("sha256:" + "a" * 65, LENGTH),
        ("sha256:" + "a" * 128, LENGTH),
        ("sha512:" + "a" * 64, LENGTH),
        ("sha384:" + "a" * 64, LENGTH),
        ("sha256:baddigeststring", LENGTH),
        ("sha256:" + "A" * 64, FORMAT),
        ("sha256:" + "g" * 64, FORMAT),
        ("sha256:" + "a" * 63 + "\n", FORMAT),
        ("sha256:" + "a" * 64 + "\n", LENGTH),
        ("sha256:" + "a" * 63 + "\u0661", FORMAT),
        ("sha256:a:" + "a" * 62, FORMAT),
        ("sha256 :" + "a" * 64, FORMAT),
        ("SHA256:" + "a" * 64, FORMAT),
        ("sha256+:" + "a" * 64, FORMAT),
        ("md5:" + "a" * 32, UNSUPPORTED),
        ("sha1:" + "a" * 40, UNSUPPORTED),
        ("sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", UNSUPPORTED),
        ("multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8", UNSUPPORTED),
        ("latest", FORMAT),
    ],
)
def test_what_is_no_digest(text: str, reason: str) -> None:
    with pytest.raises(InvalidDigestError) as caught:
        Digest.parse(text)
    assert str(caught.value) == reason


@given(st.text())
def test_any_other_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(InvalidDigestError):
        Digest.parse(text)


@given(digests, st.data())
def test_one_changed_character_is_noticed(text: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda character: character not in "0123456789abcdef"))
    changed = text[:place] + other + text[place + 1 :]
    if changed != text:
        with pytest.raises(InvalidDigestError):
            Digest.parse(changed)


@given(st.binary(), st.sampled_from(sorted(HEX_DIGITS)))
def test_of_content(content: bytes, algorithm: str) -> None:
    digest = Digest.of(content, algorithm)
    assert Digest.parse(digest) == digest
    assert digest.algorithm == algorithm
    assert digest.encoded == hashlib.new(algorithm, content).hexdigest()


def test_of_content_is_canonical_unless_told() -> None:
    assert Digest.of(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("text", "shaped"),
    [
        ("sha256:a", True),
        ("a:b", True),
        ("a+b.c_d-e:F=_-", True),
        ("0:0", True),
        ("sha256:", False),
        (":a", False),
        ("sha256", False),
        ("Sha256:a", False),
        ("sha--256:a", False),
        ("sha256-:a", False),
        ("sha256:a:b", False),
        ("sha256:a\n", False),
        ("sha256:\u00e9", False),
    ],
)
def test_the_shape_of_a_digest(text: str, shaped: bool) -> None:
    assert has_digest_shape(text) is shaped
