"""The storage that a configuration names: the table of drivers, and what makes each from its parameters."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, runtime_checkable

from lading.compose.error import BuildError
from lading.config.models.configuration import Configuration
from lading.config.models.frostfs import SCHEMES, FrostfsParameters
from lading.config.models.storage import FilesystemParameters
from lading.registry.ports import Storage, StorageError
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


def _frostfs(configuration: Configuration) -> Storage:
    try:
        parameters = FrostfsParameters.of(configuration.storage.parameters)
    except ValueError as error:
        raise BuildError(f"storage.frostfs.{error}") from error
    if importlib.util.find_spec("grpc") is None:
        raise BuildError("storage.frostfs: grpcio is not installed: install lading[frostfs]")
    frostfs = importlib.import_module("lading.storage.frostfs")
    wallet = parameters.wallet
    try:
        key = frostfs.load(wallet.path, wallet.password, wallet.address)
    except frostfs.WalletError as error:
        raise BuildError(f"storage.frostfs.wallet.{error.parameter}: {error}") from error
    peers = []
    for peer in parameters.peers.values():
        scheme, _, target = peer.address.rpartition("://")
        peers.append(frostfs.Address(target, SCHEMES.get(scheme, False), peer.weight, int(peer.priority)))
    timing = frostfs.Timing(
        parameters.connection_timeout,
        parameters.request_timeout,
        parameters.rebalance_interval,
        parameters.session_expiration_duration,
    )
    made: Storage = frostfs.FrostfsStorage(key, peers, parameters.container, parameters.rpc_endpoint, timing)
    return made


DRIVERS: dict[str, Callable[[Configuration], Storage]] = {
    "filesystem": _filesystem,
    "inmemory": _memory,
    "frostfs": _frostfs,
}


@runtime_checkable
class Asking(Protocol):
    """A storage whose nodes may not be there, or not want us."""

    async def check(self) -> None:
        """Raises `StorageError`."""
        ...


def ask(made: Storage) -> None:
    """Find out, before anything is served, whether it can be. Raises `BuildError`."""
    if not isinstance(made, Asking):
        return
    problem = _in_a_process(made.check)
    if problem:
        raise BuildError(f"storage.{problem}")


def _in_a_process(check: Callable[[], Coroutine[Any, Any, None]]) -> str:
    """The `StorageError` of `check`, or nothing. In a process of its own: gRPC must not run before a fork."""
    end, begin = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(check())
        except StorageError as error:
            os.write(begin, str(error).encode())
        except BaseException as error:  # noqa: BLE001  nothing may run on in the parent's place
            os.write(begin, repr(error).encode())
        finally:
            os._exit(0)
    os.close(begin)
    with open(end, "rb") as said:
        problem = said.read().decode()
    os.waitpid(pid, 0)
    return problem
