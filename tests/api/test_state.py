"""The signed state of an upload, byte for byte (reference, 1.12)."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.api.state import State, StateTokens
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName
from lading.registry.uploads import Upload

TOKENS = StateTokens(b"secret")
UPLOAD = Upload(RepositoryName("a/b"), "0190d7a0-0000-7000-8000-000000000000", "2024-05-01T12:00:00Z", 42)
PAYLOAD = (
    b'{"Name":"a/b","UUID":"0190d7a0-0000-7000-8000-000000000000","Offset":42,"StartedAt":"2024-05-01T12:00:00Z"}'
)


def signed(payload: bytes, secret: bytes = b"secret") -> str:
    return base64.urlsafe_b64encode(hmac.digest(secret, payload, hashlib.sha256) + payload).decode()


def test_bytes() -> None:
    assert TOKENS.issue(UPLOAD) == signed(PAYLOAD)
    assert TOKENS.verify(signed(PAYLOAD)) == State("a/b", UPLOAD.id, 42, UPLOAD.started_at)


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_another_algorithm_is_one_more_field(algorithm: str) -> None:
    token = TOKENS.issue(UPLOAD, algorithm)
    assert token == signed(PAYLOAD[:-1] + b',"Algorithm":"%s"}' % algorithm.encode())
    assert TOKENS.verify(token).algorithm == algorithm


def test_what_the_original_may_write() -> None:
    payload = PAYLOAD.replace(b"12:00:00Z", b"12:00:00.123456789Z")[:-1] + b', "More":[1]}\n'
    assert TOKENS.verify(signed(payload)) == State("a/b", UPLOAD.id, 42, "2024-05-01T12:00:00.123456789Z")


@pytest.mark.parametrize("secret", [b"", b"\x00", b"x" * 1000])
def test_secrets(secret: bytes) -> None:
    tokens = StateTokens(secret)
    assert tokens.issue(UPLOAD) == signed(PAYLOAD, secret)
    assert tokens.verify(tokens.issue(UPLOAD)).offset == 42


WHOLE = PAYLOAD + b" " * (-(32 + len(PAYLOAD)) % 3)
"""Of a length at which every bit of its base64 stands for something."""


@given(st.integers(0, 8 * len(signed(WHOLE)) - 1))
def test_no_bit_can_be_changed(bit: int) -> None:
    assert TOKENS.verify(signed(WHOLE)).offset == 42
    token = bytearray(signed(WHOLE).encode())
    token[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RegistryError) as refused:
        TOKENS.verify(token.decode("latin-1"))
    assert refused.value.status == 404
    assert refused.value.entries[0].code.code == "BLOB_UPLOAD_INVALID"


@given(st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_what_was_not_signed_is_refused(token: str) -> None:
    with pytest.raises(RegistryError) as refused:
        TOKENS.verify(token)
    assert refused.value.entries[0].code.code == "BLOB_UPLOAD_INVALID"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"Name":1,"UUID":"x","Offset":1}',
        b'{"Name":"a","UUID":"x","Offset":"1"}',
        b'{"Name":"a","UUID":"x","Offset":1.5}',
        b"\xff",
        b"[" * 2000,
    ],
)
def test_what_was_signed_and_is_no_state(payload: bytes) -> None:
    with pytest.raises(RegistryError) as refused:
        TOKENS.verify(signed(payload))
    assert refused.value.status == 404


def test_tokens_are_compared_whole() -> None:
    token = signed(PAYLOAD)
    for wrong in (
        token[:-4],
        token + "AAAA",
        token.rstrip("="),
        token[:40],
        "A" * 5000,
        signed(PAYLOAD, b"other"),
    ):
        if wrong == token:
            continue
        with pytest.raises(RegistryError):
            TOKENS.verify(wrong)
