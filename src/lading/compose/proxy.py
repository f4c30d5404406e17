"""The composition of pulling through: from the `proxy` and `upstreams` sections to sources."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from lading import __version__
from lading.client.credentials import Credentials, HelperCredentials, StaticCredentials
from lading.compose.error import BuildError
from lading.config.models.configuration import Configuration
from lading.config.models.proxy import Proxy, Upstream
from lading.operations import catalogue
from lading.operations.figures import Figures
from lading.registry.expiry import Expiry
from lading.registry.ports import Descriptors, Storage
from lading.registry.sources import Source, Sources
from lading.registry.upstream import Counter, count_nothing
from lading.upstream.remote import RemoteUpstream
from lading.upstream.spool import FileSpool

__all__ = ["FileSpool", "counter", "expiry", "sources"]


def sources(configuration: Configuration, figures: Figures | None = None) -> Sources:
    """Raises `BuildError`."""
    names: set[str] = set()
    hosts: set[str] = set()
    for number, upstream in enumerate(configuration.upstreams):
        for known, values, key in ((names, [upstream.name], "name"), (hosts, upstream.hosts, "hosts")):
            for value in values:
                if value.lower() in known:
                    raise BuildError(f"upstreams[{number}].{key}: {value} is another upstream's, too")
                known.add(value.lower())
    return Sources(list(_sources(configuration, figures)))


def _sources(configuration: Configuration, figures: Figures | None) -> Iterator[Source]:
    proxy = configuration.proxy
    if proxy.remoteurl:
        yield Source(
            "",
            _remote("proxy", proxy, figures),
            ttl=proxy.ttl,
            interval=proxy.interval,
            misses=proxy.misses,
            grace=proxy.cachewritetimeout,
            max_bytes=proxy.maxbytes,
        )
    for number, upstream in enumerate(configuration.upstreams):
        yield Source(
            upstream.name,
            _remote(f"upstreams[{number}]", upstream, figures),
            ttl=upstream.ttl,
            interval=upstream.interval,
            misses=upstream.misses,
            grace=upstream.cachewritetimeout,
            max_bytes=upstream.maxbytes,
            aliases=frozenset({upstream.name, urlsplit(upstream.remoteurl).netloc.rpartition("@")[2]}),
            hosts=frozenset(host.lower() for host in upstream.hosts),
            allow=_patterns(upstream.allow),
            deny=_patterns(upstream.deny),
            private=_patterns(upstream.private),
        )


def expiry(configuration: Configuration, storage: Storage, descriptors: Descriptors | None = None) -> Expiry:
    """Raises `BuildError`."""
    schedule = bool(configuration.proxy.remoteurl) and configuration.proxy.ttl > 0
    return Expiry(storage, sources(configuration), schedule=schedule, descriptors=descriptors)


def counter(figures: Figures | None) -> Counter:
    if figures is None:
        return count_nothing

    def count(event: str, kind: str, amount: int = 1) -> None:
        figures.count(catalogue.PROXY[event], (kind,), amount)

    return count


class _Gauges:
    """See `lading.upstream.remote.Gauges`."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def answered(self, host: str, status: int) -> None:
        self._figures.count(catalogue.UPSTREAM_ANSWERS, (str(status) if status else "none", host))

    def limited(self, host: str, which: str, value: int) -> None:
        metric = catalogue.UPSTREAM_LIMIT if which == "limit" else catalogue.UPSTREAM_REMAINING
        self._figures.set(metric, (host,), value)


def _remote(key: str, section: Proxy | Upstream, figures: Figures | None) -> RemoteUpstream:
    parts = urlsplit(section.remoteurl)
    if parts.username or parts.password:
        raise BuildError(f"{key}.remoteurl: must not hold a login: there are username and password for it")
    credentials: Credentials | None = None
    if section.exec.command:
        credentials = HelperCredentials(section.exec.command, section.exec.lifetime)
    elif section.username or section.password:
        credentials = StaticCredentials(section.username, section.password)
    gauges = None if figures is None else _Gauges(figures)
    try:
        return RemoteUpstream(section.remoteurl, credentials, f"lading/{__version__}", gauges)
    except ValueError as error:
        raise BuildError(f"{key}.remoteurl: {error}") from None


def _patterns(patterns: list[str]) -> tuple[re.Pattern[str], ...]:
    """`*` is any part of a component, `**` anything."""
    made = []
    for pattern in patterns:
        parts = re.split(r"(\*\*|\*)", pattern)
        made.append(re.compile("".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)))
    return tuple(made)
