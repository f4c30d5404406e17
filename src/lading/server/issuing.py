"""The process that has certificates issued, and renewed in time, and does nothing else."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from lading.server import authority, issued
from lading.server.authority import AuthorityError, Presented
from lading.server.listener import Acme

log = logging.getLogger(__name__)

LEAD_SECONDS = 30 * 86400.0
"""A certificate is renewed when it has no longer to live than this, or a third of its life."""

FIRST_PAUSE, LAST_PAUSE = 120.0, 6 * 3600.0
"""After a failure; doubled with each that follows. Let's Encrypt allows five in an hour for a host."""

LONGEST_SLEEP = 3600.0
"""The clock may be set while this process sleeps."""

_LOCK = "lading.lock"


class Obtain(Protocol):
    """`authority.obtain`."""

    def __call__(self, url: str, email: str, account: bytes, host: str, presented: Presented) -> bytes: ...


class _Stop(BaseException):
    """Nothing on its way may take it for a failure of the authority."""


class Issuing:
    """All times are in seconds since 1970, as `clock` has them."""

    def __init__(
        self, acme: Acme, obtain: Obtain = authority.obtain, clock: Callable[[], float] = time.time
    ) -> None:
        self._acme = acme
        self._obtain = obtain
        self._clock = clock
        self._pauses: dict[str, float] = {}
        self._retries: dict[str, float] = {}

    def run(self) -> int:
        """Until SIGTERM, whatever is under way. SIGHUP is the end of every pause after a failure."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            signal.signal(signal.SIGTERM, _stop)
            while True:
                if signal.sigtimedwait({signal.SIGHUP}, self.round()) is not None:
                    self.forget()
        except _Stop:
            return 0

    def forget(self) -> None:
        """Nothing has failed so far."""
        self._pauses.clear()
        self._retries.clear()

    def round(self) -> float:
        """Have issued whatever is due. Returns for how long to wait before the next round."""
        for host in self._acme.hosts:
            if self._clock() >= self._due(host):
                self._try(host)
        now = self._clock()
        return max(0.0, min([LONGEST_SLEEP, *(self._due(host) - now for host in self._acme.hosts)]))

    def _due(self, host: str) -> float:
        return max(self._retries.get(host, 0.0), renewal(self._kept(host), host))

    def _kept(self, host: str) -> bytes:
        with contextlib.suppress(OSError):  # The workers tell of what cannot be read.
            return issued.load(self._acme, host)
        return b""

    def _try(self, host: str) -> None:
        try:
            with self._alone():
                self._issue(host)
        except (AuthorityError, OSError) as error:
            self._failed(host, str(error))
        except Exception as error:
            # A process that died of it would ask again as soon as it is started again.
            log.debug("while a certificate was issued", exc_info=True)
            self._failed(host, f"{type(error).__name__}: {error}")
        else:
            self._pauses.pop(host, None)
            self._retries.pop(host, None)

    def _failed(self, host: str, why: str) -> None:
        pause = min(self._pauses.get(host, FIRST_PAUSE / 2) * 2, LAST_PAUSE)
        self._pauses[host] = pause
        self._retries[host] = self._clock() + pause
        log.error("no certificate for %s from %s, next try in %.0fs: %s", host, self._acme.url, pause, why)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Registries may share the directory."""
        path = os.path.join(self._acme.cache, _LOCK)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _issue(self, host: str) -> None:
        if self._clock() < renewal(self._kept(host), host):
            return
        account = issued.load(self._acme, issued.ACCOUNT)
        if not account:
            account = authority.new_key()
            issued.store(self._acme, issued.ACCOUNT, account)
        log.info("asking %s for a certificate for %s", self._acme.url, host)
        made = self._obtain(self._acme.url, self._acme.email, account, host, self._presented)
        if not renewal(made, host):
            raise AuthorityError("what it has issued is not a certificate for this host and key")
        issued.store(self._acme, host, made)
        log.info("there is a new certificate for %s", host)

    @contextlib.contextmanager
    def _presented(self, host: str, pair: bytes) -> Iterator[None]:
        issued.store(self._acme, host + issued.TOKEN, pair)
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._acme.cache, host + issued.TOKEN))


def renewal(pair: bytes, host: str) -> float:
    """When a key with its chain, in PEM, is to be replaced; 0 for what is of no use for this host."""
    try:
        key = serialization.load_pem_private_key(pair, None)
        leaf = x509.load_pem_x509_certificates(pair)[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, x509.ExtensionNotFound):
        return 0.0
    if key.public_key() != leaf.public_key() or host not in names.get_values_for_type(x509.DNSName):
        return 0.0
    end, life = leaf.not_valid_after_utc, leaf.not_valid_after_utc - leaf.not_valid_before_utc
    return end.timestamp() - min(LEAD_SECONDS, life.total_seconds() / 3)


def _stop(*_: object) -> None:
    raise _Stop
