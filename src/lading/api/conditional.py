"""Conditional requests (RFC 9110, section 13) for content whose entity tag is its digest."""

from __future__ import annotations

import re

from lading.api.request import Request
from lading.oci.digest import Digest

_TAG = re.compile(r'(?:W/)?"[^"]*"|[^\s,"]+', re.ASCII)
"""One entity tag of a list, or a word: no part of it can match the same text in two ways."""


def etag(digest: Digest) -> tuple[bytes, bytes]:
    return b"etag", f'"{digest}"'.encode("ascii")


def not_modified(request: Request, digest: Digest) -> bool:
    """If-None-Match: lists, weak tags and `*`; and, as old clients send it, the digest without quotes."""
    lines = request.header_lines(b"if-none-match")
    return bool(lines) and any(_matches(line, digest, weak=True) for line in lines)


def precondition_failed(request: Request, digest: Digest) -> bool:
    """If-Match, where a weak tag never matches."""
    lines = request.header_lines(b"if-match")
    return bool(lines) and not any(_matches(line, digest, weak=False) for line in lines)


def range_applies(request: Request, digest: Digest) -> bool:
    """If-Range: without it, or with the entity tag of this very content."""
    condition = request.header(b"if-range")
    return condition is None or condition.strip() == f'"{digest}"'


def _matches(line: str, digest: Digest, *, weak: bool) -> bool:
    if line.strip() == "*":
        return True
    tags = _TAG.findall(line)
    return any(tag.removeprefix("W/").strip('"') == digest and (weak or not tag.startswith("W/")) for tag in tags)
