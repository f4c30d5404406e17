"""The binary form of the protocol's messages: proto3 with its fields in ascending order, what is empty left out.

What is signed is this form byte for byte, so nothing that was received is ever encoded again: a nested message
keeps the bytes it came in. Fields that are not known here are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence

_BYTES = 2


class EncodingError(ValueError):
    """The bytes are no message."""


class Nested(bytes):
    """An encoded message. As a field it is there even if it is empty."""

    __slots__ = ()


Single = int | str | bytes
Value = Single | Sequence[Single] | None


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def encode(*fields: tuple[int, Value]) -> Nested:
    """Numbers of fields and their values, in ascending order; a list or tuple is a repeated field."""
    encoded = bytearray()
    for number, value in fields:
        if isinstance(value, list | tuple):
            for each in value:
                encoded += _field(number, each)
        elif isinstance(value, Nested) or (value is not None and value):
            encoded += _field(number, value)  # type: ignore[arg-type]
    return Nested(encoded)


def _field(number: int, value: Single) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | _BYTES) + varint(len(data)) + data


class Message:
    """A decoded message; `raw` is what it was decoded from, which it keeps. Raises `EncodingError`."""

    __slots__ = ("_fields", "raw")

    def __init__(self, raw: bytes | memoryview) -> None:
        self.raw = raw = memoryview(raw)
        self._fields: dict[int, list[int | memoryview]] = {}
        position = 0
        while position < len(raw):
            tag, position = _read_varint(raw, position)
            value: int | memoryview
            match tag & 7:
                case 0:
                    value, position = _read_varint(raw, position)
                case 2:
                    length, position = _read_varint(raw, position)
                    value, position = raw[position : position + length], position + length
                case 1:
                    value, position = int.from_bytes(raw[position : position + 8], "little"), position + 8
                case 5:
                    value, position = int.from_bytes(raw[position : position + 4], "little"), position + 4
                case kind:
                    raise EncodingError(f"unknown wire type {kind}")
            self._fields.setdefault(tag >> 3, []).append(value)
        if position > len(raw):
            raise EncodingError("a message is cut short")

    def has(self, number: int) -> bool:
        return number in self._fields

    def number(self, number: int) -> int:
        value = self._fields.get(number, [0])[-1]
        if not isinstance(value, int):
            raise EncodingError(f"field {number} is no number")
        return value

    def view(self, number: int) -> memoryview:
        """The bytes where they lie, which may be many; none where there is no such field."""
        return self._views(number)[-1] if number in self._fields else memoryview(b"")

    def data(self, number: int) -> bytes:
        return bytes(self.view(number))

    def text(self, number: int) -> str:
        return self.data(number).decode("utf-8", "replace")

    def message(self, *numbers: int) -> Message:
        """What is nested under the field, and in that under the next; an empty message where there is none."""
        found = self
        for number in numbers:
            found = Message(found.view(number))
        return found

    def all(self, number: int) -> list[bytes]:
        return [bytes(value) for value in self._views(number)]

    def _views(self, number: int) -> list[memoryview]:
        values = [value for value in self._fields.get(number, []) if isinstance(value, memoryview)]
        if len(values) < len(self._fields.get(number, [])):
            raise EncodingError(f"field {number} is a number")
        return values


def _read_varint(raw: memoryview, position: int) -> tuple[int, int]:
    number = shift = 0
    while position < len(raw) and shift < 70:
        byte = raw[position]
        number |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return number, position
        shift += 7
    raise EncodingError("a number is cut short")
