"""How identifiers are written and made: base58, and the owner that belongs to a public key."""

from __future__ import annotations

import hashlib
import struct

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ADDRESS_VERSION = b"\x35"


def base58(data: bytes) -> str:
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def from_base58(text: str) -> bytes:
    """Raises `ValueError`."""
    number = 0
    for character in text:
        digit = _ALPHABET.find(character)
        if digit < 0:
            raise ValueError("not written in base58")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


def twice_hashed(data: bytes) -> bytes:
    """The four bytes that guard against misspelling."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4]


def from_base58_checked(text: str) -> bytes:
    """Without the four bytes at its end. Raises `ValueError`."""
    data = from_base58(text)
    if twice_hashed(data[:-4]) != data[-4:]:
        raise ValueError("checksum does not match")
    return data[:-4]


def container_id(text: str) -> bytes | None:
    """The 32 bytes, or None if it is not written as an identifier: then it is a nice name."""
    try:
        found = from_base58(text)
    except ValueError:
        return None
    return found if len(found) == 32 and any(found) else None


def owner_id(public_key: bytes) -> bytes:
    """The 25 bytes that stand for the holder of a compressed key; in base58 they are its N3 address."""
    script = b"\x0c\x21" + public_key + b"\x41\x56\xe7\xb3\x27"
    versioned = _ADDRESS_VERSION + ripemd160(hashlib.sha256(script).digest())
    return versioned + twice_hashed(versioned)


def ripemd160(data: bytes) -> bytes:
    """Of less than 56 bytes, computed here: libraries of OpenSSL 3 may come without it."""
    block = struct.unpack("<16I", (data + b"\x80").ljust(56, b"\0") + struct.pack("<Q", 8 * len(data)))
    start = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
    left = _line(start, block, _LEFT, _LEFT_SHIFTS, _LEFT_CONSTANTS, range(5))
    right = _line(start, block, _RIGHT, _RIGHT_SHIFTS, _RIGHT_CONSTANTS, range(4, -1, -1))
    words = (start[(i + 1) % 5] + left[(i + 2) % 5] + right[(i + 3) % 5] & 0xFFFFFFFF for i in range(5))
    return struct.pack("<5I", *words)


def _line(
    state: tuple[int, ...],
    block: tuple[int, ...],
    order: bytes,
    shifts: bytes,
    constants: tuple[int, ...],
    functions: range,
) -> tuple[int, ...]:
    a, b, c, d, e = state
    for step in range(80):
        mixed = _mix(functions[step // 16], b, c, d)
        total = a + mixed + block[order[step]] + constants[step // 16] & 0xFFFFFFFF
        a, e, d, c, b = e, d, _rotated(c, 10), b, _rotated(total, shifts[step]) + e & 0xFFFFFFFF
    return a, b, c, d, e


def _mix(number: int, x: int, y: int, z: int) -> int:
    match number:
        case 0:
            return x ^ y ^ z
        case 1:
            return (x & y) | (~x & z)
        case 2:
            return (x | ~y) ^ z
        case 3:
            return (x & z) | (y & ~z)
    return x ^ (y | ~z)


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> 32 - by) & 0xFFFFFFFF


_LEFT = bytes.fromhex(
    "000102030405060708090a0b0c0d0e0f07040d010a060f030c000905020e0b08030a0e04090f0801020700060d0b050c"
    "01090b0a00080c040d03070f0e05060204000509070c020a0e0103080b060f0d"
)
_RIGHT = bytes.fromhex(
    "050e070009020b040d060f08010a030c060b0307000d050a0e0f080c040901020f050103070e06090b080c020a00040d"
    "08060401030b0f00050c020d09070a0e0c0f0a040105080706020d0e0003090b"
)
_LEFT_SHIFTS = bytes.fromhex(
    "0b0e0f0c050807090b0d0e0f060709080706080d0b09070f070c0f090b070d0c0b0d06070e090d0f0e080d06050c0705"
    "0b0c0e0f0e0f0908090e05060806050c090f050b06080d0c050c0d0e0b080506"
)
_RIGHT_SHIFTS = bytes.fromhex(
    "0809090b0d0f0f050707080b0e0e0c06090d0f070c08090b07070c07060f0d0b09070f0b0806060e0c0d050e0d0d0705"
    "0f05080b0e0e060e06090c090c050f0808050c090c050e06080d06050f0d0b0b"
)
_LEFT_CONSTANTS = (0, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E)
_RIGHT_CONSTANTS = (0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0)
