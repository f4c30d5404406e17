"""A client for the wire table that speaks to a real registry: bytes on a socket, in HTTP/1.1 or HTTP/2."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

from tests.servers.certificate import certificate
from tests.servers.http2 import Http2
from tests.servers.process import Registry
from tests.wire.asgi import HOST, Answer, Body, Client, Headers

_ADDED_BY_SERVERS = {"date", "connection", "server", "transfer-encoding"}


class Served(Client):
    """One connection for each request. Header lines go out as they stand in the table."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.scheme = "https" if registry.serving.tls else "http"

    async def send(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: Body = b"",
        *,
        vanish: bool = False,
        length: bool = True,
    ) -> Answer:
        assert not vanish
        scope = self.scope_of(method, target, headers, body, length)
        data = body if isinstance(body, bytes) else b"".join([part async for part in _pieces(body)])
        ask = self._by_http2 if self.registry.serving.http2 else self._by_http1
        return ask(method, *scope, data)  # nothing else is to be done meanwhile

    def scope_of(
        self, method: str, target: str, headers: Headers, body: Body, length: bool
    ) -> tuple[str, list[tuple[str, str]]]:
        """The target in origin form, and the header lines, as the client that needs no server makes them."""
        lines = list(headers.items() if isinstance(headers, Mapping) else headers)
        named = {name.lower() for name, _ in lines}
        if "://" in target.partition("?")[0]:
            target = "/" + target.split("://", 1)[1].partition("/")[2]
        if isinstance(body, bytes):
            if length and "content-length" not in named and (body or method in {"POST", "PUT", "PATCH"}):
                lines.append(("Content-Length", str(len(body))))
        elif not self.registry.serving.http2:
            lines.append(("Transfer-Encoding", "chunked"))
        return target, lines

    def _by_http1(self, method: str, target: str, lines: list[tuple[str, str]], data: bytes) -> Answer:
        connection = self.registry.client.connect()
        try:
            connection.connect()
            assert connection.sock is not None
            if "host" not in {name.lower() for name, _ in lines}:
                lines = [("Host", HOST), *lines]
            head = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in lines), "", ""]
            if ("Transfer-Encoding", "chunked") in lines:
                data = (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n"
            connection.sock.sendall("\r\n".join(head).encode("latin-1") + data)
            response = http.client.HTTPResponse(connection.sock, method=method)
            response.begin()
            received = response.read()
            found = response.headers.items()
            response.close()
        finally:
            connection.close()
        return _answer(response.status, found, received)

    def _by_http2(self, method: str, target: str, lines: list[tuple[str, str]], data: bytes) -> Answer:
        authority = next((value for name, value in lines if name.lower() == "host"), HOST)
        sent = [(name.lower(), value.strip(" \t")) for name, value in lines if name.lower() != "host"]
        with Http2(self.registry.host, certificate() if self.registry.serving.tls else None) as connection:
            return _answer(*connection.request(method, target, authority, sent, data))


def _answer(status: int, headers: list[tuple[str, str]], body: bytes) -> Answer:
    kept = [(name.lower(), value) for name, value in headers if name.lower() not in _ADDED_BY_SERVERS]
    return Answer(status, kept, body)


async def _pieces(body: Body):  # type: ignore[no-untyped-def]
    if hasattr(body, "__aiter__"):
        async for part in body:
            yield part
    else:
        for part in body:
            yield part
