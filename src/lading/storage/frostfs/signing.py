"""What is signed, and how: keys, requests, answers. ECDSA over P-256 (RFC 6979 with SHA-256, or with SHA-512).

A request carries three signatures: over its body, over its meta header, and over the signatures of those who sent
it before: nobody. Each who passes an answer on wraps it: the innermost signatures are those of its author.
"""

from __future__ import annotations

import functools

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from lading.storage.frostfs.encoding import Message, Nested, encode

SHA512, RFC6979 = 0, 1

_POINT = serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint


class SignatureError(Exception):
    """An answer does not carry the signatures it claims to."""


class Key:
    """A private key. `public` are the 33 bytes of the public one."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes(*_POINT)
        # The same few headers go with every request, and signatures are deterministic.
        self._sign_again = functools.lru_cache(maxsize=16)(self.sign)

    def sign(self, data: bytes) -> Nested:
        """A `Signature` message."""
        try:
            signature = self._private.sign(data, _deterministic())
        except UnsupportedAlgorithm:  # OpenSSL before 3.2; to a verifier the signatures are alike
            signature = self._private.sign(data, ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        return encode((1, self.public), (2, r.to_bytes(32, "big") + s.to_bytes(32, "big")), (3, RFC6979))

    def request(self, body: bytes, meta: bytes) -> bytes:
        """A whole request."""
        signatures = encode((1, self.sign(body)), (2, self._sign_again(meta)), (3, self._sign_again(b"")))
        return bytes(encode((1, Nested(body)), (2, Nested(meta)), (3, signatures)))


def _deterministic() -> ec.ECDSA:
    return ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


def verify(signature: Message, data: bytes | memoryview) -> bool:
    """Whether the `Signature` message is one of `data`, by whose key ever."""
    value, scheme = signature.data(2), signature.number(3)
    if scheme == SHA512 and len(value) == 65 and value[0] == 4:
        value, algorithm = value[1:], ec.ECDSA(hashes.SHA512())
    elif scheme == RFC6979 and len(value) == 64:
        algorithm = ec.ECDSA(hashes.SHA256())
    else:
        return False
    encoded = encode_dss_signature(int.from_bytes(value[:32], "big"), int.from_bytes(value[32:], "big"))
    try:
        _public_key(signature.data(1)).verify(encoded, data, algorithm)
    except (InvalidSignature, ValueError):
        return False
    return True


@functools.lru_cache(maxsize=256)
def _public_key(point: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def check_answer(answer: Message) -> None:
    """Raises `SignatureError`. An answer without signatures is accepted: newer nodes send none."""
    if not answer.has(3):
        return
    meta, signatures = answer.message(2), answer.message(3)
    while True:
        inner = signatures.has(4)
        checks = [(2, meta.raw), (3, signatures.view(4))]
        if inner and signatures.has(1):
            raise SignatureError("a relaying node has signed the body")
        if not inner:
            checks.append((1, answer.view(1)))
        for number, data in checks:
            if not verify(signatures.message(number), data):
                raise SignatureError("the signature of an answer is wrong")
        if not inner:
            return
        meta, signatures = meta.message(5), signatures.message(4)
