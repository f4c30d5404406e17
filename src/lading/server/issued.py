"""Certificates that an authority has issued: from a directory where another process puts them, one for each host.

The layout is that of Distribution: a file named as the host, with the key and after it the chain, in PEM;
`<host>+token` answers a challenge while there is one; `acme_account+key` is the key of the account.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import tempfile
from dataclasses import replace

from lading.server import clienthello, tls
from lading.server.certificates import WATCH_SECONDS, Certificates, RefusedError
from lading.server.listener import Acme, ServerError, Tls

log = logging.getLogger(__name__)

ACCOUNT = "acme_account+key"
TOKEN = "+token"  # noqa: S105  the end of a file's name


def prepare(acme: Acme) -> None:
    """Make the directory, for its owner alone. Raises `ServerError`."""
    key = "http.tls.letsencrypt.cachefile"
    try:
        os.makedirs(acme.cache, 0o700, exist_ok=True)
    except OSError as error:
        raise ServerError(f"{key}: cannot make the directory {acme.cache}: {error.strerror}") from error
    if not os.access(acme.cache, os.R_OK | os.W_OK | os.X_OK):
        raise ServerError(f"{key}: cannot write to the directory {acme.cache}")


def store(acme: Acme, name: str, content: bytes) -> None:
    """Durable, in one step, for the owner alone. Raises `OSError`."""
    descriptor, temporary = tempfile.mkstemp(dir=acme.cache, prefix=f"{name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.rename(temporary, os.path.join(acme.cache, name))
    except BaseException:
        os.unlink(temporary)
        raise
    directory = os.open(acme.cache, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def load(acme: Acme, name: str) -> bytes:
    """Empty if it is not there. Raises `OSError`."""
    with contextlib.suppress(FileNotFoundError), open(os.path.join(acme.cache, name), "rb") as file:
        return file.read()
    return b""


class Issued:
    """A host without a certificate, and a name that is no host here, are refused in the handshake."""

    def __init__(self, settings: Tls, acme: Acme) -> None:
        """Raises `ServerError` for settings that cannot be used; a host's certificate may still be missing."""
        self._settings = settings
        self._acme = acme
        self._kept: dict[str, Certificates] = {}
        self._told: dict[str, str] = {}
        tls.without_certificate(settings)
        self._look()

    async def choose(self, accepted: socket.socket) -> ssl.SSLContext:
        hello = await clienthello.peek(accepted)
        if hello.name not in self._acme.hosts:
            raise RefusedError(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME, "for another host")
        if hello.protocols == (tls.ACME_PROTOCOL,):
            return await asyncio.to_thread(self._challenged, hello.name)
        kept = self._kept.get(hello.name) or await asyncio.to_thread(self._open, hello.name)
        if kept is None:
            raise RefusedError(ssl.ALERT_DESCRIPTION_INTERNAL_ERROR, "no certificate yet")
        return kept.context

    def reload(self) -> None:
        for kept in self._kept.values():
            kept.reload()

    async def watch(self) -> None:
        """As `Certificates.watch`."""
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(WATCH_SECONDS)

    def _look(self) -> None:
        for host in self._acme.hosts:
            if host in self._kept:
                self._kept[host].look()
            else:
                self._open(host)

    def _open(self, host: str) -> Certificates | None:
        path = os.path.join(self._acme.cache, host)
        if not os.path.lexists(path):
            return None
        try:
            self._kept[host] = Certificates(replace(self._settings, certificate=path, key=path))
        except ServerError as error:
            if self._told.get(host) != str(error):
                self._told[host] = str(error)
                log.error("%s", error)
            return None
        return self._kept[host]

    def _challenged(self, host: str) -> ssl.SSLContext:
        """RFC 8737, section 3. Nothing is asked of the authority's own client."""
        try:
            pair = load(self._acme, host + TOKEN)
            made = tls.bare_context(replace(self._settings, client_cas=(), protocols=(tls.ACME_PROTOCOL,)))
            tls.load_pair(made, pair, pair)
        except OSError as error:
            why = "there is no challenge to answer"
            raise RefusedError(ssl.ALERT_DESCRIPTION_INTERNAL_ERROR, why) from error
        return made
