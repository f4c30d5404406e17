"""`health`, `notifications` and `proxy`: what the registry watches, tells, and pulls through."""

from __future__ import annotations

from typing import Annotated

from lading.config.models.section import HIDDEN, Section, Segment, Then, option
from lading.config.models.values import Duration, Flag, Integer, Lists, Secret, Text, nonzero_or, positive_or

Interval = Annotated[Duration, Then(positive_or(10.0))]


class StorageDriverCheck(Section):
    enabled: Flag = False
    interval: Interval = 10.0
    threshold: Integer = 0


class FileCheck(Section):
    """Unhealthy while the file exists."""

    file: Text = ""
    interval: Interval = 10.0
    threshold: Integer = 0


class HttpCheck(Section):
    """`timeout` 0 is none."""

    uri: Text = ""
    headers: Annotated[Lists[Text], HIDDEN] = option(factory=dict)
    statuscode: Annotated[Integer, Then(nonzero_or(200))] = 200
    timeout: Duration = 0.0
    interval: Interval = 10.0
    threshold: Integer = 0


class TcpCheck(Section):
    """`timeout` 0 is none."""

    addr: Text = ""
    timeout: Duration = 0.0
    interval: Interval = 10.0
    threshold: Integer = 0


class Health(Section):
    """A threshold of n is n failures in a row; 0 or less lets every result count."""

    storagedriver: StorageDriverCheck = option(factory=StorageDriverCheck)
    file: Annotated[list[FileCheck], Segment("FILECHECKERS")] = option(factory=list)
    http: Annotated[list[HttpCheck], Segment("HTTPCHECKERS")] = option(factory=list)
    tcp: Annotated[list[TcpCheck], Segment("TCPCHECKERS")] = option(factory=list)


class Events(Section):
    includereferences: Flag = False


class Ignore(Section):
    mediatypes: list[Text] = option(factory=list)
    actions: list[Text] = option(factory=list)


class Endpoint(Section):
    """A webhook. An event that matches `ignoredmediatypes` (the older key) or `ignore` is not sent."""

    name: Text = ""
    disabled: Flag = False
    url: Text = ""
    headers: Annotated[Lists[Text], HIDDEN] = option(factory=dict)
    timeout: Annotated[Duration, Then(positive_or(1.0))] = 1.0
    threshold: Annotated[Integer, Then(positive_or(10))] = 10
    backoff: Annotated[Duration, Then(positive_or(1.0))] = 1.0
    ignoredmediatypes: list[Text] = option(factory=list)
    ignore: Ignore = option(factory=Ignore)


class Notifications(Section):
    events: Annotated[Events, Segment("EVENTCONFIG")] = option(factory=Events)
    endpoints: list[Endpoint] = option(factory=list)


class Exec(Section):
    """A docker credential helper. `lifetime`: None keeps the first answer, 0 asks for every request."""

    command: Text = ""
    lifetime: Duration | None = None


class Proxy(Section):
    """A pull-through cache once it has a `remoteurl`. `ttl` of 0 or less is for ever."""

    remoteurl: Text = ""
    username: Text = ""
    password: Secret = ""
    exec: Exec = option(factory=Exec)
    ttl: Duration = 168 * 3600.0
    cachewritetimeout: Annotated[Duration, Then(positive_or(300.0))] = 300.0
