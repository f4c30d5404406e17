"""The repository that a request means, where registries are pulled through beside this one's own repositories."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from lading.api.request import Request
from lading.api.routes import Route
from lading.api.service import Service


def meant(service: Service, request: Request, route: Route) -> Route:
    """By `?ns=`, as containerd asks mirrors, or by the host that was asked. Raises NAME_UNKNOWN."""
    sources = service.registry.sources
    if sources is None or not route.name:
        return route
    host = (request.header(b"host") or "").lower()

    def own(namespace: str) -> bool:
        return namespace in {host, urlsplit(service.urls.root).netloc}

    name = sources.name_here(route.name, request.parameter("ns"), host, own)
    return route if name == route.name else replace(route, name=name)
