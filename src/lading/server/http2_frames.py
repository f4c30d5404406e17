"""Frames of HTTP/2 (RFC 9113, section 4) as they pass by: found, and bodies made into them."""

from __future__ import annotations

import struct
from typing import NamedTuple

DATA, HEADERS, CONTINUATION = 0x0, 0x1, 0x9
END_STREAM, END_HEADERS, PADDED = 0x1, 0x4, 0x8
HEADER_BYTES = 9
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_HEADER = struct.Struct(">HBBBI")
_WINDOW_UPDATE = struct.Struct(">HBBBII")
_GOAWAY = struct.Struct(">HBBBIII")
_RST_STREAM = struct.Struct(">HBBBII")


class FrameHeader(NamedTuple):
    length: int
    kind: int
    flags: int
    stream: int


def parse(data: bytes | memoryview, at: int) -> FrameHeader:
    high, low, kind, flags, stream = _HEADER.unpack_from(data, at)
    return FrameHeader(high << 8 | low, kind, flags, stream & 0x7FFFFFFF)


def data_frames(stream: int, body: memoryview, largest: int) -> list[bytes | memoryview]:
    """`body` in frames of at most `largest` bytes, as they are written one after the other."""
    pieces: list[bytes | memoryview] = []
    for start in range(0, len(body), largest):
        piece = body[start : start + largest]
        pieces += (_HEADER.pack(len(piece) >> 8, len(piece) & 0xFF, DATA, 0, stream), piece)
    return pieces


def window_update(stream: int, size: int) -> bytes:
    return _WINDOW_UPDATE.pack(0, 4, 0x8, 0, stream, size)


def reset_stream(stream: int, code: int) -> bytes:
    return _RST_STREAM.pack(0, 4, 0x3, 0, stream, code)


def go_away(last_stream: int, code: int) -> bytes:
    return _GOAWAY.pack(0, 8, 0x7, 0, 0, last_stream, code)
