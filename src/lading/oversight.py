"""The composition of what operators watch a registry by: figures, health checks, the debug listener.

All of it runs in the housekeeping process; workers count, and answer when they are asked. Where nothing of it is
configured, nothing of it is there.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lading.api.routes import Endpoint
from lading.config import variables
from lading.config.models.configuration import Configuration
from lading.config.models.http import split_address
from lading.config.problems import ConfigurationError
from lading.config.show import masked
from lading.oci.urls import shown
from lading.operations import agent, catalogue, health, mail
from lading.operations.agent import Agent, Respondent
from lading.operations.collector import Collector
from lading.operations.figures import Figures
from lading.operations.health import Check, Checks
from lading.operations.housekeeping import Chore
from lading.operations.watched import Stopwatch, WatchedStorage
from lading.registry.collecting import Round
from lading.registry.ports import Storage
from lading.registry.registry import Registry
from lading.registry.retaining import Round as Retained
from lading.server import builtin
from lading.server.listener import Listener, address_of
from lading.storage.wrappers.passing import PassingStorage

if TYPE_CHECKING:
    from lading.operations.tracing import Tracing
    from lading.redis import RedisDescriptors

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Oversight:
    """What the parent makes for it: `meeting` is where workers meet the housekeeping process, `debug` listens."""

    meeting: socket.socket
    workers: int
    debug: socket.socket | None
    mail: socket.socket | None
    """Where log entries to be mailed come out."""

    @property
    def address(self) -> bytes:
        name: bytes = self.meeting.getsockname()
        return name


def prepare(configuration: Configuration, debug: Listener | None, workers: int) -> Oversight | None:
    """None where there is nothing to oversee. Raises `ServerError`."""
    checks = configuration.health
    checked = checks.storagedriver.enabled or checks.file or checks.http or checks.tcp
    hooks = mail_hooks(configuration)
    if debug is None and configuration.http.debug.prometheus.enabled:
        log.warning("http.debug.prometheus: has no effect without http.debug.addr")
    if debug is None and not checked and not hooks:
        return None
    listening = None
    if debug is not None:
        debug.check()
        [listening] = debug.bind(1)
    return Oversight(
        agent.meeting_point(), workers, listening, _mail_line(configuration, hooks) if hooks else None
    )


def mail_hooks(configuration: Configuration) -> list[mail.Hook]:
    found = []
    for hook in configuration.log.hooks:
        if not hook.disabled:
            options = hook.options
            found.append(
                mail.Hook(
                    frozenset(mail.LEVELS[level] for level in hook.levels),
                    *split_address(options.smtp.addr),
                    sender=options.sender,
                    to=options.to,
                    username=options.smtp.username,
                    password=options.smtp.password,
                    insecure=options.smtp.insecure,
                )
            )
    return found


def _mail_line(configuration: Configuration, hooks: Sequence[mail.Hook]) -> socket.socket:
    """From here on, in this process and those it forks, entries go to the housekeeping process to be mailed."""
    into, out = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    logging.getLogger().addHandler(mail.MailHandler(into, hooks, configuration.log.fields))
    return out


def figures(configuration: Configuration, oversight: Oversight | None) -> Figures | None:
    """What this process counts with, if there is a listener that shows it."""
    if oversight is None or oversight.debug is None or not configuration.http.debug.prometheus.enabled:
        return None
    return Figures(tuple(endpoint.value for endpoint in Endpoint))


def figures_of_house(oversight: Oversight | None) -> Figures | None:
    """What the housekeeping process counts with: what it has sent is shown without metrics, too."""
    return None if oversight is None or oversight.debug is None else Figures()


class Counted(Protocol):
    """A cache that counts how often something was asked for, and was there."""

    asked: int
    hits: int


def follow(counting: Figures, registry: Registry, descriptors: RedisDescriptors | None) -> None:
    """Count what the caches of the registry are asked for."""
    caches: list[Counted] = [*registry.caches]
    if descriptors is not None:
        caches.append(descriptors)
        counting.follow(catalogue.CACHE_ERRORS, lambda: descriptors.errors)
    counting.follow(catalogue.CACHE_REQUESTS, lambda: sum(cache.asked for cache in caches))
    counting.follow(catalogue.CACHE_HITS, lambda: sum(cache.hits for cache in caches))
    storage = registry.blobs.storage
    while isinstance(storage, PassingStorage):
        for name, metric in catalogue.DISK_CACHE.items():
            if name in storage.counts:
                counting.follow(metric, functools.partial(storage.counts.__getitem__, name))
        storage = storage.inner


def watched(storage: Storage, *, counting: Figures | None, tracing: Tracing | None = None) -> Storage:
    if counting is not None:
        storage = WatchedStorage(storage, Stopwatch(counting))
    return storage if tracing is None else tracing.storage(storage)


def traces() -> str:
    """The exporter of traces that the environment asks for, if any. Raises `ConfigurationError`."""
    exporter = variables.traces_exporter()
    if exporter:
        try:
            importlib.import_module("lading.operations.tracing")
        except ImportError as error:
            what = f"OTEL_TRACES_EXPORTER: traces need pip install 'lading[otel]' ({error}); or set it to none"
            raise ConfigurationError("the environment", [what]) from error
    return exporter


def tracing(exporter: str) -> Tracing | None:
    """To be called in the process whose spans it is for."""
    if not exporter:
        return None
    from lading.operations.tracing import Tracing  # noqa: PLC0415  of an extra, and long to import

    return Tracing.to(exporter)


def enlist(address: bytes, counting: Figures | None, tell: agent.Tell | None = None) -> None:
    """Let the housekeeping process ask this one. To be called where its event loop runs, or is set.

    A worker is to `tell` whether the registry is healthy; others have nobody to tell.
    """
    Agent(address, Respondent(counting, asyncio.get_event_loop()), tell).start()


def chores(
    configuration: Configuration, oversight: Oversight, storage: Storage, counting: Figures | None
) -> Sequence[Chore]:
    """What the housekeeping process has to do; to be called where its event loop runs."""
    respondent = Respondent(counting, asyncio.get_running_loop())
    collector = Collector(oversight.meeting, respondent, oversight.workers)
    configured = _checks(configuration, storage)
    checks = Checks(configured, collector.tell)
    found: list[Chore] = [collector.serve]
    if configured:
        found.append(checks.run)
    if oversight.mail is not None:
        found.append(mail.Mailer(oversight.mail, mail_hooks(configuration), socket.gethostname()).run)
    return [*found, *_debug(configuration, oversight, collector, checks)]


def _debug(
    configuration: Configuration, oversight: Oversight, collector: Collector, checks: Checks
) -> Sequence[Chore]:
    if oversight.debug is None:
        return []
    from lading.operations.debug import DebugPages  # noqa: PLC0415  what it needs takes long to import

    prometheus = configuration.http.debug.prometheus
    path = prometheus.path if prometheus.enabled else ""
    if path:
        log.info("providing prometheus metrics on %s", path)
    log.info("debug server listening %s", address_of(oversight.debug))
    endpoints = _endpoints(configuration)
    pages = DebugPages(collector, checks.state, masked(configuration), path, endpoints)
    return [functools.partial(builtin.serve, pages, oversight.debug)]


def _endpoints(configuration: Configuration) -> list[dict[str, Any]]:
    """Of notifications, in the form of the original's page, without secrets; times are in nanoseconds."""
    return [
        {
            "name": endpoint.name or shown(endpoint.url),
            "url": shown(endpoint.url),
            "Headers": {name: ["***"] * len(values) for name, values in endpoint.headers.items()},
            "Timeout": round(endpoint.timeout * 1e9),
            "Threshold": endpoint.threshold,
            "Backoff": round(endpoint.backoff * 1e9),
            "IgnoredMediaTypes": endpoint.ignoredmediatypes or None,
            "Ignore": {
                "MediaTypes": endpoint.ignore.mediatypes or None,
                "Actions": endpoint.ignore.actions or None,
            },
        }
        for endpoint in configuration.notifications.endpoints
        if not endpoint.disabled
    ]


def _checks(configuration: Configuration, storage: Storage) -> list[Check]:
    section = configuration.health
    found = []
    if section.storagedriver.enabled:
        driver = section.storagedriver
        name, probe = f"storagedriver_{configuration.storage.driver}", health.storage_probe(storage)
        found.append(Check(name, probe, driver.interval, driver.threshold))
    for file in section.file:
        log.info("configuring file health check path=%s, interval=%d", file.file, file.interval)
        found.append(Check(file.file, health.file_probe(file.file), file.interval, file.threshold))
    for http in section.http:
        log.info(
            "configuring HTTP health check uri=%s, interval=%d, threshold=%d",
            *(shown(http.uri), http.interval, http.threshold),
        )
        asking = health.http_probe(http.uri, http.headers, http.statuscode, http.timeout)
        found.append(Check(shown(http.uri), asking, http.interval, http.threshold, http.timeout))
    for tcp in section.tcp:
        log.info(
            "configuring TCP health check addr=%s, interval=%d, threshold=%d",
            *(tcp.addr, tcp.interval, tcp.threshold),
        )
        dialling = health.tcp_probe(tcp.addr, *split_address(tcp.addr))
        found.append(Check(tcp.addr, dialling, tcp.interval, tcp.threshold, tcp.timeout))
    return found


def collected(counting: Figures | None, done: Round) -> None:
    """Note what a garbage collection has done."""
    if counting is not None:
        for what, metric in catalogue.GARBAGE.items():
            counting.count(metric, (), getattr(done, what))
        counting.set(catalogue.COLLECTED, (), int(time.time()))


def retained(counting: Figures | None, done: Retained) -> None:
    """Note what retention has done."""
    if counting is not None:
        counting.count(catalogue.RETENTION["deleted"], (), done.deleted)
        counting.set(catalogue.RETENTION["kept"], (), done.kept)
        counting.set(catalogue.RETAINED, (), int(time.time()))
