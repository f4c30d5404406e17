"""What every handler is given: the registry, and how this server presents it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from lading.api.request import Request
from lading.api.response import Response
from lading.api.state import StateTokens
from lading.api.urls import Urls
from lading.registry.access import Authorizer
from lading.registry.events import Events
from lading.registry.registry import Registry

Page = Callable[[Request], Awaitable[Response]]
"""What answers at a path of its own, beside the registry's API."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, pages in entries."""

    manifest_bytes: int = 4 * 1024 * 1024
    catalog_page: int = 100
    catalog_max: int = 1000
    tags_max: int = 1000
    referrers_page: int = 1000
    tags_per_push: int = 100


@dataclass(slots=True)
class Gate:
    """While it is closed, every request is answered with 503."""

    closed: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    registry: Registry
    states: StateTokens
    urls: Urls = field(default_factory=Urls)
    limits: Limits = field(default_factory=Limits)
    prefix: str = ""
    deletes: bool = False
    removes: bool = False
    """Whole repositories can be deleted."""
    read_only: bool = False
    redirects: bool = True
    headers: tuple[tuple[bytes, bytes], ...] = ()
    authorizer: Authorizer | None = None
    pages: Mapping[str, Page] = field(default_factory=dict)
    gate: Gate = field(default_factory=Gate)
    events: Events | None = None
