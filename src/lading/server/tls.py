"""TLS for the HTTP servers."""

from __future__ import annotations

import errno
import ssl

from lading.server.listener import Listener, ServerError

_VERSIONS = {"tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}


def context(listener: Listener) -> ssl.SSLContext | None:
    """None without a certificate. Raises `ServerError` for files that cannot be used."""
    if not listener.certificate:
        return None
    files = {"certificate": listener.certificate, "key": listener.key, "clientcas": listener.client_ca}
    for key, path in files.items():
        _check_readable(f"http.tls.{key}", path)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = _VERSIONS[listener.minimum_tls]
    made.set_alpn_protocols(["http/1.1"])
    try:
        # An empty pass phrase, or OpenSSL would ask for one on the terminal.
        made.load_cert_chain(listener.certificate, listener.key, password="")
    except (OSError, ssl.SSLError) as error:
        pair = f"{listener.certificate} with the key {listener.key}"
        raise ServerError(f"http.tls: cannot use the certificate {pair}: {_reason(error)}") from error
    if listener.client_ca:
        try:
            made.load_verify_locations(listener.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise ServerError(f"http.tls.clientcas: cannot use {listener.client_ca}: {_reason(error)}") from error
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def _check_readable(key: str, path: str) -> None:
    if not path:
        return
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ServerError(f"{key}: cannot read {path}: {error.strerror}") from error


def _reason(error: OSError) -> str:
    if error.errno == errno.EINVAL:
        return "the key is encrypted"
    return str(getattr(error, "reason", None) or error.strerror or error)
