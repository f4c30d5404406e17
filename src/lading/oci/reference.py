"""References to images as people write them: `[domain/]path[:tag][@digest]`, and what a short one stands for.

The grammar and the rules for short names are those that Docker made and all clients share. A registry's own names
have no domain: see `lading.oci.names`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from lading.oci.digest import Digest, InvalidDigestError
from lading.oci.names import (
    DOMAIN_PATTERN,
    MAX_NAME_LENGTH,
    PATH_PATTERN,
    TAG_PATTERN,
    Tag,
    is_tag,
)

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"

_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_MAX_TEXT = 2048
"""More than any valid reference has; no longer text is shown to a regular expression."""

_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?:({DOMAIN_PATTERN})/)?({PATH_PATTERN})(?::({TAG_PATTERN}))?(?:@({_DIGEST}))?", re.ASCII
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}", re.ASCII)


class InvalidReferenceError(ValueError):
    """The text is no reference; `str()` says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A name with what it asks for. `domain` is "" where none was written; `str()` writes it as it was parsed."""

    domain: str
    path: str
    tag: Tag | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """By the grammar alone; nothing is added. Raises `InvalidReferenceError`."""
        if not text:
            raise InvalidReferenceError("repository name must have at least one component")
        found = _REFERENCE.fullmatch(text) if len(text) <= _MAX_TEXT else None
        if found is None:
            if len(text) <= _MAX_TEXT and _REFERENCE.fullmatch(text.lower()) is not None:
                raise InvalidReferenceError(f"{text!r}: repository name must be lowercase")
            raise InvalidReferenceError(f"{text[:160]!r}: invalid reference format")
        domain, path, tag, digest = found.groups()
        if len(path) > MAX_NAME_LENGTH:
            raise InvalidReferenceError(f"repository name must not be more than {MAX_NAME_LENGTH} characters")
        return cls(domain or "", path, Tag(tag) if tag else None, _digest(digest) if digest else None)

    @classmethod
    def normalize(cls, text: str) -> ImageReference:
        """With its domain: `redis` is `docker.io/library/redis`. Raises `InvalidReferenceError`.

        No tag is added; 64 hexadecimal digits are refused, because they could be an image's id.
        """
        if _IDENTIFIER.fullmatch(text) is not None:
            raise InvalidReferenceError(f"{text!r}: a name must not consist of 64 hexadecimal digits")
        if not text:
            raise InvalidReferenceError("repository name must have at least one component")
        domain, rest = _split(text)
        name = rest.partition("@")[0].partition(":")[0]
        if name != name.lower():
            raise InvalidReferenceError(f"{text!r}: repository name must be lowercase")
        return cls.parse(f"{domain}/{rest}")

    @property
    def name(self) -> str:
        """Domain and path."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def familiar_name(self) -> str:
        """The shortest name that `normalize` makes this one of."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        if "/" not in short and _IDENTIFIER.fullmatch(short) is None:
            return short
        return self.path if _split(self.path)[0] == DEFAULT_DOMAIN else self.name

    @property
    def familiar(self) -> str:
        return self.familiar_name + self._suffix

    @property
    def target(self) -> Tag | Digest:
        """What to ask a registry for: the digest if there is one, else the tag, else `latest`."""
        return self.digest or self.tag or Tag(DEFAULT_TAG)

    def with_default_tag(self) -> ImageReference:
        """With the tag `latest` where neither tag nor digest was written."""
        return self if self.tag or self.digest else replace(self, tag=Tag(DEFAULT_TAG))

    def with_tag(self, tag: str) -> ImageReference:
        """Raises `InvalidReferenceError`."""
        if not is_tag(tag):
            raise InvalidReferenceError(f"{tag[:160]!r}: invalid tag format")
        return replace(self, tag=Tag(tag))

    def with_digest(self, digest: str) -> ImageReference:
        """Raises `InvalidReferenceError`."""
        return replace(self, digest=_digest(digest))

    def without_target(self) -> ImageReference:
        """The name alone."""
        return replace(self, tag=None, digest=None)

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix


def parse_any(text: str) -> ImageReference | Digest:
    """A digest, the 64 digits of a SHA-256 digest, or a short name. Raises `InvalidReferenceError`."""
    if _IDENTIFIER.fullmatch(text) is not None:
        return Digest(f"sha256:{text}")
    try:
        return Digest.parse(text)
    except InvalidDigestError:
        return ImageReference.normalize(text)


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidDigestError as error:
        raise InvalidReferenceError(f"{text[:160]!r}: {error}") from error


def _split(text: str) -> tuple[str, str]:
    """Domain and the rest. Only what cannot be a path is a domain: namespaces look like host names."""
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, _OFFICIAL + text
    if first == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    elif first == "localhost" or "." in first or ":" in first or first != first.lower():
        domain = first
    else:
        domain, rest = DEFAULT_DOMAIN, text
    return domain, _OFFICIAL + rest if domain == DEFAULT_DOMAIN and "/" not in rest else rest
