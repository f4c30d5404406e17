"""The whole configuration."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from lading.config.models.access import AccessControl
from lading.config.models.http import Http
from lading.config.models.log import Level, Log
from lading.config.models.operations import Health, Notifications, Proxy
from lading.config.models.redis import Redis
from lading.config.models.rules import Catalog, Policy, Tags, Validation
from lading.config.models.storage import Storage
from lading.config.models.tokenservice import TokenServer
from lading.config.models.values import Flag, Lists, Section, Text, Untyped

_VERSION = re.compile(r"[0-9]+\.[0-9]+", re.ASCII)


def _check_version(version: str) -> str:
    if _VERSION.fullmatch(version) is None:
        raise ValueError("must be two numbers, such as 0.1")
    return version


class Auth(Section):
    """In the file the type is the key, and its value the parameters. `type` is "none" if there is none."""

    type: Text = "none"
    parameters: dict[str, Untyped] = Field(default_factory=dict, repr=False)
    surplus: list[Text] = Field(default_factory=list)
    """Further types that environment variables left beside it. Not an error to read, but to start with."""


class Middleware(Section):
    name: Text = ""
    disabled: Flag = False
    options: dict[str, Untyped] = Field(default_factory=dict, repr=False)


class Configuration(Section):
    """Everything an operator can say. Names are those of the file; durations are seconds."""

    version: Annotated[Text, AfterValidator(_check_version)] = "0.1"
    log: Log = Field(default_factory=Log)
    loglevel: Level | None = None
    """Of old for `log.level`; always None once read."""
    storage: Storage
    auth: Auth = Field(default_factory=Auth)
    access: AccessControl = Field(default_factory=AccessControl)
    tokenservice: TokenServer = Field(default_factory=TokenServer)
    middleware: Lists[Middleware] = Field(default_factory=dict)
    http: Http = Field(default_factory=Http)
    notifications: Notifications = Field(default_factory=Notifications)
    redis: Redis = Field(default_factory=Redis)
    health: Health = Field(default_factory=Health)
    catalog: Catalog = Field(default_factory=Catalog)
    tags: Tags = Field(default_factory=Tags)
    proxy: Proxy = Field(default_factory=Proxy)
    validation: Validation = Field(default_factory=Validation)
    policy: Policy = Field(default_factory=Policy)

    @model_validator(mode="after")
    def _settle_level(self) -> Configuration:
        if self.loglevel is not None:
            if "level" not in self.log.model_fields_set:
                self.log.level = self.loglevel
            self.loglevel = None
        return self
