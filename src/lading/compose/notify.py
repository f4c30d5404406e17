"""The composition of notifications: from their section to a port for the registry, and to what delivers."""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from lading import __version__
from lading.compose import descriptors, journal
from lading.config.models.configuration import Configuration
from lading.config.models.http import split_address
from lading.config.models.operations import Endpoint as Section
from lading.notify.delivery import Delivery, Endpoint
from lading.notify.journal import Interest
from lading.notify.recording import Recorder
from lading.notify.transport import Transport
from lading.notify.webhook import Target, Webhook
from lading.oci.urls import shown
from lading.operations import catalogue
from lading.operations.figures import Figures
from lading.operations.housekeeping import Chore

log = logging.getLogger(__name__)

ENTRIES_TOGETHER = 100
"""Of a stream, if the configuration does not say."""

STREAM = "notifications.endpoints[].redis.stream"

_INSTANCE = str(uuid.uuid4())
"""The same for all processes of a registry: they are forked later."""


def sections(configuration: Configuration) -> list[Section]:
    """Those of the endpoints that are sent to."""
    return [section for section in configuration.notifications.endpoints if not section.disabled]


def endpoint(section: Section) -> Endpoint:
    together = section.batch.events or (ENTRIES_TOGETHER if section.redis.stream else 1)
    return Endpoint(
        interest(section), section.threshold, section.backoff, together, section.batch.linger, section.maxattempts
    )


def interest(section: Section) -> Interest:
    return Interest(
        section.name or shown(section.url),
        frozenset([*section.ignoredmediatypes, *section.ignore.mediatypes]),
        frozenset(section.ignore.actions),
    )


def prepare(configuration: Configuration) -> None:
    """To be called before there are processes. Raises `BuildError`."""
    for section in configuration.notifications.endpoints:
        if section.disabled:
            log.info("endpoint %s disabled, skipping", section.name)
    for section in sections(configuration):
        where = f"stream {section.redis.stream}" if section.redis.stream else shown(section.url)
        log.info(
            "configuring endpoint %s (%s), timeout=%gs, headers=%s",
            *(interest(section).name, where, section.timeout, sorted(section.headers)),
        )
        if section.redis.stream:
            descriptors.options(configuration, STREAM)
    journal.prepare(configuration, [interest(section).name for section in sections(configuration)])


def events(configuration: Configuration, figures: Figures | None) -> Recorder:
    """For this process."""

    def dropped(number: int) -> None:
        if figures is not None and number:
            figures.count(catalogue.EVENTS_DROPPED, (), number)

    return Recorder(
        journal.open_journal(configuration, durable=True),
        _source(configuration),
        [interest(section) for section in sections(configuration)],
        dropped,
        references=configuration.notifications.events.includereferences,
    )


def _source(configuration: Configuration) -> dict[str, str]:
    host = socket.gethostname()
    with contextlib.suppress(ValueError):
        host = f"{host}:{split_address(configuration.http.addr)[1]}"
    return {"addr": host, "instanceID": _INSTANCE}


@dataclass(frozen=True, slots=True)
class _Count:
    figures: Figures | None

    def happened(self, kind: str, endpoint: str, events: int) -> None:
        if self.figures is not None:
            self.figures.count(catalogue.EVENTS, (endpoint, kind), events)

    def answered(self, code: str, endpoint: str, events: int) -> None:
        if self.figures is not None:
            self.figures.count(catalogue.EVENT_STATUSES, (code, endpoint), events)

    def waiting(self, pending: int, parked: int, endpoint: str) -> None:
        if self.figures is not None:
            self.figures.set(catalogue.EVENTS_PENDING, (endpoint,), pending)
            self.figures.set(catalogue.EVENTS_PARKED, (endpoint,), parked)


def chores(configuration: Configuration, figures: Figures | None) -> Sequence[Chore]:
    """What delivers, for the housekeeping process."""
    count = _Count(figures)
    return [
        Delivery(
            journal.open_journal(configuration, durable=False),
            endpoint(section),
            _transport(configuration, section),
            count,
        ).run
        for section in sections(configuration)
    ]


def _transport(configuration: Configuration, section: Section) -> Transport:
    cloudevents = section.format == "cloudevents"
    if section.redis.stream:
        chosen = descriptors.options(configuration, STREAM)
        from lading.notify.streams import Stream  # noqa: PLC0415  needs the extra
        from lading.redis import connect  # noqa: PLC0415  needs the extra

        of = section.redis
        return Stream(
            functools.partial(connect, chosen), of.stream, of.maxlen, section.timeout, cloudevents=cloudevents
        )
    target = Target(
        section.url,
        section.headers,
        section.timeout,
        section.secret,
        cloudevents=cloudevents,
        batch=section.batch.events > 1,
    )
    return Webhook(target, f"lading/{__version__}")
