"""Granian as the HTTP server, for HTTP/2: its workers are processes of its own."""

from __future__ import annotations

import functools
import math
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.errors import ConfigurationError as GranianError
from granian.http import HTTP1Settings
from granian.log import LogLevels

from lading.server import tls
from lading.server.listener import BACKLOG, Listener, Role, ServerError
from lading.server.listening import Application
from lading.server.processes import end_with_parent

HEAD_SECONDS = 30
"""A client has so long to send the head of a request."""

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
        server(target_loader=functools.partial(_load, load), wrap_loader=False)
        return 0

    return {"server": Role(work)}


def _load(load: Callable[[], Application]) -> Application:
    """Runs in each of Granian's workers."""
    end_with_parent()
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
        workers_kill_timeout=max(1, math.ceil(listener.drain)),
        http=HTTPModes.auto if listener.http2 else HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000),
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
