"""Granian as the HTTP server, for HTTP/2: its workers are processes of its own."""

from __future__ import annotations

import functools
import math
import multiprocessing
import os
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.errors import ConfigurationError as GranianError
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels

from lading.server import tls
from lading.server.listener import BACKLOG, Listener, Role, ServerError
from lading.server.listening import Application
from lading.server.processes import end_with_parent

HEAD_SECONDS = 30
"""A client has so long to send the head of a request."""

HEAD_BYTES = 64 * 1024
"""Request line and header fields together, of a request in HTTP/2; Granian would take 16 MiB."""

PING_SECONDS = 60
PONG_SECONDS = 20
"""A connection in HTTP/2 is asked so often for a sign of life, and closed without one in so long."""

_LOGGING: dict[str, Any] = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": False}},
}
_KEY_HEADERS = ("BEGIN RSA PRIVATE KEY", "BEGIN EC PRIVATE KEY")


def workers(load: Callable[[], Application], listener: Listener, count: int) -> dict[str, Role]:
    """As `builtin.workers`: one process here, which makes the others. Raises `ServerError`."""
    listener.check()
    tls.context(listener)
    _check_key(listener)
    try:
        server = _server(listener, count)
    except (GranianError, ssl.SSLError, OSError) as error:
        raise ServerError(f"http.tls: cannot listen on {listener}: {error}") from error

    def work() -> int:
        # A worker inherits a handler that would swallow the signal to stop until it has set up its own.
        os.register_at_fork(after_in_child=functools.partial(signal.signal, signal.SIGTERM, signal.SIG_DFL))
        server(target_loader=functools.partial(_load, load), wrap_loader=False)
        return 0

    return {"server": Role(work)}


def _load(load: Callable[[], Application]) -> Application:
    """Runs in each of Granian's workers."""
    # The process above them drains them before it ends; without it nobody would, nor limit the time they take.
    parent = multiprocessing.parent_process()
    end_with_parent(parent.pid if parent and parent.pid else os.getppid(), signal.SIGKILL)
    return load()


def _server(listener: Listener, count: int) -> Callable[..., None]:
    server = Granian(
        "lading",
        address=listener.address or "127.0.0.1",
        port=listener.port,
        uds=Path(listener.socket_path) if listener.socket_path else None,
        interface=Interfaces.ASGINL,
        workers=count,
        respawn_failed_workers=True,
        respawn_interval=0.1,
        # Later than the parent, who knows of requests that are cut off and says so by the exit status.
        workers_kill_timeout=math.ceil(listener.drain) + 2,
        http=HTTPModes.auto if listener.http2 else HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000),
        http2_settings=HTTP2Settings(
            keep_alive_interval=PING_SECONDS * 1000, keep_alive_timeout=PONG_SECONDS, max_headers_size=HEAD_BYTES
        ),
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
    serve: Callable[..., None] = server.serve
    return serve


def _check_key(listener: Listener) -> None:
    if not listener.certificate:
        return
    key = Path(listener.key).read_text("ascii", "replace")
    if any(header in key for header in _KEY_HEADERS):
        raise ServerError(
            f"http.tls.key: {listener.key} is not in PKCS#8 form, which HTTP/2 needs; convert it with "
            "'openssl pkcs8 -topk8 -nocrypt -in KEY -out KEY.pk8', or set http.http2.disabled"
        )
