"""What can be used as it is, but is likely not what was meant."""

from __future__ import annotations

from urllib.parse import urlsplit

from lading.config.models.configuration import Configuration
from lading.config.models.middleware import OPTIONS
from lading.config.models.section import options_of
from lading.config.problems import Path, report
from lading.config.yaml import MapNode, Node, Scalar, locate

CACHES = ("inmemory", "redis")
POINTS = ("registry", "repository", "storage")


def remarks(configuration: Configuration, root: MapNode) -> list[str]:
    """One line each, with the place it was written at."""
    found = [
        *_storage(configuration, root),
        *_http(configuration),
        *_redis(configuration),
        *_middleware(configuration),
        *_proxy(configuration),
    ]
    return [report(locate(root, path), path, what) for path, what in found]


Remark = tuple[Path, str]


def _storage(configuration: Configuration, root: MapNode) -> list[Remark]:
    found: list[Remark] = []
    cache = configuration.storage.cache
    if _find(root, "storage", "cache") is not None and cache.blobdescriptor not in CACHES:
        what = f'unknown cache type "{cache.blobdescriptor}", caching disabled'
        found.append((("storage", "cache"), what))
    if cache.blobdescriptor == "redis" and "blobdescriptorsize" in cache.given:
        what = "blobdescriptorsize parameter is not supported with redis cache"
        found.append((("storage", "cache", "blobdescriptorsize"), what))
    enabled = _find(root, "storage", "delete", "enabled")
    if isinstance(enabled, Scalar) and not isinstance(enabled.value, bool | None):
        found.append((("storage", "delete", "enabled"), "is not true or false, so deletion stays off"))
    return found


def _http(configuration: Configuration) -> list[Remark]:
    found: list[Remark] = []
    http = configuration.http
    if http.tls.key and not http.tls.enabled:
        found.append((("http", "tls", "key"), "has no effect without a certificate: TLS is off"))
    if http.tls.clientcas and not http.tls.enabled:
        what = "has no effect without a certificate: TLS is off, and no client is asked for one"
        found.append((("http", "tls", "clientcas"), what))
    if http.tls.letsencrypt.cachefile and not http.tls.letsencrypt.hosts:
        what = "names no host: there will be no certificate, and every client is refused"
        found.append((("http", "tls", "letsencrypt", "hosts"), what))
    if http.tls.minimumtls == "tls1.3" and http.tls.ciphersuites:
        what = (
            "restricting TLS cipher suites to empty. Because configuring cipher suites is no longer supported"
            " in tls1.3"
        )
        found.append((("http", "tls", "ciphersuites"), what))
    if http.host and not ("://" in http.host and urlsplit(http.host).netloc):
        found.append((("http", "host"), "has no effect without a scheme and a host: https://host"))
    return found


def _redis(configuration: Configuration) -> list[Remark]:
    found: list[Remark] = []
    tls = configuration.redis.tls
    if bool(tls.certificate) != bool(tls.key):
        what = "certificate and key are needed both: continuing without client certificate"
        found.append((("redis", "tls"), what))
    streams = any(endpoint.redis.stream for endpoint in configuration.notifications.endpoints)
    if configuration.redis.addrs and configuration.storage.cache.blobdescriptor != "redis" and not streams:
        found.append((("redis", "addrs"), "has no effect without storage.cache.blobdescriptor: redis"))
    return found


def _proxy(configuration: Configuration) -> list[Remark]:
    if urlsplit(configuration.proxy.remoteurl).path.strip("/"):
        return [(("proxy", "remoteurl"), "its path has no effect: registries are at the root of their host")]
    return []


def _middleware(configuration: Configuration) -> list[Remark]:
    found: list[Remark] = [
        (("middleware", point), f"unknown key, ignored (known are {', '.join(POINTS)})")
        for point in configuration.middleware
        if point not in POINTS
    ]
    for index, element in enumerate(configuration.middleware.get("storage", [])):
        if element.disabled or element.name not in OPTIONS:
            continue
        known = {key for each in options_of(OPTIONS[element.name]) for key in each.keys}
        for key, value in element.options.items():
            what = "" if key in known else "unknown key, ignored"
            if key == "updatefrenquency":
                what = "is an old spelling of updatefrequency"
            elif key == "duration" and not isinstance(value, str):
                what = "is no duration such as 20m, which is used"
            if what:
                found.append((("middleware", "storage", index, "options", key), what))
    return found


def _find(root: MapNode, *path: str) -> Node | None:
    node: Node = root
    for step in path:
        if not isinstance(node, MapNode) or step not in node.entries:
            return None
        node = node.entries[step]
    return node
