from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from lading.server import clienthello
from lading.server.clienthello import Hello, PartialHelloError


def spoken(name: str | None, *protocols: str) -> bytes:
    """What OpenSSL begins with."""
    context = ssl.create_default_context()
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(list(protocols))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def in_records(hello: bytes, size: int) -> bytes:
    message = hello[5:]
    pieces = [message[start : start + size] for start in range(0, len(message), size)]
    return b"".join(hello[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)


@pytest.mark.parametrize(
    ("name", "protocols", "found"),
    [
        (None, (), Hello()),
        ("127.0.0.1", (), Hello()),
        ("Registry.Example.com", (), Hello("registry.example.com")),
        ("a.example.com", ("acme-tls/1",), Hello("a.example.com", ("acme-tls/1",))),
        ("a.example.com", ("h2", "http/1.1"), Hello("a.example.com", ("h2", "http/1.1"))),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100, 16384])
def test_names_and_protocols(name: str | None, protocols: tuple[str, ...], found: Hello, size: int) -> None:
    assert clienthello.parse(in_records(spoken(name, *protocols), size)) == found


def test_every_beginning_is_partial() -> None:
    hello = spoken("a.example.com", "h2")
    for end in range(len(hello)):
        with pytest.raises(PartialHelloError):
            clienthello.parse(hello[:end])


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    ],
)
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        clienthello.parse(data)


def test_no_damage_goes_unnoticed_or_far() -> None:
    """Every byte of a hello set to the extremes: a hello, or one of the two errors."""
    hello = spoken("a.example.com", "h2")
    ends = set()
    for place in range(len(hello)):
        for value in (0, 255):
            try:
                clienthello.parse(hello[:place] + bytes([value]) + hello[place + 1 :])
                ends.add("hello")
            except (ValueError, PartialHelloError) as error:
                ends.add(type(error).__name__)
    assert ends == {"hello", "ValueError", "PartialHelloError"}


@pytest.mark.parametrize("cut", [1, 5, 200])
async def test_what_was_looked_at_is_still_there(cut: int) -> None:
    hello = spoken("a.example.com", "h2")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        looking = asyncio.create_task(clienthello.peek(ours))
        theirs.sendall(hello[:cut])
        await asyncio.sleep(0)
        theirs.sendall(hello[cut:])
        assert await looking == Hello("a.example.com", ("h2",))
        assert ours.recv(65536) == hello


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n"])
async def test_whoever_says_something_else(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        assert await clienthello.peek(ours) == Hello()
