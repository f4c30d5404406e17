"""The two headers of authentication: what a client shows, and what it is asked for (RFC 7617, RFC 6750)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from lading.registry.access import Access

_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def parse_basic(header: str) -> tuple[str, str] | None:
    """User and password of an Authorization header; None if it is not Basic, or malformed."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(rest.encode("latin-1"), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None


def parse_bearer(header: str) -> str:
    """The token of an Authorization header; empty if there is none."""
    scheme, _, token = header.partition(" ")
    return token if scheme.lower() == "bearer" else ""


def basic_challenge(realm: str) -> str:
    return f"Basic realm={quote(realm)}"


def bearer_challenge(realm: str, service: str, scope: str = "", error: str = "") -> str:
    header = f"Bearer realm={quote(realm)},service={quote(service)}"
    if scope:
        header += f",scope={quote(scope)}"
    return f'{header},error="{error}"' if error else header


def scope_of(needed: Iterable[Access]) -> str:
    """The records as a scope: actions of one resource together, in the order they were asked for."""
    resources: dict[tuple[str, str], dict[str, None]] = {}
    for access in needed:
        resources.setdefault((access.type, access.name), {})[access.action] = None
    return " ".join(f"{kind}:{name}:{','.join(actions)}" for (kind, name), actions in resources.items())


def quote(text: str) -> str:
    """A quoted string as Go's `%q` writes it: no header can be broken out of."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if character.isprintable():
        return character
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
