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

_CONTROL = re.compile(r"[\0\r\n]")
_MAX_BATCH = 1000

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


def _check_batch(number: int) -> int:
    if not 0 <= number <= _MAX_BATCH:
        raise ValueError(f"must be a number of events, up to {_MAX_BATCH}")
    return number


def _check_count(number: int) -> int:
    if number < 0:
        raise ValueError("must not be negative")
    return number


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


class Batch(Section):
    """Up to `events` are sent together; with `linger` they wait for each other that long."""

    events: Annotated[Integer, Then(_check_batch)] = 0
    """0 is one with `url`, and 100 with `redis`."""
    linger: Duration = 0.0


class Stream(Section):
    """A stream in the redis of the `redis` section. `maxlen` of 0 is no limit."""

    stream: Text = ""
    maxlen: Annotated[Integer, Then(_check_count)] = 0


class Endpoint(Section):
    """A webhook, or a stream. What matches `ignoredmediatypes` (the older key) or `ignore` is not sent."""

    name: Text = ""
    disabled: Flag = False
    url: Annotated[Text, Then(check_uri)] = ""
    redis: Stream = option(factory=Stream)
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
    batch: Batch = option(factory=Batch)
    maxattempts: Annotated[Integer, Then(_check_count)] = 0
    """0 is no limit."""

    def complaints(self) -> Iterator[Problem]:
        for name, values in self.headers.items():
            if _HEADER.fullmatch(name) is None:
                yield ("headers",), "has a name that no header can have"
            elif any(_CONTROL.search(value) for value in values):
                yield ("headers", name), "has a value that no header can have"
        if self.redis.stream:
            for key in ("url", "headers", "secret"):
                if getattr(self, key):
                    yield (key,), "is not for an endpoint with redis.stream"


class Journal(Section):
    directory: Text = ""
    maxevents: Annotated[Integer, Then(positive_or(1_000_000))] = 1_000_000
    maxbytes: Annotated[Integer, Then(positive_or(1 << 30))] = 1 << 30


class Notifications(Section):
    events: Annotated[Events, Segment("EVENTCONFIG")] = option(factory=Events)
    endpoints: list[Endpoint] = option(factory=list)
    journal: Journal = option(factory=Journal)

    @property
    def active(self) -> bool:
        return any(not endpoint.disabled for endpoint in self.endpoints)
