"""Groups whose registry asks who its callers are: its configuration, and what the load shows."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from bench.seed import REPOSITORY

HTPASSWD = "htpasswd"
TOKEN = "token"  # noqa: S105  the name of a group

_COST = 10
"""As `htpasswd -B` and the original's bootstrap make them, or dearer."""


@dataclass(frozen=True)
class Guard:
    """`section` is joined to the configuration, `headers` to every request."""

    section: str = ""
    headers: tuple[str, ...] = ()


def guard(group: str, folder: Path) -> Guard:
    """What the group needs, with its files in `folder`; nothing for most groups."""
    make = _GUARDS.get(group)
    if make is None:
        return Guard()
    folder.mkdir(parents=True, exist_ok=True)
    return make(folder)


def _htpasswd(folder: Path) -> Guard:
    file = folder / "htpasswd"
    file.write_bytes(b"bench:" + bcrypt.hashpw(b"password", bcrypt.gensalt(_COST)))
    shown = base64.b64encode(b"bench:password").decode("ascii")
    section = {"htpasswd": {"realm": "bench", "path": str(file)}}
    return Guard(f"auth: {json.dumps(section)}\n", (f"Authorization: Basic {shown}",))


def _token(folder: Path) -> Guard:
    file, key, now = folder / "jwks.json", ec.generate_private_key(ec.SECP256R1()), int(time.time())
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    file.write_text(json.dumps({"keys": [{**public, "kid": "bench"}]}))
    access = [{"type": "repository", "name": REPOSITORY, "actions": ["pull"]}]
    claims = {"iss": "bench", "aud": "bench", "sub": "bench", "exp": now + 86400, "nbf": now, "access": access}
    text = jwt.encode(claims, key, "ES256", {"kid": "bench"})
    section = {"token": {"realm": "https://bench/", "service": "bench", "issuer": "bench", "jwks": str(file)}}
    return Guard(f"auth: {json.dumps(section)}\n", (f"Authorization: Bearer {text}",))


_GUARDS: dict[str, Callable[[Path], Guard]] = {HTPASSWD: _htpasswd, TOKEN: _token}
