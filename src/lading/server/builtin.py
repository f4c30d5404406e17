"""The built-in HTTP server: a worker for each listening socket."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvloop

from lading.server import opening
from lading.server.certificates import Certificates
from lading.server.http1 import Connection
from lading.server.listener import Listener, Role
from lading.server.listening import Application, Server
from lading.server.proxies import Proxies
from lading.server.reloading import Reload


@dataclass(frozen=True, slots=True)
class Worker:
    """What the workers share; `load` makes the application in each."""

    load: Callable[[], Application]
    listener: Listener
    reload: Reload
    proxies: Proxies | None
    certificates: Certificates | None

    def role(self, listening: socket.socket) -> Role:
        return Role(lambda: 0 if uvloop.run(self._serve(listening)) else 1, listening)

    async def _serve(self, listening: socket.socket) -> bool:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        if self.certificates is not None:
            self.reload.register("http.tls", self.certificates.reload)
        server = Server(self.load(), proxies=self.proxies)
        self.reload.on_hangup(loop)
        return await server.serve(protocol(self.listener), listening, self.certificates, stop, self.listener.drain)


async def serve(application: Application, listening: socket.socket) -> None:
    """Serve in the event loop that runs, beside other things, until cancelled."""
    await Server(application).serve(Connection, listening, None, asyncio.Event(), 0)


def protocol(listener: Listener) -> Callable[[Server], asyncio.Protocol]:
    """What a connection is, until it has shown what it speaks."""
    if listener.tls is not None:
        return opening.Negotiated
    return opening.Guessed if listener.http2 else Connection


def workers(
    load: Callable[[], Application], listener: Listener, count: int, reload: Reload, proxies: Proxies | None = None
) -> dict[str, Role]:
    """What each worker process is to run. Raises `ServerError`."""
    listener.check()
    certificates = Certificates(listener.tls) if listener.tls else None
    worker = Worker(load, listener, reload, proxies, certificates)
    return {f"worker {number}": worker.role(listening) for number, listening in enumerate(listener.bind(count), 1)}
