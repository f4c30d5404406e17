"""`health`, `notifications` and `proxy`: what the registry watches, tells, and pulls through."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from lading.config.models.http import split_address
from lading.config.models.values import (
    Duration,
    Flag,
    Integer,
    Lists,
    Secret,
    Section,
    Segment,
    Text,
    nonzero_or,
    positive_or,
)


def _check_uri(uri: str) -> str:
    parts = urlsplit(uri)
    if uri and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("must be a URL that begins with http:// or https://")
    return uri


def _check_address(address: str) -> str:
    if address:
        split_address(address)
    return address


def _check_file(path: str) -> str:
    if "\0" in path:
        raise ValueError("must be the path of a file")
    return path


Interval = Annotated[Duration, AfterValidator(positive_or(10.0))]


class StorageDriverCheck(Section):
    enabled: Flag = False
    interval: Interval = 10.0
    threshold: Integer = 0


class FileCheck(Section):
    """Unhealthy while the file exists."""

    file: Annotated[Text, AfterValidator(_check_file)] = ""
    interval: Interval = 10.0
    threshold: Integer = 0


class HttpCheck(Section):
    """`timeout` 0 is 60 s."""

    uri: Annotated[Text, AfterValidator(_check_uri)] = ""
    headers: Lists[Text] = Field(default_factory=dict, repr=False)
    statuscode: Annotated[Integer, AfterValidator(nonzero_or(200))] = 200
    timeout: Duration = 0.0
    interval: Interval = 10.0
    threshold: Integer = 0


class TcpCheck(Section):
    """`timeout` 0 is 60 s."""

    addr: Annotated[Text, AfterValidator(_check_address)] = ""
    timeout: Duration = 0.0
    interval: Interval = 10.0
    threshold: Integer = 0


class Health(Section):
    """A threshold of n is n failures in a row; 0 or less lets every result count."""

    storagedriver: StorageDriverCheck = Field(default_factory=StorageDriverCheck)
    file: Annotated[list[FileCheck], Segment("FILECHECKERS")] = Field(default_factory=list)
    http: Annotated[list[HttpCheck], Segment("HTTPCHECKERS")] = Field(default_factory=list)
    tcp: Annotated[list[TcpCheck], Segment("TCPCHECKERS")] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_check_of_a_name(self) -> Health:
        names = [check.file for check in self.file]
        names += [check.uri for check in self.http] + [check.addr for check in self.tcp]
        for name in sorted({*names} - {""}):
            if names.count(name) > 1:
                raise ValueError(f"Check already exists: {name}")
        return self


class Events(Section):
    includereferences: Flag = False


class Ignore(Section):
    mediatypes: list[Text] = Field(default_factory=list)
    actions: list[Text] = Field(default_factory=list)


class Endpoint(Section):
    """A webhook. An event that matches `ignoredmediatypes` (the older key) or `ignore` is not sent."""

    name: Text = ""
    disabled: Flag = False
    url: Text = ""
    headers: Lists[Text] = Field(default_factory=dict, repr=False)
    timeout: Annotated[Duration, AfterValidator(positive_or(1.0))] = 1.0
    threshold: Annotated[Integer, AfterValidator(positive_or(10))] = 10
    backoff: Annotated[Duration, AfterValidator(positive_or(1.0))] = 1.0
    ignoredmediatypes: list[Text] = Field(default_factory=list)
    ignore: Ignore = Field(default_factory=Ignore)


class Notifications(Section):
    events: Annotated[Events, Segment("EVENTCONFIG")] = Field(default_factory=Events)
    endpoints: list[Endpoint] = Field(default_factory=list)


class Exec(Section):
    """A docker credential helper. `lifetime`: None keeps the first answer, 0 asks for every request."""

    command: Text = ""
    lifetime: Duration | None = None


class Proxy(Section):
    """A pull-through cache once it has a `remoteurl`. `ttl` of 0 or less is for ever."""

    remoteurl: Text = ""
    username: Text = ""
    password: Secret = ""
    exec: Exec = Field(default_factory=Exec)
    ttl: Duration = 168 * 3600.0
    cachewritetimeout: Annotated[Duration, AfterValidator(positive_or(300.0))] = 300.0
