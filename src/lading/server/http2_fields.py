"""The fields of answers in HPACK (RFC 7541), without its dynamic table.

Answers differ in little from one another, but in digests and lengths: looking for them in a table, and coding them
by Huffman, takes longer in Python than all else that an answer needs. Static indices and a cache take a tenth.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from hpack.table import HeaderTable

_NO_TABLE = b"\x20"
"""A size update to 0, for the first block: whatever size the client sets later, it is not below this."""

_STATIC = {field: index for index, field in enumerate(HeaderTable.STATIC_TABLE, 1)}
_NAMES = {name: index for (name, _), index in reversed(_STATIC.items())}


class Encoder:
    """Takes the place of hpack's in h2's connections."""

    def __init__(self) -> None:
        self.header_table_size = 0
        self._begun = False

    def encode(self, headers: Iterable[tuple[bytes, bytes]], huffman: bool = True) -> bytes:  # noqa: ARG002
        block = b"".join([_field(name, value) for name, value in headers])
        if self._begun:
            return block
        self._begun = True
        return _NO_TABLE + block


@functools.lru_cache(1024)
def _field(name: bytes, value: bytes) -> bytes:
    """Indexed, or literal without indexing (section 6)."""
    if (index := _STATIC.get((name, value))) is not None:
        return _integer(index, 7, 0x80)
    if (index := _NAMES.get(name)) is not None:
        return _integer(index, 4, 0x00) + _text(value)
    return b"\x00" + _text(name) + _text(value)


def _text(text: bytes) -> bytes:
    return _integer(len(text), 7, 0x00) + text


def _integer(value: int, bits: int, first: int) -> bytes:
    """Section 5.1."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    made = bytearray([first | limit])
    value -= limit
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def new_state() -> H2Connection:
    """h2's state of a connection that a client has opened. Fields are bytes; the answers' are ours to check."""
    configuration = H2Configuration(
        client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
    )
    made = H2Connection(configuration)
    made.encoder = cast("Any", Encoder())
    return made
