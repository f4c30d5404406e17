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

KEEP_ALIVE_SECONDS = 180
"""Probes of TCP find clients that are gone without a word."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a process is to do: `work` returns its exit status after SIGTERM, and alone keeps `listening` open."""

    work: Callable[[], int]
    listening: socket.socket | None = None


class ServerError(Exception):
    """The server cannot be started as configured; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Acme:
    """Certificates for `hosts`, in lower case, kept in the directory `cache`. `url` is that of an authority."""

    cache: str
    hosts: tuple[str, ...]
    email: str
    url: str


@dataclass(frozen=True, slots=True)
class Tls:
    """Files and words as the configuration has them. `protocols` are offered by ALPN, the first is preferred.

    With `acme` certificates come from there, and not from files that are named here.
    """

    certificate: str = ""
    key: str = ""
    client_cas: tuple[str, ...] = ()
    client_auth: str = "require-and-verify-client-cert"
    minimum: str = "tls1.2"
    cipher_suites: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ("http/1.1",)
    acme: Acme | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """`inherited` is a descriptor, `socket_path` for a unix socket, or else `address`. `drain` is in seconds.

    `socket_mode` are the permissions of a unix socket, None what the umask leaves. `http2` is without TLS; with
    TLS its protocols tell.
    """

    address: str = ""
    port: int = 0
    socket_path: str = ""
    socket_mode: int | None = None
    inherited: int | None = None
    tls: Tls | None = None
    http2: bool = False
    drain: float = DRAIN_SECONDS
    option: str = "http.addr"
    """The key that says where, for messages."""

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        place = self.socket_path or f"{host}:{self.port}"
        if self.inherited is not None:
            place = f"an inherited socket, {_name(self.inherited)}"
        return f"{place}, tls" if self.tls else place

    def check(self) -> None:
        """Whether the address is free. Raises `ServerError`.

        With SO_REUSEPORT a second registry on the same port would go unnoticed: a socket without it tries
        first. A stale unix socket is removed.
        """
        if self.inherited is not None:
            _check_inherited(self.inherited)
        elif self.socket_path:
            try:
                self._clear_path()
            except OSError as error:
                raise self._refusal(error) from error
        else:
            with self._socket() as probe:
                self._bind(probe)

    def bind(self, count: int) -> list[socket.socket]:
        """A listening socket for each of `count` processes. Raises `ServerError`.

        On TCP each gets a queue of its own, which outlives the process it was made for; a unix socket and an
        inherited one are shared.
        """
        if self.inherited is not None or self.socket_path:
            return [self._shared()] * count
        sockets = []
        for _ in range(count):
            bound = self._socket()
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._bind(bound)
            bound.listen(BACKLOG)
            sockets.append(bound)
        return sockets

    def _shared(self) -> socket.socket:
        if self.inherited is not None:
            shared = socket.socket(fileno=self.inherited)
            shared.set_inheritable(False)
            if shared.family in (socket.AF_INET, socket.AF_INET6):
                _keep_alive(shared)
            return shared
        shared = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._bind(shared)
        if self.socket_mode is not None:
            os.chmod(self.socket_path, self.socket_mode)
        shared.listen(BACKLOG)
        return shared

    def tidy(self) -> None:
        """Remove the unix socket's file, if it was made here."""
        if self.socket_path and self.inherited is None:
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
        if family == socket.AF_INET6:
            # `::` is every address of both families, whatever the system's default.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, self.address != "::")
        _keep_alive(made)
        return made

    def _bind(self, made: socket.socket) -> None:
        try:
            made.bind(self.socket_path or (self.address, self.port))
        except OSError as error:
            made.close()
            raise self._refusal(error) from error


def _keep_alive(listening: socket.socket) -> None:
    """Connections take these over from the socket they came in by."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
        listening.setsockopt(socket.IPPROTO_TCP, option, KEEP_ALIVE_SECONDS)


def _check_inherited(descriptor: int) -> None:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as given:
            stream = given.type == socket.SOCK_STREAM
            listens = bool(given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError as error:
        raise ServerError(
            f"socket activation: descriptor {descriptor} cannot be used: {error.strerror}"
        ) from error
    if not stream or not listens:
        raise ServerError(f"socket activation: descriptor {descriptor} is not a stream socket that listens")


def _name(descriptor: int) -> str:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as given:
            return address_of(given)
    except OSError:
        return str(descriptor)


def address_of(listening: socket.socket) -> str:
    """`host:port`, or the path of a unix socket."""
    name = listening.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return os.fsdecode(name)
