"""Digests: `algorithm:encoded`, as registered by the OCI image specification ("Digests")."""

from __future__ import annotations

import functools
import hashlib
import re

CANONICAL = "sha256"
HEX_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}

DIGEST_PATTERN = r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+"
"""What looks like a digest of any algorithm, known or not."""

_FORMAT = re.compile(DIGEST_PATTERN, re.ASCII)
_LOWER_HEX = re.compile(r"[a-f0-9]+", re.ASCII)


class InvalidDigestError(ValueError):
    """The text is not a digest this registry can compute; `str()` says which rule it breaks."""


class Digest(str):
    """A valid digest. Make one with `parse` or `of`; the constructor trusts its argument."""

    __slots__ = ()

    @classmethod
    @functools.lru_cache(maxsize=1024)
    def parse(cls, text: str) -> Digest:
        """Raises `InvalidDigestError`."""
        algorithm, _, encoded = text.partition(":")
        digits = HEX_DIGITS.get(algorithm)
        if digits is None:
            if not has_digest_shape(text):
                raise InvalidDigestError("invalid checksum digest format")
            raise InvalidDigestError("unsupported digest algorithm")
        if len(encoded) != digits:
            raise InvalidDigestError("invalid checksum digest length")
        if _LOWER_HEX.fullmatch(encoded) is None:
            raise InvalidDigestError("invalid checksum digest format")
        return cls(text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = CANONICAL) -> Digest:
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        return self.partition(":")[2]


def has_digest_shape(text: str) -> bool:
    """Whether `text` looks like a digest of any algorithm, known or not."""
    return _FORMAT.fullmatch(text) is not None
