"""The storage that a configuration names: the table of drivers, and what makes each from its parameters."""

from __future__ import annotations

import os
from collections.abc import Callable

from lading.compose.error import BuildError
from lading.config.models.configuration import Configuration
from lading.config.models.storage import FilesystemParameters
from lading.registry.ports import Storage
from lading.storage.filesystem import FilesystemStorage
from lading.storage.memory import MemoryStorage


def storage(configuration: Configuration) -> Storage:
    """Raises `BuildError`."""
    driver = configuration.storage.driver
    if driver not in DRIVERS:
        raise BuildError(f"storage: StorageDriver not registered: {driver}; known are {', '.join(DRIVERS)}")
    return DRIVERS[driver](configuration)


def _filesystem(configuration: Configuration) -> Storage:
    parameters = FilesystemParameters.of(configuration.storage.parameters)
    root = parameters.rootdirectory
    if "\0" in root or (os.path.lexists(root) and not os.path.isdir(root)):
        raise BuildError(f"storage.filesystem.rootdirectory: {root!r} is not a directory")
    return FilesystemStorage(root, parameters.maxthreads)


def _memory(_: Configuration) -> Storage:
    return MemoryStorage()


DRIVERS: dict[str, Callable[[Configuration], Storage]] = {
    "filesystem": _filesystem,
    "inmemory": _memory,
}
