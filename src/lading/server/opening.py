"""Connections that have not shown yet which version of HTTP they speak."""

from __future__ import annotations

import asyncio
from typing import cast

from lading.server import http1, http2
from lading.server.http2_frames import PREFACE
from lading.server.listening import Server


class Negotiated(asyncio.Protocol):
    """Over TLS: the handshake has settled it (RFC 7301)."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        chosen = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        connection = http2.Connection if chosen == "h2" else http1.Connection
        _hand_over(self._server, cast("asyncio.Transport", transport), connection)


class Guessed(asyncio.Protocol):
    """Without TLS: who begins with the preface of HTTP/2 speaks it (RFC 9113, section 3.3)."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = b""
        self._since = server.clock.now
        self.transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        http2_spoken = self._received.startswith(PREFACE)
        if not http2_spoken and PREFACE.startswith(self._received):
            return
        self._server.connections.discard(self)
        chosen = http2.Connection if http2_spoken else http1.Connection
        _hand_over(self._server, self.transport, chosen).data_received(self._received)

    def close_when_idle(self) -> None:
        self.transport.close()

    def expired(self, now: float) -> bool:
        return now - self._since > self._server.deadlines.head

    def abort(self) -> None:
        self.transport.abort()


def _hand_over(
    server: Server, transport: asyncio.Transport, chosen: type[http1.Connection | http2.Connection]
) -> http1.Connection | http2.Connection:
    connection = chosen(server)
    transport.set_protocol(connection)
    connection.connection_made(transport)
    return connection
