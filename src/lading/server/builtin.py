"""The built-in HTTP/1.x server: a worker for each listening socket."""

from __future__ import annotations

import asyncio
import functools
import signal
import socket
import ssl
from collections.abc import Callable

import uvloop

from lading.server.http1 import Connection
from lading.server.listener import Listener, ServerError
from lading.server.listening import Application, Server

_TLS_VERSIONS = {"tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}


def workers(load: Callable[[], Application], listener: Listener, count: int) -> dict[str, Callable[[], None]]:
    """What each worker process is to run; `load` makes the application there. Raises `ServerError`."""
    listener.check()
    tls = _tls(listener)
    sockets = listener.bind(count)
    return {
        f"worker {number}": functools.partial(_work, load, listening, tls, listener.drain)
        for number, listening in enumerate(sockets, 1)
    }


def _work(
    load: Callable[[], Application], listening: socket.socket, tls: ssl.SSLContext | None, drain: float
) -> None:
    async def serve() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await Server(load()).serve(Connection, listening, tls, stop, drain)

    uvloop.run(serve())


def _tls(listener: Listener) -> ssl.SSLContext | None:
    if not listener.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _TLS_VERSIONS[listener.minimum_tls]
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(listener.certificate, listener.key)
    except (OSError, ssl.SSLError) as error:
        raise ServerError(
            f"http.tls: cannot use certificate {listener.certificate} with key {listener.key}: {error}"
        ) from error
    if listener.client_ca:
        try:
            context.load_verify_locations(listener.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise ServerError(f"http.tls.clientcas: cannot use {listener.client_ca}: {error}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context
