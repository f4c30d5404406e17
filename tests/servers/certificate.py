"""A certificate of the tests' own, for 127.0.0.1: its own authority."""

from __future__ import annotations

import functools
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    file: Path
    key: Path

    def trusting(self) -> ssl.SSLContext:
        """For clients that speak HTTP/1.1."""
        return ssl.create_default_context(cafile=self.file)

    def trusting_http2(self) -> ssl.SSLContext:
        context = self.trusting()
        context.set_alpn_protocols(["h2"])
        return context


@functools.cache
def certificate() -> Certificate:
    """Made once in each process of a test run; the folder goes with the process."""
    made = Certificate(Path(_folder().name) / "certificate.pem", Path(_folder().name) / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-keyout", str(made.key), "-out", str(made.file)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return made


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="lading-certificate-")
