"""How connections are encrypted: whom a client believes, and what it shows of itself."""

from __future__ import annotations

import functools
import os
import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TLS:
    """Paths of PEM files. `ca` is believed beside the system's authorities; without `verify` anybody is believed.

    The client certificate is shown to the registry's own host alone; without `key` the file of the certificate
    holds it.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""
    verify: bool = True

    @classmethod
    def from_folder(cls, folder: str, *, verify: bool = True) -> TLS:
        """As Docker and Podman have them for a host: `*.crt` are authorities, `*.cert` and `*.key` the client's.

        Raises `OSError` if the folder cannot be read, `ValueError` if a certificate has no key beside it.
        """
        names = sorted(os.listdir(folder))
        found: dict[str, str] = {}
        for name in names:
            found.setdefault(os.path.splitext(name)[1], os.path.join(folder, name))
        certificate = found.get(".cert", "")
        key = certificate.removesuffix(".cert") + ".key" if certificate else ""
        if key and not os.path.exists(key):
            raise ValueError(f"{certificate}: there is no {os.path.basename(key)} beside it")
        return cls(found.get(".crt", ""), certificate, key, verify)

    def check(self) -> None:
        """Raises `OSError` or `ValueError`, with the path, if the files cannot be used."""
        for path in filter(None, (self.ca, self.certificate, self.key)):
            with open(path, "rb"):
                pass
        try:
            context(self, own=True)
        except ssl.SSLError as error:
            where = self.certificate or self.ca
            raise ValueError(f"{where}: no usable certificate: {error.reason or error}") from error


@functools.lru_cache(maxsize=64)
def context(tls: TLS, *, own: bool) -> ssl.SSLContext:
    """For the registry's own host, or for others, which see no client certificate."""
    made = ssl.create_default_context()
    if tls.ca:
        made.load_verify_locations(tls.ca)
    if not tls.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if own and tls.certificate:
        made.load_cert_chain(tls.certificate, tls.key or None)
    return made
