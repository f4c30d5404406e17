"""TLS for the listener: contexts made of files, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from lading.server import anycertificate, ciphers
from lading.server.listener import ServerError, Tls

ACME_PROTOCOL = "acme-tls/1"

_VERSIONS = {"tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}

_MODES = {
    "request-client-cert": (ssl.CERT_OPTIONAL, False),
    "require-any-client-cert": (ssl.CERT_REQUIRED, False),
    "verify-client-cert-if-given": (ssl.CERT_OPTIONAL, True),
    "require-and-verify-client-cert": (ssl.CERT_REQUIRED, True),
}
"""Whether a certificate must be given, and whether it is verified."""

_REASONS = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "KEY_TYPE_MISMATCH": "the key does not belong to the certificate",
    "NO_START_LINE": "there is no PEM in it",
    "BAD_PASSWORD_READ": "the key is encrypted",
    "BAD_DECRYPT": "the key is encrypted",
    "CA_MD_TOO_WEAK": "it is signed with a digest that is too weak",
    "EE_KEY_TOO_SMALL": "its key is too small",
}


@dataclass(frozen=True, slots=True)
class Files:
    """What the files of a configuration held at one time. Equal if nothing has changed."""

    certificate: bytes
    key: bytes
    client_cas: tuple[bytes, ...]


def read(settings: Tls) -> Files:
    """Raises `ServerError` for what cannot be read."""
    return Files(
        _read("http.tls.certificate", settings.certificate),
        _read("http.tls.key", settings.key),
        tuple(_read("http.tls.clientcas", path) for path in settings.client_cas),
    )


def context(settings: Tls, files: Files) -> ssl.SSLContext:
    """Raises `ServerError` for files that cannot be used."""
    made = bare_context(settings)
    if b"ENCRYPTED" in files.key:
        raise ServerError(f"http.tls.key: {settings.key}: the key is encrypted, and there is nobody to ask for it")
    pair = f"{settings.certificate} with the key {settings.key}"
    try:
        load_pair(made, files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        raise ServerError(f"http.tls: cannot use the certificate {pair}: {_reason(error)}") from error
    for path, text in zip(settings.client_cas, files.client_cas, strict=True):
        try:
            made.load_verify_locations(cadata=text.decode("ascii", "replace"))
        except (OSError, ssl.SSLError, ValueError) as error:
            what = "there is no certificate in it" if b"-BEGIN CERTIFICATE-" not in text else _reason(error)
            raise ServerError(f"http.tls.clientcas: could not add CA to pool: {path}: {what}") from error
    return made


def bare_context(settings: Tls) -> ssl.SSLContext:
    """All but the certificates. Raises `ServerError`."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = _VERSIONS[settings.minimum]
    # The configuration counts, even where the system's policy for OpenSSL would say otherwise.
    made.set_alpn_protocols(list(settings.protocols))
    if settings.minimum != "tls1.3":
        ciphers.apply(made, settings.cipher_suites)
    if settings.client_cas:
        made.verify_mode, verified = _MODES[settings.client_auth]
        # An authority need not be a root.
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if not verified:
            anycertificate.accept_any(made)
    return made


def load_pair(into: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """From memory: the files may change while they are loaded. Raises `OSError`, of which `SSLError` is one."""
    with _in_memory(certificate) as certificate_path, _in_memory(key) as key_path:
        # An empty pass phrase, or OpenSSL would ask for one on the terminal.
        into.load_cert_chain(certificate_path, key_path, password="")


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _read(key: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ServerError(f"{key}: cannot read {path}: {error.strerror}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EINVAL:
        return "the key is encrypted"
    reason = getattr(error, "reason", None)
    if isinstance(reason, str):
        return _REASONS.get(reason, reason)
    if "PEM lib" in str(error):
        return "it is not PEM, or not whole"
    return str(getattr(error, "strerror", None) or error)
