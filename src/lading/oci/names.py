"""Repository names and tags: the grammars, their limits, and how a reference is told apart.

A repository name may start with a domain (`Registry.Example/app`): the original stores such names, so they
stay readable. A domain with a port or an IPv6 literal cannot be stored and is refused.
"""

from __future__ import annotations

import functools
import re

from lading.oci import errors
from lading.oci.digest import Digest, InvalidDigestError

MAX_NAME_LENGTH = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
DOMAIN_PATTERN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
PATH_PATTERN = rf"{_COMPONENT}(?:/{_COMPONENT})*"
NAME_PATTERN = rf"(?:{DOMAIN_PATTERN}/)?{PATH_PATTERN}"
TAG_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_NAME = re.compile(NAME_PATTERN, re.ASCII)
_TAG = re.compile(TAG_PATTERN, re.ASCII)


class RepositoryName(str):
    """A name that can be stored. Make one with `parse`; the constructor trusts its argument."""

    __slots__ = ()

    @classmethod
    @functools.lru_cache(maxsize=1024)
    def parse(cls, text: str) -> RepositoryName:
        """Raises NAME_INVALID."""
        if _path_length(text) > MAX_NAME_LENGTH:
            # No longer text is shown to the regular expression, which keeps its time bounded.
            reason = f"repository name must not be more than {MAX_NAME_LENGTH} characters"
            raise errors.NAME_INVALID(detail=f'repository name "{text[:64]}…" invalid: {reason}')
        if _NAME.fullmatch(text) is None:
            raise errors.NAME_INVALID(detail=f'repository name "{text}" invalid')
        if ":" in text or "[" in text:
            raise errors.NAME_INVALID(detail=f'repository name "{text}" invalid: it must not name a port')
        return cls(text)


class Tag(str):
    """A valid tag. Make one with `parse`; the constructor trusts its argument."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Tag:
        """Raises TAG_INVALID."""
        if not is_tag(text):
            raise errors.TAG_INVALID(detail=f'tag "{text[:160]}" invalid')
        return cls(text)


Reference = Tag | Digest


def has_name_shape(text: str) -> bool:
    """Whether a path may hold `text` as a repository name; longer names are judged by their length alone."""
    return _path_length(text) > MAX_NAME_LENGTH or _NAME.fullmatch(text) is not None


def _path_length(text: str) -> int:
    """What the limit counts: all behind a first component, which the original takes for a domain."""
    domain, _, path = text.partition("/")
    return max(len(path), len(domain))


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def parse_digest(text: str) -> Digest:
    """Raises DIGEST_INVALID."""
    try:
        return Digest.parse(text)
    except InvalidDigestError as error:
        raise errors.DIGEST_INVALID(detail=str(error)) from error


def parse_reference(text: str) -> Reference:
    """A tag, or a digest if there is a colon. Raises DIGEST_INVALID, TAG_INVALID."""
    return parse_digest(text) if ":" in text else Tag.parse(text)
