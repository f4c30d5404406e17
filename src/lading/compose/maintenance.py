"""The composition of what keeps a storage clean: from `storage.maintenance` to rules."""

from __future__ import annotations

from lading.compose.retention import pulled_through
from lading.config.models.configuration import Configuration
from lading.operations.housekeeping import Purging
from lading.registry.collecting import Collecting


def purging(configuration: Configuration) -> Purging | None:
    """None where stale uploads stay, as they do while the registry is read-only."""
    section = configuration.storage.maintenance.uploadpurging
    if not section.enabled or configuration.storage.maintenance.readonly.enabled:
        return None
    return Purging(section.age, section.interval, section.dryrun)


def collecting(configuration: Configuration) -> Collecting | None:
    """None where garbage stays, as it does while the registry is read-only. Raises `BuildError`."""
    section = configuration.storage.maintenance.garbagecollection
    if not section.enabled or configuration.storage.maintenance.readonly.enabled:
        return None
    return rules_of_collection(configuration)


def rules_of_collection(configuration: Configuration) -> Collecting:
    """Raises `BuildError`."""
    section = configuration.storage.maintenance.garbagecollection
    return Collecting(
        interval=section.interval,
        quarantine=section.quarantine,
        grace=section.grace,
        rate=section.rate,
        delete_untagged=section.deleteuntagged,
        whole=pulled_through(configuration),
    )
