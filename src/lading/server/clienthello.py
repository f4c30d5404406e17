"""What a client says at the start of TLS, looked at without taking it (RFC 8446, section 4.1.2).

`ssl` tells the name that a client asks for, but not the protocols that it offers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass

_RECORD_HEAD, _MESSAGE_HEAD = 5, 4
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN = 0, 16
_LONGEST = 65536

_FIRST_PAUSE, _LAST_PAUSE = 0.01, 0.5
"""What has been looked at stays readable, so that nothing tells of the rest: it is looked for again."""


@dataclass(frozen=True, slots=True)
class Hello:
    """`name` is in lower case, without a dot at its end; "" if the client gives none."""

    name: str = ""
    protocols: tuple[str, ...] = ()


class PartialHelloError(Exception):
    """There is more to come."""


async def peek(accepted: socket.socket) -> Hello:
    """What the client begins with; it is still there to be read. Waits as long as it takes.

    What is no ClientHello gives an empty one: TLS itself will tell what is wrong.
    """
    await _readable(accepted)
    pause = _FIRST_PAUSE
    while True:
        data = accepted.recv(_LONGEST, socket.MSG_PEEK)
        try:
            return parse(data)
        except PartialHelloError:
            if not data or len(data) == _LONGEST:
                return Hello()
        except ValueError:
            return Hello()
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LAST_PAUSE)


async def _readable(accepted: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(accepted.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(accepted.fileno())


def parse(data: bytes) -> Hello:
    """`data` is what was received so far. Raises `PartialHelloError`; `ValueError` for what is none."""
    try:
        return _hello(_Reader(_message(data)))
    except IndexError:
        raise ValueError("no ClientHello") from None


def _message(data: bytes) -> bytes:
    """A message may be spread over records."""
    message = b""
    while len(message) < _MESSAGE_HEAD or len(message) < _MESSAGE_HEAD + int.from_bytes(message[1:4], "big"):
        if data and data[0] != _HANDSHAKE:
            raise ValueError("not a handshake of TLS")
        length = int.from_bytes(data[3:_RECORD_HEAD], "big")
        if len(data) < _RECORD_HEAD + length or len(data) < _RECORD_HEAD:
            raise PartialHelloError
        if not length:
            raise ValueError("an empty record")
        message += data[_RECORD_HEAD : _RECORD_HEAD + length]
        data = data[_RECORD_HEAD + length :]
        if message[0] != _CLIENT_HELLO:
            raise ValueError("no ClientHello")
    return message[_MESSAGE_HEAD : _MESSAGE_HEAD + int.from_bytes(message[1:4], "big")]


class _Reader:
    """Raises `IndexError` behind the end."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def take(self, count: int) -> bytes:
        if len(self.left) < count:
            raise IndexError
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """What has its length, of `size` bytes, before it."""
        return self.take(self.number(size))


def _hello(reader: _Reader) -> Hello:
    reader.take(2 + 32)  # version, random
    for size in (1, 2, 1):  # session, cipher suites, compression
        reader.vector(size)
    name, protocols = "", tuple[str, ...]()
    extensions = _Reader(reader.vector(2) if reader.left else b"")
    while extensions.left:
        kind, body = extensions.number(2), _Reader(extensions.vector(2))
        if kind == _SERVER_NAME:
            name = next(_names(_Reader(body.vector(2))), "")
        elif kind == _ALPN:
            protocols = tuple(_protocols(_Reader(body.vector(2))))
    return Hello(name.lower().rstrip("."), protocols)


def _names(reader: _Reader) -> Iterator[str]:
    """RFC 6066, section 3."""
    while reader.left:
        kind, name = reader.number(1), reader.vector(2)
        if kind == 0:
            yield name.decode("latin-1")


def _protocols(reader: _Reader) -> Iterator[str]:
    while reader.left:
        yield reader.vector(1).decode("latin-1")
