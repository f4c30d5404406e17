"""The composition of notifications: from their section to a port for the registry, and to what delivers."""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import sqlite3
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lading import __version__
from lading.compose.error import BuildError
from lading.config.models.configuration import Configuration
from lading.config.models.http import split_address
from lading.notify.delivery import Delivery, Endpoint
from lading.notify.journal import FILE, Journal
from lading.notify.recording import Recorder
from lading.oci.urls import shown
from lading.operations import catalogue
from lading.operations.figures import Figures
from lading.operations.housekeeping import Chore

log = logging.getLogger(__name__)

BESIDE_DATA = "lading/notifications"
"""Below the root directory of the filesystem driver, where no key of the registry is."""


def endpoints(configuration: Configuration) -> list[Endpoint]:
    """Those that are sent to."""
    return [
        Endpoint(
            section.name or shown(section.url),
            section.url,
            section.headers,
            section.timeout,
            section.threshold,
            section.backoff,
            frozenset([*section.ignoredmediatypes, *section.ignore.mediatypes]),
            frozenset(section.ignore.actions),
            section.secret,
            section.format == "cloudevents",
        )
        for section in configuration.notifications.endpoints
        if not section.disabled
    ]


def place(configuration: Configuration) -> Path | None:
    """The directory of the journal, None where it would be one for a single run."""
    if configuration.notifications.journal.directory:
        return Path(configuration.notifications.journal.directory)
    root = configuration.storage.parameters.get("rootdirectory")
    return Path(str(root)) / BESIDE_DATA if root and configuration.storage.driver == "filesystem" else None


def prepare(configuration: Configuration) -> None:
    """Make the journal, and say in `configuration` where it is. Raises `BuildError`."""
    for section in configuration.notifications.endpoints:
        if section.disabled:
            log.info("endpoint %s disabled, skipping", section.name)
    directory = place(configuration)
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="lading-notifications-"))
        log.warning(
            "notifications.journal.directory: is not set, events wait in %s: "
            "those not delivered when the registry ends are lost",
            directory,
        )
    configuration.notifications.journal.directory = str(directory)
    listeners = endpoints(configuration)
    for endpoint in listeners:
        log.info(
            "configuring endpoint %s (%s), timeout=%gs, headers=%s",
            *(endpoint.name, shown(endpoint.url), endpoint.timeout, sorted(endpoint.headers)),
        )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        journal = open_journal(configuration, directory, durable=True)
        journal.prepare([endpoint.name for endpoint in listeners])
        journal.close()
    except (OSError, sqlite3.Error) as error:
        raise BuildError(f"notifications.journal.directory: {directory}: {error}") from None


def exists(directory: Path) -> bool:
    return (directory / FILE).is_file()


def open_journal(configuration: Configuration, directory: Path, *, durable: bool) -> Journal:
    return Journal(directory, configuration.notifications.journal.maxevents, durable=durable)


def events(configuration: Configuration, figures: Figures | None) -> Recorder:
    """For this process."""
    section = configuration.notifications
    listeners = endpoints(configuration)
    # A handful of pairs: clients do not choose media types freely.
    wanted = functools.lru_cache(1024)(
        lambda media_type, action: any(endpoint.wants(media_type, action) for endpoint in listeners)
    )

    def dropped(number: int) -> None:
        if figures is not None and number:
            figures.count(catalogue.EVENTS_DROPPED, (), number)

    journal = open_journal(configuration, Path(section.journal.directory), durable=True)
    return Recorder(journal, _source(configuration), wanted, dropped, references=section.events.includereferences)


def _source(configuration: Configuration) -> dict[str, str]:
    host = socket.gethostname()
    with contextlib.suppress(ValueError):
        host = f"{host}:{split_address(configuration.http.addr)[1]}"
    return {"addr": host, "instanceID": str(uuid.uuid4())}


@dataclass(frozen=True, slots=True)
class _Count:
    figures: Figures | None

    def happened(self, kind: str, endpoint: str) -> None:
        if self.figures is not None:
            self.figures.count(catalogue.EVENTS, (endpoint, kind))

    def answered(self, code: str, endpoint: str) -> None:
        if self.figures is not None:
            self.figures.count(catalogue.EVENT_STATUSES, (code, endpoint))

    def pending(self, number: int, endpoint: str) -> None:
        if self.figures is not None:
            self.figures.set(catalogue.EVENTS_PENDING, (endpoint,), number)


def chores(configuration: Configuration, figures: Figures | None) -> Sequence[Chore]:
    """What delivers, for the housekeeping process."""
    directory = Path(configuration.notifications.journal.directory)
    count, agent = _Count(figures), f"lading/{__version__}"
    return [
        Delivery(open_journal(configuration, directory, durable=False), endpoint, count, agent).run
        for endpoint in endpoints(configuration)
    ]
