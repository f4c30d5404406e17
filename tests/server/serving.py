"""The listener in this process, around an application of the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

from lading.server.builtin import protocol, source
from lading.server.certificates import Source
from lading.server.listener import Listener
from lading.server.listening import Deadlines, Server
from lading.server.proxies import Proxies


async def greeting(scope: Any, receive: Any, send: Any) -> None:
    """Tells who asks, and what they said about it."""
    headers = dict(scope["headers"])
    body = f"{(scope['client'] or ['-'])[0]} {headers.get(b'x-forwarded-proto', b'').decode()}".encode()
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Serving:
    server: Server
    port: int
    path: str
    certificates: Source | None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[bool] = field(init=False)


@contextlib.asynccontextmanager
async def serving(
    listener: Listener | None = None,
    application: Any = greeting,
    deadlines: Deadlines | None = None,
    proxies: Proxies | None = None,
    drain: float = 1.0,
) -> AsyncIterator[Serving]:
    listener = listener or Listener()
    if not listener.socket_path and listener.inherited is None:
        listener = replace(listener, address=listener.address or "127.0.0.1")
    listener.check()
    [listening] = listener.bind(1)
    certificates = source(listener.tls) if listener.tls else None
    server = Server(application, deadlines, proxies)
    name = listening.getsockname()
    running = Serving(server, name[1] if isinstance(name, tuple) else 0, listener.socket_path, certificates)
    running.task = asyncio.create_task(
        server.serve(protocol(listener), listening, certificates, running.stop, drain)
    )
    try:
        yield running
    finally:
        running.stop.set()
        await running.task
        listener.tidy()


@dataclass(frozen=True)
class Answer:
    text: str
    version: str | None = None
    cipher: str = ""
    protocol: str | None = None
    serial: str = ""


def ask(port: int, context: ssl.SSLContext | None = None, head: str = "", name: str = "localhost") -> Answer:
    """One request of its own connection; call it in a thread. Raises `OSError` if there is no answer."""
    request = f"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        if context is None:
            return Answer(_talk(plain, request))
        with context.wrap_socket(plain, server_hostname=name) as secure:
            text = _talk(secure, request)
            certificate = secure.getpeercert() or {}
            cipher = (secure.cipher() or ("",))[0]
            serial = str(certificate.get("serialNumber", ""))
            return Answer(text, secure.version(), cipher, secure.selected_alpn_protocol(), serial)


def _talk(connected: socket.socket, request: bytes) -> str:
    connected.sendall(request)
    received = b""
    while data := connected.recv(65536):
        received += data
    if not received:
        raise ConnectionError("closed without an answer")
    return received.decode("latin-1")
