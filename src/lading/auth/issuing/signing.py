"""The service's own keys: made when they are missing, replaced when they are old, published before they are used.

In the directory lie `<time made>-<thumbprint>.pem` for each private key, `jwks.json` for those who verify, and
`refresh.secret`. Several processes may share it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from lading.auth import private_files
from lading.auth.keys import algorithms_of, members, thumbprint
from lading.auth.watched import FileError
from lading.registry import audit

Algorithm = Literal["ES256", "RS256"]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

AHEAD_SECONDS = 1800.0
"""A key is published so long before it signs: registries that fetch keys see it in time."""
LOOK_SECONDS = 60.0

_NAME = re.compile(r"([0-9]+)-([A-Za-z0-9_-]+)\.pem", re.ASCII)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`made` is in seconds since 1970."""

    made: int
    kid: str
    private: PrivateKey
    algorithm: str

    def sign(self, claims: Mapping[str, object]) -> str:
        return jwt.encode(dict(claims), self.private, self.algorithm, {"kid": self.kid})


class KeyStore:
    """Keys of `directory`. A new one is made after `rotate` seconds; `lifetime` is that of the longest token."""

    def __init__(
        self,
        directory: str,
        algorithm: Algorithm,
        rotate: float,
        lifetime: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Makes what is missing. Raises `FileError`."""
        self.directory = directory
        self._algorithm: Algorithm = algorithm
        self._rotate = rotate
        self._lifetime = lifetime
        self._now = now
        self._looked = now()
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
            self._keys = self._maintain()
            self.refresh_secret = self._secret()
        except OSError as error:
            raise FileError(f"{directory}: {error.filename or ''} cannot be used: {error.strerror}") from None

    @property
    def jwks_path(self) -> str:
        return os.path.join(self.directory, "jwks.json")

    def current(self) -> SigningKey:
        """The key that signs now. Raises `FileError`."""
        now = self._now()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            try:
                self._keys = self._maintain()
            except OSError as error:
                raise FileError(f"{self.directory}: cannot be used: {error.strerror}") from None
        return _signing(self._keys, now)

    def jwks(self) -> bytes:
        """The public keys, those included that are not in use yet."""
        return _jwks(self._keys)

    def rotate(self) -> SigningKey:
        """Make a new key now; it signs when it has been published for half an hour. Raises `OSError`."""
        with private_files.locked(os.path.join(self.directory, ".lock")):
            keys = self._load()
            key = self._make(self._now(), keys)
            self._keys = [*keys, key]
            private_files.write(self.jwks_path, _jwks(self._keys), 0o644)
        return key

    def _maintain(self) -> list[SigningKey]:
        """What is on disk, with a key too many or too few put right."""
        with private_files.locked(os.path.join(self.directory, ".lock")):
            now, keys = self._now(), self._load()
            newest = keys[-1] if keys else None
            if newest is None or now - newest.made >= self._rotate or newest.algorithm != self._algorithm:
                keys.append(self._make(now, keys))
            signing = _signing(keys, now)
            retired = [key for key in keys if key.made < signing.made]
            if now - signing.made > AHEAD_SECONDS + self._lifetime + 3600:
                for key in retired:
                    os.unlink(self._path(key))
                    audit.record("removed signing key", key=key.kid)
                keys = [key for key in keys if key not in retired]
            text = _jwks(keys)
            if _read(self.jwks_path) != text:
                private_files.write(self.jwks_path, text, 0o644)
            return keys

    def _load(self) -> list[SigningKey]:
        """In the order they were made."""
        found = []
        for name in os.listdir(self.directory):
            match = _NAME.fullmatch(name)
            if match is None:
                continue
            path = os.path.join(self.directory, name)
            try:
                private = load_pem_private_key(_read(path) or b"", None)
            except (ValueError, TypeError):  # the latter where a password is missing
                raise FileError(f"{path}: is not a private key (PEM)") from None
            if not isinstance(private, PrivateKey):
                raise FileError(f"{path}: is not a key for ES256 or RS256")
            algorithm = "RS256" if isinstance(private, rsa.RSAPrivateKey) else "ES256"
            if algorithm not in algorithms_of(private.public_key()):
                raise FileError(f"{path}: is not a key for ES256 or RS256")
            found.append(SigningKey(int(match[1]), match[2], private, algorithm))
        return sorted(found, key=lambda key: (key.made, key.kid))

    def _make(self, now: float, others: list[SigningKey]) -> SigningKey:
        private: PrivateKey = (
            ec.generate_private_key(ec.SECP256R1())
            if self._algorithm == "ES256"
            else rsa.generate_private_key(65537, 2048)
        )
        # Two of the same second would have no order.
        made = max([int(now), *(other.made + 1 for other in others)])
        key = SigningKey(made, thumbprint(private.public_key()), private, self._algorithm)
        private_files.write(
            self._path(key), private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        audit.record("made signing key", key=key.kid, algorithm=key.algorithm)
        return key

    def _path(self, key: SigningKey) -> str:
        return os.path.join(self.directory, f"{key.made}-{key.kid}.pem")

    def _secret(self) -> bytes:
        path = os.path.join(self.directory, "refresh.secret")
        with private_files.locked(os.path.join(self.directory, ".lock")):
            secret = _read(path)
            if not secret:
                secret = secrets.token_bytes(32)
                private_files.write(path, secret)
        return secret


def _signing(keys: list[SigningKey], now: float) -> SigningKey:
    """The newest that was published long enough; the oldest where there is none yet."""
    ready = [key for key in keys if now - key.made >= AHEAD_SECONDS]
    return ready[-1] if ready else keys[0]


def _jwks(keys: list[SigningKey]) -> bytes:
    entries = [
        {**members(key.private.public_key()), "kid": key.kid, "use": "sig", "alg": key.algorithm} for key in keys
    ]
    return json.dumps({"keys": entries}).encode() + b"\n"


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
