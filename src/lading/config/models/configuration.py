"""The whole configuration."""

from __future__ import annotations

import re
from typing import Annotated

from lading.config.models.access import AccessControl
from lading.config.models.http import Http
from lading.config.models.log import Level, Log
from lading.config.models.operations import Health, Notifications
from lading.config.models.proxy import Proxy, Upstream
from lading.config.models.redis import Redis
from lading.config.models.retention import ImmutableTags, Retention
from lading.config.models.rules import Catalog, Policy, Tags, Validation
from lading.config.models.section import HIDDEN, Section, Then, option
from lading.config.models.storage import Storage
from lading.config.models.tokenservice import TokenServer
from lading.config.models.values import Flag, Lists, Text, Untyped

_VERSION = re.compile(r"[0-9]+\.[0-9]+", re.ASCII)


def _check_version(version: str) -> str:
    if _VERSION.fullmatch(version) is None:
        raise ValueError("must be two numbers, such as 0.1")
    return version


class Auth(Section):
    """In the file the type is the key, and its value the parameters. `type` is "none" if there is none."""

    type: Text = "none"
    parameters: Annotated[dict[str, Untyped], HIDDEN] = option(factory=dict)
    surplus: list[Text] = option(factory=list)
    """Further types that environment variables left beside it. Not an error to read, but to start with."""


class Middleware(Section):
    name: Text = ""
    disabled: Flag = False
    options: Annotated[dict[str, Untyped], HIDDEN] = option(factory=dict)


class Configuration(Section):
    """Everything an operator can say. Names are those of the file; durations are seconds."""

    version: Annotated[Text, Then(_check_version)] = "0.1"
    log: Log = option(factory=Log)
    loglevel: Level | None = None
    """Of old for `log.level`; always None once read."""
    storage: Storage
    auth: Auth = option(factory=Auth)
    access: AccessControl = option(factory=AccessControl)
    tokenservice: TokenServer = option(factory=TokenServer)
    middleware: Lists[Middleware] = option(factory=dict)
    http: Http = option(factory=Http)
    notifications: Notifications = option(factory=Notifications)
    redis: Redis = option(factory=Redis)
    health: Health = option(factory=Health)
    catalog: Catalog = option(factory=Catalog)
    tags: Tags = option(factory=Tags)
    proxy: Proxy = option(factory=Proxy)
    upstreams: list[Upstream] = option(factory=list)
    validation: Validation = option(factory=Validation)
    policy: Policy = option(factory=Policy)
    retention: Retention = option(factory=Retention)
    immutable: list[ImmutableTags] = option(factory=list)

    def settle(self) -> None:
        if self.loglevel is not None:
            if "level" not in self.log.given:
                self.log.level = self.loglevel
            self.loglevel = None
