"""The composition root: from a configuration to a running application, in one straight line.

The only place that knows the adapters. Those with dependencies of their own are imported when they are chosen.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import replace

from lading.api.app import Application
from lading.api.service import Limits, Service
from lading.api.state import StateTokens
from lading.api.urls import Urls, configured_root
from lading.compose.error import BuildError
from lading.config.models.configuration import Configuration
from lading.config.models.storage import FilesystemParameters
from lading.operations.accesslog import AccessLog
from lading.operations.housekeeping import Housekeeping, Purging
from lading.registry.ports import Storage
from lading.registry.registry import Registry
from lading.registry.validation import Rules
from lading.server import builtin, listening
from lading.server.listener import DRAIN_SECONDS, Listener, Role
from lading.storage.filesystem import FilesystemStorage
from lading.storage.memory import MemoryStorage

Workers = Callable[[Callable[[], listening.Application], Listener, int], dict[str, Role]]

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


def _filesystem(configuration: Configuration) -> Storage:
    parameters = FilesystemParameters.model_validate(configuration.storage.parameters)
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


def processes(configuration: Configuration, workers: int | None) -> dict[str, Role]:
    """What each process of the registry is to run. `workers` None means one per CPU where storage can be shared.

    Raises `BuildError`, `ServerError`.
    """
    shared = storage(configuration)
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if shared.traits.shared else 1
    if not shared.traits.shared and workers > 1:
        raise BuildError(f"--workers: storage {shared.name} serves one process only")
    # What is not UTF-8 in the environment is kept byte for byte.
    secret = configuration.http.secret.encode("utf-8", "surrogateescape") or secrets.token_bytes(32)
    load = functools.partial(application, configuration, secret)
    where = listener(configuration)
    headers(configuration)
    if guarded(configuration):
        from lading.compose import auth  # noqa: PLC0415  only where somebody is asked who they are

        auth.prepare(configuration)
    serving = _workers_of(where)(load, where, workers)
    if shared.traits.shared and (chores := purging(configuration)) is not None:
        serving["housekeeping"] = Role(functools.partial(keep_house, configuration, chores))
    return serving


def _workers_of(
    where: Listener,
) -> Callable[[Callable[[], listening.Application], Listener, int], dict[str, Role]]:
    if where.http2:
        from lading.server import granian  # noqa: PLC0415  a second dependency that takes long to import

        return granian.workers
    return builtin.workers


def application(configuration: Configuration, secret: bytes) -> Application:
    """Raises `BuildError`. `secret` signs the URLs of uploads and is the same in all processes."""
    access_log = None if configuration.log.accesslog.disabled else AccessLog()
    made = service(configuration, storage(configuration), secret)
    if guarded(configuration):
        from lading.compose import auth  # noqa: PLC0415  only where somebody is asked who they are

        authorizer, pages = auth.authorizer(configuration), auth.pages(configuration)
        made = replace(made, authorizer=authorizer, pages=pages)
    return Application(made, access_log)


def token_server(configuration: Configuration, workers: int | None) -> dict[str, Role]:
    """What each process of a token service alone is to run. Raises `BuildError`, `ServerError`."""
    from lading.compose import auth, tokens  # noqa: PLC0415  only for this command

    if not configuration.tokenservice.issuer:
        raise BuildError("tokenservice.issuer: is needed by a token server")
    auth.prepare_tokens(configuration)
    where = listener(configuration)
    load = functools.partial(tokens.application, configuration)
    return _workers_of(where)(load, where, workers or 1)


def rotate_keys(configuration: Configuration) -> str:
    """Make a new key for tokens; returns its id. Raises `BuildError`."""
    from lading.compose import tokens  # noqa: PLC0415  only for this command

    try:
        return tokens.key_store(configuration).rotate().kid
    except OSError as error:
        raise BuildError(f"tokenservice.keys: {error.strerror}") from None


def guarded(configuration: Configuration) -> bool:
    """Somebody is asked who they are, or may sign in here for elsewhere."""
    return configuration.auth.type.lower() not in {"", "none"} or bool(configuration.tokenservice.issuer)


def keep_house(configuration: Configuration, chores: Purging) -> int:
    """Run until SIGTERM."""
    asyncio.run(Housekeeping(storage(configuration), chores).run())
    return 0


def storage(configuration: Configuration) -> Storage:
    driver = configuration.storage.driver
    if driver not in DRIVERS:
        raise BuildError(f"storage: StorageDriver not registered: {driver}; known are {', '.join(DRIVERS)}")
    return DRIVERS[driver](configuration)


def service(configuration: Configuration, storage: Storage, secret: bytes) -> Service:
    http = configuration.http
    return Service(
        registry=Registry.over(
            storage,
            rules=rules(configuration),
            tag_concurrency=configuration.storage.tag.concurrencylimit or os.cpu_count() or 1,
        ),
        states=StateTokens(secret),
        urls=Urls(configured_root(http.host), http.relativeurls),
        limits=Limits(catalog_max=configuration.catalog.maxentries, tags_max=configuration.tags.maxtags),
        prefix=http.prefix.rstrip("/"),
        deletes=configuration.storage.delete.enabled,
        read_only=configuration.storage.maintenance.readonly.enabled,
        redirects=not configuration.storage.redirect.disable,
        headers=headers(configuration),
    )


def headers(configuration: Configuration) -> tuple[tuple[bytes, bytes], ...]:
    """`http.headers`, as they are added to answers. Raises `BuildError` for what no header can be."""
    made = []
    for name, values in configuration.http.headers.items():
        for value in values:
            if _HEADER_NAME.fullmatch(name) is None or _HEADER_VALUE.fullmatch(value) is None:
                raise BuildError(
                    f"http.headers: {name!r} is not a header name, or its value has control characters"
                )
            made.append((name.lower().encode("ascii"), value.encode("utf-8")))
    return tuple(made)


def rules(configuration: Configuration) -> Rules:
    validation = configuration.validation
    classes = frozenset(configuration.policy.repository.classes)
    if not validation.active:
        return Rules(check_sizes=False, url_allow=None, platforms=None, classes=classes)
    urls, indexes = validation.manifests.urls, validation.manifests.indexes
    listed = {(platform.os, platform.architecture) for platform in indexes.platformlist}
    required = {"all": frozenset[tuple[str, str]](), "none": None, "list": frozenset(listed)}
    return Rules(
        # With only a deny list, what it does not name is allowed; with neither, nothing is.
        url_allow=None if urls.deny and not urls.allow else tuple(map(re.compile, urls.allow)),
        url_deny=tuple(map(re.compile, urls.deny)),
        platforms=required[indexes.platforms],
        classes=classes,
    )


def purging(configuration: Configuration) -> Purging | None:
    section = configuration.storage.maintenance.uploadpurging
    return Purging(section.age, section.interval, section.dryrun) if section.enabled else None


def listener(configuration: Configuration) -> Listener:
    http = configuration.http
    tls = http.tls
    if http.net == "unix" and not http.addr:
        raise BuildError("http.addr: the path of the unix socket is needed")
    if http.draintimeout < 0:
        raise BuildError("http.draintimeout: must not be negative")
    if not http.host.isascii():
        raise BuildError("http.host: must be ASCII; an international name goes in its xn-- form")
    where = Listener(socket_path=http.addr) if http.net == "unix" else _tcp_listener(http.addr)
    return Listener(
        address=where.address,
        port=where.port,
        socket_path=where.socket_path,
        certificate=tls.certificate,
        key=tls.key,
        client_ca=tls.clientcas[0] if tls.clientcas else "",
        minimum_tls=tls.minimumtls,
        http2=not http.http2.disabled if tls.certificate else http.h2c.enabled,
        drain=http.draintimeout or DRAIN_SECONDS,
    )


def _tcp_listener(address: str) -> Listener:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise BuildError(f"http.addr: {address!r} is not host:port")
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104
        return Listener(everywhere, int(port))
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise BuildError(f"http.addr: cannot resolve {host!r}: {error}") from error
    return Listener(str(found[0][4][0]), int(port))
