"""The names of cipher suites: those of the TLS registry, which configurations use, as OpenSSL calls them."""

from __future__ import annotations

import ssl

from lading.server.listener import ServerError

DEFAULT = (
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
)
"""Of TLS 1.2, where the configuration names none: forward secrecy, authenticated encryption."""

_TLS13 = "TLS_AES_", "TLS_CHACHA20_"
_CIPHERS = {
    "3DES_EDE_CBC_SHA": "DES-CBC3-SHA",
    "AES_128_CBC_SHA": "AES128-SHA",
    "AES_256_CBC_SHA": "AES256-SHA",
    "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
}


def apply(context: ssl.SSLContext, suites: tuple[str, ...]) -> None:
    """Restrict TLS 1.2 to `suites`, first ones preferred. TLS 1.3 keeps its own, which cannot be chosen.

    With none for TLS 1.2 among them, only TLS 1.3 is spoken. Raises `ServerError` for a suite that this OpenSSL
    was built without.
    """
    wanted = {suite: _openssl(suite) for suite in suites or DEFAULT if not suite.startswith(_TLS13)}
    if not wanted:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return
    try:
        context.set_ciphers(":".join(wanted.values()))
        has = {str(cipher["name"]) for cipher in context.get_ciphers()}
    except ssl.SSLError:
        has = set()
    missing = [suite for suite, name in wanted.items() if name not in has]
    if missing and suites:
        raise ServerError(
            f"http.tls.ciphersuites: {ssl.OPENSSL_VERSION}, as it is built and set up here, does not have "
            f"{', '.join(missing)}"
        )


def _openssl(suite: str) -> str:
    exchange, _, cipher = suite.removeprefix("TLS_").partition("_WITH_")
    prefix = "" if exchange == "RSA" else f"{exchange.replace('_', '-')}-"
    return prefix + _CIPHERS[cipher]
