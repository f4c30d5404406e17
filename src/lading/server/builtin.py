"""The built-in HTTP/1.x server: a worker for each listening socket."""

from __future__ import annotations

import asyncio
import functools
import signal
import socket
import ssl
from collections.abc import Callable

import uvloop

from lading.server import tls
from lading.server.http1 import Connection
from lading.server.listener import Listener, Role
from lading.server.listening import Application, Server


def workers(load: Callable[[], Application], listener: Listener, count: int) -> dict[str, Role]:
    """What each worker process is to run; `load` makes the application there. Raises `ServerError`."""
    listener.check()
    context = tls.context(listener)
    return {
        f"worker {number}": Role(functools.partial(_work, load, listening, context, listener.drain), listening)
        for number, listening in enumerate(listener.bind(count), 1)
    }


async def serve(application: Application, listening: socket.socket) -> None:
    """Serve in the event loop that runs, beside other things, until cancelled."""
    await Server(application).serve(Connection, listening, None, asyncio.Event(), 0)


def _work(
    load: Callable[[], Application], listening: socket.socket, context: ssl.SSLContext | None, drain: float
) -> int:
    async def serve() -> bool:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        return await Server(load()).serve(Connection, listening, context, stop, drain)

    return 0 if uvloop.run(serve()) else 1
