"""A guarded registry in this process, and the headers that clients sign in with."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping

from tests.wire.asgi import Client

from lading.api.app import AccessLog, Application
from lading.api.service import Page, Service
from lading.api.state import StateTokens
from lading.registry.access import Authorizer
from lading.registry.registry import Registry
from lading.storage.memory import MemoryStorage


def serve(
    authorizer: Authorizer,
    storage: MemoryStorage | None = None,
    pages: Mapping[str, Page] | None = None,
    access_log: AccessLog | None = None,
    clock: Callable[[], float] = time.time,
) -> Client:
    service = Service(
        registry=Registry.over(storage or MemoryStorage()),
        states=StateTokens(b"secret"),
        deletes=True,
        authorizer=authorizer,
        pages=pages or {},
    )
    return Client(Application(service, access_log, clock=clock))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
