# ruff: noqa: E501  a row is one line, so that it goes as one line
"""What the schema has and this version of Lading has not, so that start-up can say so instead of ignoring it.

A row goes when its feature comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from lading.config.models.azure import AzureParameters
from lading.config.models.configuration import Configuration
from lading.config.models.gcs import GcsParameters
from lading.config.models.http import split_address
from lading.config.models.log import Hook
from lading.config.models.s3 import S3Parameters
from lading.config.models.section import Problem, Section
from lading.config.problems import Path


class Choice(NamedTuple):
    """A key that chooses by a name: those that are honoured, and what to say of another, `<x>`."""

    key: str
    chosen: Callable[[Configuration], str]
    names: tuple[str, ...]
    otherwise: str


LEVELS = frozenset({"panic", "fatal", "error", "warn", "warning", "info", "debug"})
"""What hooks may be of."""


def _auth_type(configuration: Configuration) -> str:
    """Only `none` may be written in any case."""
    name = configuration.auth.type
    return "none" if name.lower() == "none" else name


DRIVERS: dict[str, type[Section]] = {
    "s3": S3Parameters,
    "s3aws": S3Parameters,
    "azure": AzureParameters,
    "gcs": GcsParameters,
}
"""Drivers whose parameters are looked at when they are served from: a file that is only read may lack some."""

# fmt: off
CHOICES = (
    Choice("log.formatter", lambda c: c.log.formatter, ("text", "json", "logstash", ""), 'unsupported logging formatter: "<x>"'),
    Choice("auth", _auth_type, ("none", "silly", "htpasswd", "token", ""), "unable to configure authorization (<x>): no access controller registered with name: <x>"),
)
# fmt: on


def unsupported(configuration: Configuration, *, addressed: bool = False) -> Iterator[tuple[Path, str]]:
    """Why this configuration cannot be served. `addressed` if the socket to listen on is there already."""
    yield from _refused(configuration)
    if not addressed:
        yield from _unaddressed(configuration)


def _refused(configuration: Configuration) -> Iterator[tuple[Path, str]]:
    for choice in CHOICES:
        name = choice.chosen(configuration)
        if name not in choice.names:
            has = ", ".join(filter(None, choice.names))
            what = choice.otherwise.replace("<x>", name)
            yield choice.key.split("."), f"{what} (this version of Lading has: {has})"
    driver = configuration.storage.driver
    if driver in DRIVERS:
        problems: list[Problem] = []
        DRIVERS[driver].read(configuration.storage.parameters, problems, ("storage", driver))
        yield from (([str(step) for step in steps], what) for steps, what in problems)
    yield from _middleware(configuration)
    if configuration.auth.surplus:
        types = ", ".join([configuration.auth.type, *configuration.auth.surplus])
        yield ["auth"], f"more than one type in configuration or environment: {types}"
    if _auth_type(configuration) in {"none", ""} and not configuration.tokenservice.issuer:
        own = {"rules": configuration.access.rules is not None, "robots": configuration.access.robots}
        for key, is_set in own.items():
            if is_set:
                yield ["access", key], "has no effect without auth or tokenservice"
    for hook in configuration.log.hooks:
        yield from () if hook.disabled else _hook(hook)
    yield from _notifications(configuration)
    health = configuration.health
    unnamed: dict[tuple[str, str, str], list[str]] = {
        ("health", "file", "file"): [check.file for check in health.file],
        ("health", "http", "uri"): [check.uri for check in health.http],
        ("health", "tcp", "addr"): [check.addr for check in health.tcp],
    }
    for (*section, key), values in unnamed.items():
        if "" in values:
            yield section, f"{key} is not set"


def _notifications(configuration: Configuration) -> Iterator[tuple[Path, str]]:
    """What an endpoint was sent is remembered under its name, or else its URL."""
    names: set[str] = set()
    for index, endpoint in enumerate(configuration.notifications.endpoints):
        if endpoint.disabled:
            continue
        path: Path = ["notifications", "endpoints", index]
        if endpoint.redis.maxlen and not endpoint.redis.stream:
            yield [*path, "redis", "stream"], "is not set"
        elif endpoint.redis.stream:
            if not endpoint.name:
                yield [*path, "name"], "is not set"
            if not configuration.redis.addrs:
                yield [*path, "redis", "stream"], "redis is not configured: redis.addrs is not set"
        elif not endpoint.url:
            yield [*path, "url"], "is not set"
        if endpoint.name in names:
            yield [*path, "name"], f'"{endpoint.name}" is another endpoint\'s, too'
        names.add(endpoint.name)


def _middleware(configuration: Configuration) -> Iterator[tuple[Path, str]]:
    """That of the storage is looked at where it is made."""
    for point in ("registry", "repository"):
        for index, element in enumerate(configuration.middleware.get(point, [])):
            if not element.disabled:
                what = f"unable to configure {point} middleware (<x>): no {point} middleware registered with name: <x>"
                yield ["middleware", point, index, "name"], what.replace("<x>", element.name)


def _unaddressed(configuration: Configuration) -> Iterator[tuple[Path, str]]:
    if not configuration.http.addr:
        unix = configuration.http.net == "unix"
        yield (
            ["http", "addr"],
            "is not set (the path of the unix socket)" if unix else "is not set (host:port, such as :5000)",
        )


def _hook(hook: Hook) -> Iterator[tuple[Path, str]]:
    """What a hook lacks, or cannot be."""
    at: Path = ["log", "hooks"]
    if hook.type != "mail":
        yield at, f'unknown type "{hook.type}" (this version of Lading has: mail)'
        return
    for level in hook.levels:
        if level not in LEVELS:
            yield at, f'levels: unknown level "{level}"'
    options = hook.options
    given = {"levels": hook.levels, "options.from": options.sender, "options.to": options.to}
    for key, value in given.items():
        if not value:
            yield at, f"{key} is not set"
    if any(not address.isprintable() for address in [options.sender, *options.to]):
        yield at, "options: an address has control characters"
    try:
        split_address(options.smtp.addr)
    except ValueError as error:
        yield at, f"options.smtp.addr: invalid Mail Address: {error}"
