"""`health` and `notifications`: what the registry watches and tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

from lading.config.models.http import split_address
from lading.config.models.section import HIDDEN, Problem, Section, Segment, Then, option
from lading.config.models.values import (
    Duration,
    Flag,
    Integer,
    Lists,
    Secret,
    Text,
    nonzero_or,
    one_of,
    positive_or,
)

_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)

Format = Literal["distribution", "cloudevents"]
Interval = Annotated[Duration, Then(positive_or(10.0))]


def check_uri(uri: str) -> str:
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


class StorageDriverCheck(Section):
    enabled: Flag = False
    interval: Interval = 10.0
    threshold: Integer = 0


class FileCheck(Section):
    """Unhealthy while the file exists."""

    file: Annotated[Text, Then(_check_file)] = ""
    interval: Interval = 10.0
    threshold: Integer = 0


class HttpCheck(Section):
    """`timeout` 0 is 60 s."""

    uri: Annotated[Text, Then(check_uri)] = ""
    headers: Annotated[Lists[Text], HIDDEN] = option(factory=dict)
    statuscode: Annotated[Integer, Then(nonzero_or(200))] = 200
    timeout: Duration = 0.0
    interval: Interval = 10.0
    threshold: Integer = 0


class TcpCheck(Section):
    """`timeout` 0 is 60 s."""

    addr: Annotated[Text, Then(_check_address)] = ""
    timeout: Duration = 0.0
    interval: Interval = 10.0
    threshold: Integer = 0


class Health(Section):
    """A threshold of n is n failures in a row; 0 or less lets every result count."""

    storagedriver: StorageDriverCheck = option(factory=StorageDriverCheck)
    file: Annotated[list[FileCheck], Segment("FILECHECKERS")] = option(factory=list)
    http: Annotated[list[HttpCheck], Segment("HTTPCHECKERS")] = option(factory=list)
    tcp: Annotated[list[TcpCheck], Segment("TCPCHECKERS")] = option(factory=list)

    def complaints(self) -> Iterator[Problem]:
        names = [check.file for check in self.file]
        names += [check.uri for check in self.http] + [check.addr for check in self.tcp]
        for name in sorted({*names} - {""}):
            if names.count(name) > 1:
                yield (), f"Check already exists: {name}"


class Events(Section):
    includereferences: Flag = False


class Ignore(Section):
    mediatypes: list[Text] = option(factory=list)
    actions: list[Text] = option(factory=list)


class Endpoint(Section):
    """A webhook. An event that matches `ignoredmediatypes` (the older key) or `ignore` is not sent."""

    name: Text = ""
    disabled: Flag = False
    url: Annotated[Text, Then(check_uri)] = ""
    headers: Annotated[Lists[Text], HIDDEN] = option(factory=dict)
    timeout: Annotated[Duration, Then(positive_or(1.0))] = 1.0
    threshold: Annotated[Integer, Then(positive_or(10))] = 10
    backoff: Annotated[Duration, Then(positive_or(1.0))] = 1.0
    ignoredmediatypes: list[Text] = option(factory=list)
    ignore: Ignore = option(factory=Ignore)
    secret: Secret = ""
    format: Annotated[Format, one_of(Format, "must be distribution or cloudevents", empty="distribution")] = (
        "distribution"
    )

    def complaints(self) -> Iterator[Problem]:
        for name in self.headers:
            if _HEADER.fullmatch(name) is None:
                yield ("headers",), "has a name that no header can have"


class Journal(Section):
    directory: Text = ""
    maxevents: Annotated[Integer, Then(positive_or(1_000_000))] = 1_000_000


class Notifications(Section):
    events: Annotated[Events, Segment("EVENTCONFIG")] = option(factory=Events)
    endpoints: list[Endpoint] = option(factory=list)
    journal: Journal = option(factory=Journal)

    @property
    def active(self) -> bool:
        return any(not endpoint.disabled for endpoint in self.endpoints)
