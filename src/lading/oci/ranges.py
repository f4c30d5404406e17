"""Byte ranges: of downloads (RFC 9110, section 14) and of upload chunks (distribution specification)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CHUNK = re.compile(r"([0-9]{1,19})-([0-9]{1,19})", re.ASCII)
_SPEC = re.compile(r"([0-9]{0,19})-([0-9]{0,19})", re.ASCII)

MAX_SPANS = 256


class RangeSyntaxError(ValueError):
    """The header is no range; the request cannot be honoured as meant."""


class UnsatisfiableRangeError(ValueError):
    """No asked byte exists."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` to `end`, `end` not included."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def parse_range(header: str, size: int) -> list[Span]:
    """The spans a Range header asks of an object of `size` bytes, clamped to it.

    Empty where the whole object is to be sent: there is nothing to cut in an empty one, and ranges that sum
    up to more than the object are no saving. Raises `RangeSyntaxError`, `UnsatisfiableRangeError`.
    """
    unit, equals, specs = header.partition("=")
    if not equals or unit.strip() != "bytes":
        raise RangeSyntaxError("only byte ranges are known")
    if size == 0:
        return []
    items = [item.strip() for item in specs.split(",") if item.strip()]
    if not items or len(items) > MAX_SPANS:
        raise RangeSyntaxError("no range, or too many")
    spans = [span for item in items if (span := _span(item, size)) is not None]
    if not spans:
        raise UnsatisfiableRangeError("no range overlaps the content")
    if len(spans) > 1 and sum(span.length for span in spans) > size:
        return []
    return spans


def _span(item: str, size: int) -> Span | None:
    match = _SPEC.fullmatch(item)
    if match is None or item == "-":
        raise RangeSyntaxError("malformed range")
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return Span(size - length, size) if length else None
    start = int(first)
    if last and int(last) < start:
        raise RangeSyntaxError("the range ends before it starts")
    if start >= size:
        return None
    return Span(start, min(int(last) + 1, size) if last else size)


def parse_chunk(header: str) -> Span:
    """The Content-Range of an upload chunk: bare `<first>-<last>`, inclusive. Raises `RangeSyntaxError`."""
    match = _CHUNK.fullmatch(header.strip())
    if match is None:
        raise RangeSyntaxError(f"invalid content range format: {header[:64]!r}, want <first>-<last>")
    first, last = int(match[1]), int(match[2])
    return Span(first, last + 1)
