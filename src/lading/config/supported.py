"""What the schema has and this version of Lading has not, so that start-up can say so instead of ignoring it.

A row goes when its feature comes.
"""

from __future__ import annotations

from collections.abc import Callable

from lading.config.models.configuration import Configuration
from lading.config.problems import printable


def _middleware(configuration: Configuration, point: str) -> bool:
    return any(not element.disabled for element in configuration.middleware.get(point, []))


def _other_client_auth(configuration: Configuration) -> bool:
    tls = configuration.http.tls
    return bool(tls.clientcas) and tls.clientauth != "require-and-verify-client-cert"


def _auth_type(configuration: Configuration) -> str:
    """Only `none` may be written in any case."""
    name = configuration.auth.type
    return "none" if name.lower() == "none" else name


_CHOICES: tuple[tuple[str, Callable[[Configuration], str], tuple[str, ...], str], ...] = (
    ("log.formatter", lambda c: c.log.formatter, ("text", "json", ""), 'unsupported logging formatter: "<x>"'),
    ("storage", lambda c: c.storage.driver, ("filesystem", "inmemory"), "StorageDriver not registered: <x>"),
    (
        "auth",
        _auth_type,
        ("none", "silly", "htpasswd", "token", ""),
        "unable to configure authorization (<x>): no access controller registered with name: <x>",
    ),
)
"""Keys that choose by a name: those that are honoured, and what to say of another."""

_SETTINGS: tuple[tuple[str, Callable[[Configuration], object]], ...] = (
    ("log.reportcaller", lambda c: c.log.reportcaller),
    ("log.hooks", lambda c: any(not hook.disabled for hook in c.log.hooks)),
    ("storage.cache.blobdescriptor: redis", lambda c: c.storage.cache.blobdescriptor == "redis"),
    ("middleware.registry", lambda c: _middleware(c, "registry")),
    ("middleware.repository", lambda c: _middleware(c, "repository")),
    ("middleware.storage", lambda c: _middleware(c, "storage")),
    ("http.tls.clientcas: more than one file", lambda c: len(c.http.tls.clientcas) > 1),
    ("http.tls.clientauth: other than require-and-verify-client-cert", _other_client_auth),
    ("http.tls.ciphersuites", lambda c: c.http.tls.ciphersuites and c.http.tls.minimumtls != "tls1.3"),
    ("http.tls.letsencrypt.cachefile", lambda c: c.http.tls.letsencrypt.cachefile),
    ("http.debug.addr", lambda c: c.http.debug.addr),
    ("notifications.endpoints", lambda c: any(not e.disabled for e in c.notifications.endpoints)),
    ("redis.addrs", lambda c: c.redis.addrs),
    ("health.storagedriver.enabled", lambda c: c.health.storagedriver.enabled),
    ("health.file", lambda c: c.health.file),
    ("health.http", lambda c: c.health.http),
    ("health.tcp", lambda c: c.health.tcp),
    ("proxy.remoteurl", lambda c: c.proxy.remoteurl),
)
"""What is not honoured at all, with how to see that it is set to something of effect."""


def unsupported(configuration: Configuration, *sections: str) -> list[str]:
    """Why this configuration cannot be served, one line each; of these top-level sections only, if given."""
    found: list[str] = []
    for key, chosen, names, text in _CHOICES:
        name = chosen(configuration)
        if name not in names:
            has = ", ".join(filter(None, names))
            found.append(f"{key}: {text.replace('<x>', name)} (this version of Lading has: {has})")
    found += [
        f"{key}: not supported by this version of Lading" for key, is_set in _SETTINGS if is_set(configuration)
    ]
    if configuration.auth.surplus:
        types = ", ".join([configuration.auth.type, *configuration.auth.surplus])
        found.append(f"auth: more than one type in configuration or environment: {types}")
    if _auth_type(configuration) in {"none", ""}:
        own = (("rules", configuration.access.rules is not None), ("robots", configuration.access.robots))
        if not configuration.tokenservice.issuer:
            found += [f"access.{key}: has no effect without auth or tokenservice" for key, is_set in own if is_set]
    if configuration.http.net == "tcp" and not configuration.http.addr:
        found.append("http.addr: is not set (host:port, such as :5000)")
    return [printable(line) for line in found if not sections or _section(line) in sections]


def _section(line: str) -> str:
    return line.partition(":")[0].partition(".")[0]
