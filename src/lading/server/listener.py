"""Where and how a registry listens, checked before anything is started."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass

DRAIN_SECONDS = 5.0
"""Requests under way have so long to finish, where the configuration does not say."""

BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Role:
    """What a process is to do: `work` returns its exit status after SIGTERM, and alone keeps `listening` open."""

    work: Callable[[], int]
    listening: socket.socket | None = None


class ServerError(Exception):
    """The server cannot be started as configured; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Listener:
    """`socket_path` for a unix socket, or else `address`. `drain` is in seconds."""

    address: str = ""
    port: int = 0
    socket_path: str = ""
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    minimum_tls: str = "tls1.2"
    http2: bool = False
    drain: float = DRAIN_SECONDS
    option: str = "http.addr"
    """The key that says where, for messages."""

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        place = self.socket_path or f"{host}:{self.port}"
        return f"{place}, tls" if self.certificate else place

    def check(self) -> None:
        """Whether the address is free. Raises `ServerError`.

        With SO_REUSEPORT a second registry on the same port would go unnoticed: a socket without it tries
        first. A stale unix socket is removed.
        """
        if self.socket_path:
            try:
                self._clear_path()
            except OSError as error:
                raise self._refusal(error) from error
            return
        with self._socket() as probe:
            self._bind(probe)

    def bind(self, count: int) -> list[socket.socket]:
        """A listening socket for each of `count` processes. Raises `ServerError`.

        On TCP each gets a queue of its own, which outlives the process it was made for; a unix socket is shared.
        """
        if self.socket_path:
            shared = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._bind(shared)
            shared.listen(BACKLOG)
            return [shared] * count
        sockets = []
        for _ in range(count):
            bound = self._socket()
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._bind(bound)
            bound.listen(BACKLOG)
            sockets.append(bound)
        return sockets

    def tidy(self) -> None:
        """Remove the unix socket's file."""
        if self.socket_path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.socket_path)

    def _clear_path(self) -> None:
        """Raises `ServerError` for a file of another kind, and for a socket that somebody listens on."""
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.stat(self.socket_path).st_mode):
                raise ServerError(f"http.addr: file {self.socket_path} exists and is not a socket")
            with (
                socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe,
                contextlib.suppress(ConnectionRefusedError),
            ):
                probe.connect(self.socket_path)
                raise ServerError(f"http.addr: cannot listen on {self}: Address already in use")
            os.unlink(self.socket_path)

    def _refusal(self, error: OSError) -> ServerError:
        return ServerError(f"{self.option}: cannot listen on {self}: {error.strerror or error}")

    def _socket(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return made

    def _bind(self, made: socket.socket) -> None:
        try:
            made.bind(self.socket_path or (self.address, self.port))
        except OSError as error:
            made.close()
            raise self._refusal(error) from error
