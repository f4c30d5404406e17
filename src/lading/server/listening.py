"""The HTTP/1.x server of one process: its listening sockets, its clock, and the deadlines of its clients."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from lading.server.heads import Heads
from lading.server.stepping import Stepper

if TYPE_CHECKING:
    from lading.server.http1 import Connection

Application = Callable[
    [dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]

log = logging.getLogger(__name__)

BACKLOG = 4096

CUT_SECONDS = 0.8
"""How long a request may take to put its things away after its connection was cut."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """In seconds. `head` is for sending a request's head, `idle` for the next request on a connection, `stalled`
    for a client that reads nothing of its answer. A body that stalls is the application's to judge."""

    head: float = 30.0
    idle: float = 120.0
    stalled: float = 300.0


class Clock:
    """The time, looked at once a second: requests neither ask the kernel nor format dates."""

    def __init__(self) -> None:
        self.now = 0.0
        self.date = b""
        self.tick()

    def tick(self) -> None:
        self.now = time.monotonic()
        self.date = f"date: {formatdate(time.time(), usegmt=True)}\r\n\r\n".encode("ascii")


class Server:
    """What the connections of a process share."""

    def __init__(self, application: Application, deadlines: Deadlines | None = None) -> None:
        self.application = application
        self.deadlines = deadlines or Deadlines()
        self.clock = Clock()
        self.heads = Heads()
        self.stepper = Stepper()
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.draining = False

    async def serve(
        self,
        connection: Callable[[Server], Connection],
        listening: socket.socket,
        tls: ssl.SSLContext | None,
        stop: asyncio.Event,
        drain: float,
    ) -> bool:
        """Serve until `stop`; then requests under way have `drain` seconds. Returns whether all finished."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: connection(self), sock=listening, ssl=tls, backlog=BACKLOG)
        sweeping = asyncio.create_task(self._sweep())
        await stop.wait()
        server.close()
        self.draining = True
        for open_connection in list(self.connections):
            open_connection.close_when_idle()
        late = await self._wait(drain)
        if late:
            log.warning("%d requests did not finish in %gs and are cut off", late, drain)
        sweeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sweeping
        for open_connection in list(self.connections):
            open_connection.abort()
        # To the application this is a client that has gone: uploads still put away what they have.
        await self._wait(CUT_SECONDS)
        return not late

    async def _wait(self, seconds: float) -> int:
        """Returns how many requests are still under way after so long."""
        if not self.tasks:
            return 0
        _, late = await asyncio.wait(self.tasks, timeout=seconds)
        return len(late)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.clock.tick()
            for connection in list(self.connections):
                if connection.expired(self.clock.now):
                    connection.abort()
