"""Public keys that tokens are verified with, and the names tokens call them by (RFC 7517, RFC 7638)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lading.auth.watched import FileError

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"secp256r1": ("P-256", "ES256"), "secp384r1": ("P-384", "ES384"), "secp521r1": ("P-521", "ES512")}

_PEM_START, _PEM_END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys by all of their names, and the certificates that chains of `x5c` must lead to."""

    by_id: Mapping[str, PublicKey] = field(default_factory=dict)
    roots: tuple[x509.Certificate, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.by_id or self.roots)


def algorithms_of(key: PublicKey) -> frozenset[str]:
    """The only algorithms a signature by this key may claim: a key is of no use with those of another kind."""
    if isinstance(key, RSAPublicKey):
        return RSA_ALGORITHMS
    if isinstance(key, Ed25519PublicKey):
        return frozenset({"EdDSA"})
    return frozenset({_CURVES[key.curve.name][1]}) if key.curve.name in _CURVES else frozenset()


def parse_bundle(text: bytes, path: str) -> Keys:
    """The certificates of a PEM file, other blocks skipped. Raises `FileError`."""
    certificates = []
    for block in text.split(_PEM_START)[1:]:
        pem = _PEM_START + block.partition(_PEM_END)[0] + _PEM_END
        try:
            certificates.append(x509.load_pem_x509_certificate(pem))
        except ValueError as error:
            raise FileError(f"{path}: unable to parse token auth root certificate: {error}") from None
    by_id: dict[str, PublicKey] = {}
    for certificate in certificates:
        try:
            key = certificate.public_key()
        except (ValueError, UnsupportedAlgorithm):
            continue  # as a root it may still do
        if isinstance(key, PublicKey) and algorithms_of(key):
            by_id.update(dict.fromkeys(names_of(key), key))
    return Keys(by_id, tuple(certificates))


def parse_jwks(text: bytes, path: str) -> Keys:
    """A set of keys by their `kid`. Private keys count as their public part, symmetric ones not at all.

    Raises `FileError`.
    """
    try:
        entries = json.loads(text)["keys"]
        if not isinstance(entries, list):
            raise TypeError("keys is not a list")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileError(f"{path}: failed to parse jwks: {error!r}") from None
    given: dict[str, PublicKey] = {}
    derived: dict[str, PublicKey] = {}
    for entry in entries:
        key = public_key(entry)
        if key is None:
            continue
        kid = entry.get("kid")
        if isinstance(kid, str) and kid:
            given[kid] = key
        derived.update(dict.fromkeys(names_of(key), key))
    return Keys({**derived, **given})


def public_key(entry: object) -> PublicKey | None:
    """The key of one JWK; None if it is of no use."""
    if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    try:
        found = jwt.PyJWK(_public_part(entry), algorithm=_any_algorithm(entry)).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    return found if isinstance(found, PublicKey) and algorithms_of(found) else None


def _public_part(entry: Mapping[str, object]) -> dict[str, object]:
    return {name: entry[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in entry}


def _any_algorithm(entry: Mapping[str, object]) -> str:
    """PyJWK wants one to choose its reader by; which ones are right is decided by `algorithms_of`."""
    curves = dict(_CURVES.values())
    return {"RSA": "RS256", "OKP": "EdDSA"}.get(str(entry["kty"])) or curves.get(str(entry.get("crv")), "ES256")


def merge(all_keys: Iterable[Keys]) -> Keys:
    by_id: dict[str, PublicKey] = {}
    roots: list[x509.Certificate] = []
    for keys in all_keys:
        by_id.update(keys.by_id)
        roots += keys.roots
    return Keys(by_id, tuple(roots))


def names_of(key: PublicKey) -> list[str]:
    """The thumbprint, also as the original computes it, and the fingerprint that libtrust gave keys."""
    names = [thumbprint(key), libtrust_id(key)]
    if isinstance(key, EllipticCurvePublicKey):
        names.append(_thumbprint_of(_ec_members(key, padded=False)))
    return names


def thumbprint(key: PublicKey) -> str:
    """RFC 7638 with SHA-256."""
    return _thumbprint_of(members(key))


def members(key: PublicKey) -> dict[str, str]:
    """The required members of the JWK."""
    if isinstance(key, RSAPublicKey):
        numbers = key.public_numbers()
        return {"e": _integer(numbers.e), "kty": "RSA", "n": _integer(numbers.n)}
    if isinstance(key, Ed25519PublicKey):
        return {"crv": "Ed25519", "kty": "OKP", "x": encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}
    return _ec_members(key, padded=True)


def _ec_members(key: EllipticCurvePublicKey, *, padded: bool) -> dict[str, str]:
    """Without padding is how the original computes thumbprints: coordinates lose their leading zeros."""
    numbers, size = key.public_numbers(), (key.key_size + 7) // 8 if padded else 0
    name = _CURVES[key.curve.name][0] if key.curve.name in _CURVES else key.curve.name
    return {"crv": name, "kty": "EC", "x": _integer(numbers.x, size), "y": _integer(numbers.y, size)}


def _thumbprint_of(required: Mapping[str, str]) -> str:
    text = json.dumps(required, sort_keys=True, separators=(",", ":"))
    return encode(hashlib.sha256(text.encode()).digest())


def libtrust_id(key: PublicKey) -> str:
    """`ABCD:EFGH:…`, as tokens of older servers have it."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode("ascii")
    return ":".join(text[at : at + 4] for at in range(0, len(text), 4))


def encode(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _integer(number: int, size: int = 0) -> str:
    return encode(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))
