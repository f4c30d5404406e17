"""The ways in which a Lading serves that tests are run over: how many workers, and which protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.servers.certificate import certificate


@dataclass(frozen=True)
class Serving:
    """`workers` 0 leaves their number to the registry."""

    name: str
    workers: int = 0
    tls: bool = False
    http2: bool = False

    def arguments(self) -> tuple[str, ...]:
        return ("--workers", str(self.workers)) if self.workers else ()

    def settings(self) -> dict[str, Any]:
        """What it takes in the configuration."""
        if self.tls:
            files = {"certificate": str(certificate().file), "key": str(certificate().key)}
            return {"http": {"tls": files, "http2": {"disabled": not self.http2}}}
        return {"http": {"h2c": {"enabled": True}}} if self.http2 else {}


DEFAULT = Serving("default")
ONE_WORKER = Serving("one-worker", workers=1)
FOUR_WORKERS = Serving("four-workers", workers=4)
HTTP2_IN_CLEAR = Serving("h2c", workers=2, http2=True)
HTTP2_OVER_TLS = Serving("tls-h2", workers=2, tls=True, http2=True)
