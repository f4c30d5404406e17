"""The certificates of a process as their files have them, without a restart when these change."""

from __future__ import annotations

import asyncio
import logging
import ssl

from lading.server import tls
from lading.server.listener import ServerError, Tls

log = logging.getLogger(__name__)

WATCH_SECONDS = 5.0
"""How often the files are looked at."""


class Certificates:
    """`context` is what new connections get; those that exist keep theirs."""

    def __init__(self, settings: Tls) -> None:
        """Raises `ServerError` for files that cannot be used."""
        self._settings = settings
        self._files = tls.read(settings)
        self.context: ssl.SSLContext = tls.context(settings, self._files)
        self._refused: tls.Files | str | None = None
        """What was found broken, and has been complained about when it was found so again."""
        self._told = False

    def reload(self) -> None:
        """Take over the files if they have changed. What is broken is logged, and the last good stays."""
        self._take(certain=True)

    def look(self) -> None:
        """As `reload`, but a pair that is broken may be one that is still being written: it gets some time."""
        self._take(certain=False)

    async def watch(self) -> None:
        """`look` from time to time, until cancelled. The first time at once: this process may be a late one."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(WATCH_SECONDS)

    def _take(self, *, certain: bool) -> None:
        found: tls.Files | None = None
        try:
            found = tls.read(self._settings)
            if found == self._files:
                self._refused = None
                return
            if found == self._refused and self._told and not certain:
                return
            context = tls.context(self._settings, found)
        except ServerError as error:
            self._complain(found or str(error), str(error), certain=certain)
            return
        self.context, self._files, self._refused = context, found, None
        log.info("TLS certificate %s is in use as it is now", self._settings.certificate)

    def _complain(self, found: tls.Files | str, text: str, *, certain: bool) -> None:
        again = found == self._refused
        if certain or (again and not self._told):
            log.error("%s; the certificate in use stays", text)
            self._told = True
        elif not again:
            self._told = False
        self._refused = found
