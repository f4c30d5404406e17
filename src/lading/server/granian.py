"""Granian as the HTTP server: HTTP/1.1, HTTP/2, TLS and unix sockets in native code."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.errors import ConfigurationError as GranianError
from granian.http import HTTP1Settings
from granian.log import LogLevels

log = logging.getLogger(__name__)

HEADER_SECONDS = 30
"""A client has so long to send the header of a request."""

BACKLOG = 4096

DRAIN_SECONDS = 5.0
"""Requests under way have so long to finish, where the configuration does not say."""

_LOGGING: dict[str, Any] = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": False}},
}
_KEY_HEADERS = ("BEGIN RSA PRIVATE KEY", "BEGIN EC PRIVATE KEY")


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

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        place = self.socket_path or f"{host}:{self.port}"
        return f"{place}, tls" if self.certificate else place


def serve(load: Callable[[], Any], listener: Listener, workers: int) -> None:
    """Run until a signal stops it. `load` makes the application, in each worker. Raises `ServerError`."""
    _check_address(listener)
    _check_tls(listener)
    try:
        server = Granian(
            "lading",
            address=listener.address or "127.0.0.1",
            port=listener.port,
            uds=Path(listener.socket_path) if listener.socket_path else None,
            interface=Interfaces.ASGI,
            workers=workers,
            respawn_failed_workers=True,
            respawn_interval=0.1,
            workers_kill_timeout=max(1, math.ceil(listener.drain)),
            http=HTTPModes.auto if listener.http2 else HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000),
            websockets=False,
            backlog=BACKLOG,
            log_level=LogLevels.warning,
            log_dictconfig=_LOGGING,
            ssl_cert=Path(listener.certificate) if listener.certificate else None,
            ssl_key=Path(listener.key) if listener.certificate else None,
            ssl_protocol_min=SSLProtocols.tls13 if listener.minimum_tls == "tls1.3" else SSLProtocols.tls12,
            ssl_ca=Path(listener.client_ca) if listener.client_ca else None,
            ssl_client_verify=bool(listener.client_ca),
        )
        log.info("listening on %s", listener)
        server.serve(target_loader=load, wrap_loader=False)
    except (GranianError, ssl.SSLError, OSError) as error:
        raise ServerError(f"cannot listen on {listener}: {error}") from error


def _check_address(listener: Listener) -> None:
    """Granian shares a port with whoever has it: two registries on one port would go unnoticed."""
    if listener.socket_path:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.stat(listener.socket_path).st_mode):
                raise ServerError(f"http.addr: file {listener.socket_path} exists and is not a socket")
            os.unlink(listener.socket_path)
        return
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listener.address, listener.port))
        except OSError as error:
            raise ServerError(f"http.addr: cannot listen on {listener}: {error.strerror}") from error


def _check_tls(listener: Listener) -> None:
    if not listener.certificate:
        return
    try:
        key = Path(listener.key).read_text("ascii", "replace")
    except OSError as error:
        raise ServerError(f"http.tls.key: cannot read {listener.key}: {error.strerror}") from error
    if any(header in key for header in _KEY_HEADERS):
        raise ServerError(
            f"http.tls.key: {listener.key} is not in PKCS#8 form; convert it with "
            "'openssl pkcs8 -topk8 -nocrypt -in KEY -out KEY.pk8'"
        )
