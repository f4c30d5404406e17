"""The HTTP/1.x server of one process: its listening sockets, its clock, and the deadlines of its clients."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Protocol

from lading.server.accepting import Acceptor
from lading.server.certificates import Source
from lading.server.heads import Heads
from lading.server.listener import BACKLOG
from lading.server.proxies import Proxies
from lading.server.stepping import Stepper

Application = Callable[
    [dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.02
"""How often the end of a drain looks whether the last answers have left."""

CUT_SECONDS = 0.8
"""How long a request may take to put its things away after its connection was cut."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """In seconds. `head` is for sending a request's head, and for the TLS handshake; `idle` for the next request
    on a connection; `stalled` for a client that reads nothing of its answer. A body that stalls is the
    application's to judge."""

    head: float = 30.0
    idle: float = 120.0
    stalled: float = 300.0


class Clock:
    """The time, looked at once a second: requests neither ask the kernel nor format dates."""

    def __init__(self) -> None:
        self.now = 0.0
        self.date = b""
        """As HTTP/1.x ends a head with it."""
        self.stamp = b""
        self.tick()

    def tick(self) -> None:
        self.now = time.monotonic()
        self.stamp = formatdate(time.time(), usegmt=True).encode("ascii")
        self.date = b"date: %b\r\n\r\n" % self.stamp


class Open(Protocol):
    """A connection, as far as its server cares."""

    transport: asyncio.Transport

    def close_when_idle(self) -> None:
        """The server is being stopped: take no more requests."""

    def expired(self, now: float) -> bool:
        """Whether the client has had its time."""

    def abort(self) -> None:
        """Close it here and now."""


class Server:
    """What the connections of a process share."""

    def __init__(
        self, application: Application, deadlines: Deadlines | None = None, proxies: Proxies | None = None
    ) -> None:
        """Without `proxies` headers are left as they are, and the client is who has connected."""
        self.application = application
        self.proxies = proxies
        self.deadlines = deadlines or Deadlines()
        self.clock = Clock()
        self.heads = Heads()
        self.stepper = Stepper()
        self.connections: set[Open] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.draining = False

    async def serve(
        self,
        connection: Callable[[Server], asyncio.Protocol],
        listening: socket.socket,
        certificates: Source | None,
        stop: asyncio.Event,
        drain: float,
    ) -> bool:
        """Serve until `stop`; then requests under way have `drain` seconds. Returns whether all finished."""
        loop = asyncio.get_running_loop()
        accepting: Acceptor | asyncio.Server
        background = [asyncio.create_task(self._sweep())]
        if certificates is None:
            accepting = await loop.create_server(lambda: connection(self), sock=listening, backlog=BACKLOG)
        else:
            accepting = Acceptor(lambda: connection(self), listening, certificates, self.deadlines.head)
            background.append(asyncio.create_task(certificates.watch()))
        await stop.wait()
        accepting.close()
        self.draining = True
        for open_connection in list(self.connections):
            open_connection.close_when_idle()
        until = loop.time() + drain
        late = await self._wait(drain)
        while loop.time() < until and any(each.transport.is_closing() for each in self.connections):  # noqa: ASYNC110
            await asyncio.sleep(FLUSH_SECONDS)  # answers that are written and not yet read
        if late:
            log.warning("%d requests did not finish in %gs and are cut off", late, drain)
        for task in background:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
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
                try:
                    gone = connection.expired(self.clock.now)
                except Exception:
                    # One connection must not take the deadlines of all others with it.
                    log.exception("a connection cannot tell its age and is closed")
                    gone = True
                if gone:
                    connection.abort()
