"""`proxy` and `upstreams`: what is pulled through. The second is Lading's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from lading.config.models.operations import check_uri
from lading.config.models.section import Problem, Section, Then, option
from lading.config.models.values import Duration, Integer, Secret, Text, positive_or

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|{_COMPONENT})(?:/{_COMPONENT})*", re.ASCII)
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::\d{{1,5}})?", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9._*/-]+", re.ASCII)


def _check_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError("must begin the names of repositories, such as docker.io; a port cannot be part of it")
    return name


def _check_host(host: str) -> str:
    if _HOST.fullmatch(host) is None:
        raise ValueError("must be a host as clients name it, with its port unless that is the usual one")
    return host


def _check_pattern(pattern: str) -> str:
    if _PATTERN.fullmatch(pattern) is None:
        raise ValueError("must be a pattern of names, in which * is any part of a component and ** any components")
    return pattern


def _check_bytes(number: int) -> int:
    if number < 0:
        raise ValueError("must be a number of bytes, or 0")
    return number


Patterns = list[Annotated[Text, Then(_check_pattern)]]


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
    interval: Duration = 0.0
    misses: Duration = 10.0
    maxbytes: Annotated[Integer, Then(_check_bytes)] = 0


class Upstream(Section):
    """A registry whose repositories are here below `name`. `ttl` of 0 or less is for ever."""

    name: Annotated[Text, Then(_check_name)]
    remoteurl: Annotated[Text, Then(check_uri)]
    username: Text = ""
    password: Secret = ""
    exec: Exec = option(factory=Exec)
    ttl: Duration = 168 * 3600.0
    cachewritetimeout: Annotated[Duration, Then(positive_or(300.0))] = 300.0
    interval: Duration = 60.0
    misses: Duration = 10.0
    maxbytes: Annotated[Integer, Then(_check_bytes)] = 0
    hosts: list[Annotated[Text, Then(_check_host)]] = option(factory=list)
    allow: Patterns = option(factory=list)
    deny: Patterns = option(factory=list)
    private: Patterns = option(factory=list)

    def complaints(self) -> Iterator[Problem]:
        if urlsplit(self.remoteurl).path.strip("/"):
            yield ("remoteurl",), "must not have a path"
        for pattern in self.private:
            if not pattern.startswith(f"{self.name}/"):
                yield ("private",), f"{pattern} is not below {self.name}, and is private anyway"
