"""A connection that says exactly what a test wants said, whether it is HTTP or not, and leaves as it is told."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
from collections.abc import Mapping

from tests.servers.client import Answer

SECONDS = 30.0


class Wire:
    def __init__(self, host: str, *, receive_buffer: int = 0) -> None:
        address, _, port = host.rpartition(":")
        self.host = host
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(SECONDS)
        self.socket.connect((address, int(port)))

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def head(self, method: str, target: str, headers: Mapping[str, str]) -> None:
        self.send(head(method, target, {"Host": self.host, **headers}))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_until_refused(self, data: bytes) -> bool:
        """Whether all of it could be sent: a server may answer and close before it has read a body."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send(data)
            return True
        return False

    def finish(self) -> None:
        """FIN: the client has said all it had to say."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """RST: the client is gone, and what it had sent may be lost with it."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def exchange(self, method: str, target: str, body: bytes = b"") -> Answer:
        """One request and its answer, on a connection that stays open, and so with its worker."""
        self.head(method, target, {"Content-Length": str(len(body))})
        self.send(body)
        answer = self.answer(method)
        assert answer is not None, "the connection was closed"
        return answer

    def answer(self, method: str = "GET") -> Answer | None:
        """The next answer, or None if the connection is closed without one."""
        response = http.client.HTTPResponse(self.socket, method=method)
        try:
            response.begin()
            return Answer(method, response.status, response.headers, response.read())
        except (ConnectionResetError, http.client.RemoteDisconnected, http.client.IncompleteRead):
            return None
        finally:
            response.close()

    def rest(self) -> bytes:
        """Everything until the server closes the connection, or a reset."""
        received = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(65536):
                received += data
        return bytes(received)


def head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One piece of a body in chunked transfer encoding; the empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(data), data)
