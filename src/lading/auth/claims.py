"""Signed tokens to claims: which key, which algorithm, and whether the signature holds (RFC 7515, RFC 7519)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jwt

from lading.auth import chains
from lading.auth.keys import Keys, PublicKey, algorithms_of

ALGORITHMS = (
    "EdDSA",
    *(f"{kind}{size}" for kind in ("RS", "PS", "ES") for size in (256, 384, 512)),
)
NOMINAL = ("HS256", "HS384", "HS512")
"""May be configured, as in the original; but no key of a registry is symmetric, so they never verify."""

LEEWAY_SECONDS = 60.0
MAX_TOKEN = 64 * 1024

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)

Claims = Mapping[str, Any]


class TokenError(Exception):
    """The token is of no use; the text says why, without any of it."""


class UnknownKeyError(TokenError):
    """No key of that name is known: perhaps it is new."""


def verify(token: str, keys: Keys, allowed: Iterable[str], now: float) -> Claims:
    """The claims of a token that a trusted key has signed; nothing of them is checked yet.

    `now` is in seconds since 1970. Raises `TokenError`.
    """
    if len(token) > MAX_TOKEN or _COMPACT.fullmatch(token) is None:
        raise TokenError("not a signed token")
    header = _header(token)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in allowed or algorithm not in ALGORITHMS:
        raise TokenError("the signing algorithm is not allowed")
    if "crit" in header:
        raise TokenError("the token has critical extensions")
    key = _key(header, keys, now)
    # What the header claims must be what the key is for, or a public key could be taken for a secret.
    if algorithm not in algorithms_of(key):
        raise TokenError("the signing algorithm is not one of the key")
    try:
        payload = jwt.PyJWS().decode(token, key=key, algorithms=[algorithm])
        claims = json.loads(payload)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise TokenError("the signature does not verify") from None
    if not isinstance(claims, dict):
        raise TokenError("the claims are not an object")
    return claims


def check(claims: Claims, *, issuer: str, audiences: Iterable[str], now: float) -> float:
    """The time until which the claims hold, leeway included. Raises `TokenError`."""
    if claims.get("iss") != issuer:
        raise TokenError("the token is of another issuer")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not any(isinstance(each, str) and each in audiences for each in named):
        raise TokenError("the token is for another service")
    expires, begins = _time(claims, "exp"), _time(claims, "nbf")
    if expires + LEEWAY_SECONDS < now:
        raise TokenError("the token has expired")
    if begins - LEEWAY_SECONDS > now:
        raise TokenError("the token is not valid yet")
    return expires + LEEWAY_SECONDS


def unverified(token: str) -> Claims:
    """What a token says of itself, to find out whom to ask for its key. Raises `TokenError`."""
    if len(token) > MAX_TOKEN or _COMPACT.fullmatch(token) is None:
        raise TokenError("not a signed token")
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise TokenError("not a signed token") from None
    return claims


def _header(token: str) -> Mapping[str, Any]:
    try:
        return jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise TokenError("not a signed token") from None


def _key(header: Mapping[str, Any], keys: Keys, now: float) -> PublicKey:
    """By the certificates of the token, else by the name of a trusted key: never the key a token brings along."""
    embedded = header.get("jwk")
    chain = header.get("x5c")
    if embedded is not None and not isinstance(embedded, dict):
        raise TokenError("jwk is not a key")
    if chain is None and isinstance(embedded, dict):
        chain = embedded.get("x5c")
    if chain is not None:
        try:
            return chains.key_of(chain, keys.roots, now)
        except chains.ChainError as error:
            raise TokenError(str(error)) from None
    kid = embedded.get("kid") if isinstance(embedded, dict) else header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise TokenError("the token names no key")
    key = keys.by_id.get(kid)
    if key is None:
        raise UnknownKeyError("the token's key is not trusted")
    return key


def _time(claims: Claims, name: str) -> float:
    """Seconds since 1970; absent is 0."""
    value = claims.get(name, 0)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenError(f"{name} is not a time")
    # Python reads NaN, which compares with nothing, and numbers beyond all times.
    if not -(2**63) <= value < 2**63:
        raise TokenError(f"{name} is not a time")
    return float(value)
