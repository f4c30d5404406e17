"""The storage that a configuration names: the table of drivers, and what makes each from its parameters."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Protocol, runtime_checkable

from lading.compose import extensions, trust
from lading.compose.error import BuildError
from lading.config import variables
from lading.config.models.azure import AzureParameters
from lading.config.models.configuration import Configuration
from lading.config.models.frostfs import SCHEMES, FrostfsParameters
from lading.config.models.gcs import GcsParameters
from lading.config.models.s3 import S3Parameters
from lading.config.models.section import Problem, Section
from lading.config.models.storage import FilesystemParameters
from lading.registry import layout
from lading.registry.ports import Storage, StorageError
from lading.registry.quarantine import SETTLE_SECONDS, Quarantine
from lading.storage.filesystem import FilesystemStorage
from lading.storage.memory import MemoryStorage
from lading.storage.wrappers.ending import EndingStorage
from lading.storage.wrappers.passing import PassingStorage
from lading.storage.wrappers.rescuing import RescuingStorage


def storage(
    configuration: Configuration,
    watch: Callable[[Storage], Storage] | None = None,
    *,
    serving: bool = False,
    beside: Callable[[Coroutine[Any, Any, None]], None] | None = None,
) -> Storage:
    """What the registry works on: the driver, with its watcher if any, and the middleware around it.

    For who is `serving`, what was collected as garbage comes back when it is asked for. `beside` runs
    what makes the first requests faster, and is not waited for. Raises `BuildError`.
    """
    made = driver(configuration)
    if beside is not None and isinstance(made, Connecting):
        beside(made.connect())
    name_of = made.object_name if isinstance(made, Named) else None
    if watch is not None:
        made = watch(made)
    if serving and made.traits.shared:
        made = RescuingStorage(
            made,
            Quarantine(made),
            is_content=layout.is_content,
            is_list=layout.lists_referrers,
            settle=SETTLE_SECONDS,
        )
    believed = trust.trust(configuration, made)
    if believed is not None:
        made = EndingStorage(made, believed.end)
    if not configuration.middleware.get("storage"):
        return made
    from lading.compose import middleware  # noqa: PLC0415  what it needs takes long to import

    return middleware.wrapped(configuration, made, name_of)


@contextlib.asynccontextmanager
async def opened(configuration: Configuration, *, serving: bool = False) -> AsyncIterator[Storage]:
    """`storage`, for a command that ends: its connections are closed afterwards. Raises `BuildError`."""
    made = storage(configuration, serving=serving)
    try:
        yield made
    finally:
        layer: Storage | None = made
        while layer is not None:
            if isinstance(layer, Closable):
                await layer.close()
            layer = layer.inner if isinstance(layer, PassingStorage) else None


def driver(configuration: Configuration) -> Storage:
    """Raises `BuildError`."""
    name = configuration.storage.driver
    if name in DRIVERS:
        return DRIVERS[name](configuration)
    factory = extensions.find(extensions.DRIVERS, name, "storage")
    if factory is None:
        known = ", ".join([*DRIVERS, *extensions.names(extensions.DRIVERS)])
        raise BuildError(
            f"storage: StorageDriver not registered: {name}; known are {known}; some need an extra, such as"
            f" pip install 'lading[s3]'; more come with distributions that have entry points of"
            f" {extensions.DRIVERS}"
        )
    return extensions.make(f"storage.{name}", factory, configuration.storage.parameters)


@runtime_checkable
class Closable(Protocol):
    """A driver, or middleware, that holds connections or files."""

    async def close(self) -> None: ...


@runtime_checkable
class Connecting(Protocol):
    """A driver whose first request would be slow: this comes before it, and never fails."""

    async def connect(self) -> None: ...


@runtime_checkable
class Named(Protocol):
    """A driver whose objects others can find in the store, by these names."""

    def object_name(self, key: str) -> str: ...


@runtime_checkable
class Aborting(Protocol):
    """A driver whose store keeps what was begun and never finished."""

    async def abort_older(self, key: str, before: float, *, dry_run: bool = False) -> int: ...

    async def close(self) -> None: ...


async def abort_older(configuration: Configuration, before: float, dry_run: bool) -> int:
    """Rid the registry's part of a store of unfinished objects that began before a time; how many there were.

    Middleware knows nothing of them, so it has a driver of its own, for this once. Raises `StorageError`.
    """
    made = driver(configuration)
    if not isinstance(made, Aborting):
        return 0
    try:
        return await made.abort_older(layout.ROOT, before, dry_run=dry_run)
    finally:
        await made.close()


def _filesystem(configuration: Configuration) -> Storage:
    parameters = FilesystemParameters.of(configuration.storage.parameters)
    root = parameters.rootdirectory
    above = "" if "\0" in root else _there(root)
    if not os.path.isdir(above):
        raise BuildError(f"storage.filesystem.rootdirectory: {above or root!r} is not a directory")
    return FilesystemStorage(root, parameters.maxthreads)


def _there(path: str) -> str:
    """The path, or the nearest above it at which there is something."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _memory(_: Configuration) -> Storage:
    return MemoryStorage()


def _s3(configuration: Configuration) -> Storage:
    _need_extra("s3", "aiobotocore")
    from lading.storage.s3 import Options, S3Storage  # noqa: PLC0415  needs the extra

    try:
        of = S3Parameters.of(configuration.storage.parameters)
    except ValueError as error:
        raise BuildError(f"storage.{configuration.storage.driver}.{error}") from None
    options = Options(
        bucket=of.bucket,
        region=of.region or "us-east-1",
        accesskey=of.accesskey,
        secretkey=of.secretkey,
        sessiontoken=of.sessiontoken,
        endpoint=of.endpoint,
        redirectendpoint=of.redirectendpoint,
        rootdirectory=of.rootdirectory,
        pathstyle=of.forcepathstyle,
        secure=of.secure,
        verify=not of.skipverify,
        v4=of.v4auth,
        encrypt=of.encrypt,
        keyid=of.keyid,
        chunksize=of.chunksize,
        equalparts=of.equalparts,
        copysize=of.multipartcopychunksize,
        copythreshold=of.multipartcopythresholdsize,
        copies=of.multipartcopymaxconcurrency,
        storageclass="" if of.storageclass == "NONE" else of.storageclass,
        useragent=of.useragent,
        acl=of.objectacl,
        dualstack=of.usedualstack,
        accelerate=of.accelerate,
        fips=of.usefipsendpoint,
        logs=of.loglevel,
    )
    return S3Storage(options, layout.UPLOADS, layout.FILES, layout.LINKS)


def _azure(configuration: Configuration) -> Storage:
    _need_extra("azure", "azure.storage.blob", "azure.identity", "aiohttp")
    from lading.storage.azure import AzureStorage  # noqa: PLC0415  needs the extra

    try:
        of = AzureParameters.of(configuration.storage.parameters)
    except ValueError as error:
        raise BuildError(f"storage.azure.{error}") from None
    return AzureStorage(
        of.accountname,
        of.container,
        of.serviceurl or f"https://{of.accountname}.blob.{of.realm}",
        {key: getattr(of.credentials, key) for key in ("type", "clientid", "tenantid", "secret")},
        key=of.accountkey if of.credentials.type == "shared_key" else "",
        realm=of.realm,
        root=of.rootdirectory,
        attempts=of.max_retries,
        pause=of.retry_delay,
        verify=not of.skipverify,
    )


def _gcs(configuration: Configuration) -> Storage:
    _need_extra("gcs", "google.auth", "requests", "aiohttp")
    from lading.storage.gcs import GcsStorage  # noqa: PLC0415  needs the extra

    try:
        of = GcsParameters.of(configuration.storage.parameters)
    except ValueError as error:
        raise BuildError(f"storage.gcs.{error}") from None
    where = "keyfile" if of.keyfile else "credentials"
    try:
        account = of.credentials or None
        if of.keyfile:
            with open(of.keyfile, encoding="utf-8") as file:
                account = json.load(file)
        return GcsStorage(
            of.bucket,
            root=of.rootdirectory,
            account=account,
            chunk=of.chunksize,
            calls=of.maxconcurrency,
            agent=of.useragent,
            emulator=variables.storage_emulator(),
        )
    except OSError as error:
        raise BuildError(f"storage.gcs.{where}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise BuildError(f"storage.gcs.{where}: is no key of a service account") from None


def _need_extra(driver: str, *modules: str) -> None:
    try:
        missing = any(importlib.util.find_spec(module) is None for module in modules)
    except ModuleNotFoundError:
        missing = True
    if missing:
        raise BuildError(f"storage.{driver}: needs an extra: pip install 'lading[{driver}]'")


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
    "azure": _azure,
    "gcs": _gcs,
    "s3": _s3,
    "s3aws": _s3,
    "frostfs": _frostfs,
}


MODELS: Mapping[str, type[Section]] = {
    "azure": AzureParameters,
    "gcs": GcsParameters,
    "frostfs": FrostfsParameters,
    "s3": S3Parameters,
    "s3aws": S3Parameters,
}
"""What reads the parameters of a driver, where loading a configuration does not."""


def mistakes(configuration: Configuration) -> list[Problem]:
    """All that cannot be read of the driver's parameters, with their keys."""
    problems: list[Problem] = []
    driver = configuration.storage.driver
    if driver in MODELS:
        MODELS[driver].read(configuration.storage.parameters, problems, ("storage", driver))
    return problems


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
