"""Whom a client believes, and to whom it shows its certificate."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from lading.client import TLS, Digest, RegistryClient, Timing, UnreachableError

TIMING = Timing(attempts=1, idle=10)
DATA = b"content"


class Server:
    """Answers every request with DATA, or a redirect; `shown` are the callers' certificates."""

    def __init__(self) -> None:
        self.port = 0
        self.redirect = ""
        self.shown: list[bool] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.shown.append(bool(writer.get_extra_info("peercert")))
        if self.redirect:
            head = f"HTTP/1.1 307 Elsewhere\r\nLocation: {self.redirect}\r\nContent-Length: 0\r\n\r\n"
            writer.write(head.encode())
        else:
            writer.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(DATA), DATA)
            )
        with contextlib.suppress(OSError):
            await writer.drain()
            writer.close()
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(authority: trustme.CA, verify: ssl.VerifyMode) -> AsyncIterator[Server]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = verify
    made = Server()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(authority: trustme.CA, tmp_path: Path) -> Path:
    """As Docker has it for a host."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    mine = authority.issue_cert("me@example.org")
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "client.cert"))
    mine.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    return tmp_path


async def test_authorities(authority: trustme.CA, folder: Path) -> None:
    async with serving(authority, ssl.CERT_NONE) as server:
        url = f"https://127.0.0.1:{server.port}"
        async with RegistryClient(url, timing=TIMING) as stranger:
            with pytest.raises(UnreachableError, match="certificate"):
                await stranger.ping()
        for tls in (TLS(ca=str(folder / "ca.crt")), TLS(verify=False)):
            async with RegistryClient(url, timing=TIMING, tls=tls) as client:
                await client.ping()


async def test_a_certificate_is_shown_to_the_registry_alone(authority: trustme.CA, folder: Path) -> None:
    tls = TLS.from_folder(str(folder))
    tls.check()
    async with serving(authority, ssl.CERT_REQUIRED) as server, serving(authority, ssl.CERT_OPTIONAL) as store:
        server.redirect = f"https://127.0.0.1:{store.port}/elsewhere"
        async with (
            RegistryClient(f"https://127.0.0.1:{server.port}", timing=TIMING, tls=tls) as client,
            await client.blob("a", Digest.of(DATA)) as blob,
        ):
            assert b"".join([piece async for piece in blob]) == DATA
        assert (server.shown, store.shown) == ([True], [False])


def test_files_that_cannot_be_used(folder: Path) -> None:
    (folder / "bad.pem").write_text("nothing")
    for tls in (TLS(ca=str(folder / "bad.pem")), TLS(certificate=str(folder / "bad.pem"))):
        with pytest.raises(ValueError, match=r"bad\.pem"):
            tls.check()
    with pytest.raises(FileNotFoundError):
        TLS(ca=str(folder / "none")).check()
    (folder / "client.key").unlink()
    with pytest.raises(ValueError, match=r"client\.key"):
        TLS.from_folder(str(folder))
