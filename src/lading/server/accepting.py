"""Connections over TLS: accepted one by one, because the certificate may be another for each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable

from lading.server.certificates import RefusedError, Source

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""Without descriptors or memory for another connection, the next is tried only after this time."""

AT_ONCE = 64
"""Accepted in one go; the connections that exist get their turn in between."""


class Acceptor:
    """Runs from its making until `close`."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        listening: socket.socket,
        certificates: Source,
        handshake: float,
    ) -> None:
        """A client has `handshake` seconds to show what it wants and to agree on TLS."""
        self._protocol = protocol
        self._listening = listening
        self._certificates = certificates
        self._handshake = handshake
        self._loop = asyncio.get_running_loop()
        self._greeting: set[asyncio.Task[None]] = set()
        self._resumed: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accept no more; handshakes under way end."""
        self._loop.remove_reader(self._listening.fileno())
        if self._resumed is not None:
            self._resumed.cancel()
        self._listening.close()
        for task in self._greeting:
            task.cancel()

    def _resume(self) -> None:
        self._loop.add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                log.error("cannot accept connections for now: %s", error)
                self._loop.remove_reader(self._listening.fileno())
                self._resumed = self._loop.call_later(PAUSE_SECONDS, self._resume)
                return
            task = self._loop.create_task(self._greet(accepted))
            self._greeting.add(task)
            task.add_done_callback(self._greeting.discard)

    async def _greet(self, accepted: socket.socket) -> None:
        with contextlib.ExitStack() as undo:
            undo.callback(accepted.close)
            accepted.setblocking(False)
            try:
                async with asyncio.timeout(self._handshake):
                    context = await self._certificates.choose(accepted)
                await self._loop.connect_accepted_socket(
                    self._protocol, accepted, ssl=context, ssl_handshake_timeout=self._handshake
                )
            except RefusedError as error:
                log.debug("no TLS connection: %s", error)
                _tell(accepted, error)
                return
            except (TimeoutError, OSError) as error:  # ssl.SSLError is an OSError
                log.debug("no TLS connection: %s", error)
                return
            undo.pop_all()


def _tell(accepted: socket.socket, error: RefusedError) -> None:
    """A fatal alert, before there is any TLS (RFC 8446, section 5.1)."""
    with contextlib.suppress(OSError):
        # What is left unread when a socket is closed resets the connection, and the alert may be lost.
        accepted.recv(65536)
        accepted.send(b"\x15\x03\x03\x00\x02\x02%c" % error.alert)
