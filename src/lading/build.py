"""The composition root: from a configuration to a running application, in one straight line.

The only place that knows the adapters. Those with dependencies of their own are imported when they are chosen.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import os
import re
import secrets
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lading import oversight
from lading.api.app import Application
from lading.api.service import Gate, Limits, Service
from lading.api.state import StateTokens
from lading.api.urls import Urls, configured_root
from lading.compose import maintenance, retention, trust
from lading.compose.error import BuildError
from lading.compose.storage import abort_older, ask, driver, storage
from lading.config import variables
from lading.config.activation import NOT_PASSED, Activation
from lading.config.models.configuration import Configuration
from lading.config.models.http import split_address
from lading.operations import housekeeping, logging
from lading.operations.accesslog import AccessLog
from lading.operations.figures import Figures
from lading.operations.housekeeping import Chore, Purging
from lading.oversight import Oversight
from lading.registry.collecting import Collecting, Collector
from lading.registry.ports import Descriptors, Storage
from lading.registry.registry import Registry
from lading.registry.retaining import Retainer
from lading.registry.validation import Rules
from lading.server import builtin
from lading.server.issued import prepare
from lading.server.listener import DRAIN_SECONDS, Acme, Listener, Role, Tls
from lading.server.listening import Application as Serving
from lading.server.proxies import Proxies
from lading.server.reloading import Reload

if TYPE_CHECKING:
    from lading.redis import RedisDescriptors

_HOST_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


def configure_log(configuration: Configuration) -> None:
    """What is logged from here on goes where, and in the form, that the configuration says."""
    section = configuration.log
    formatter = section.formatter or "text"
    logging.configure(
        logging.Settings(section.level, formatter, section.fields, section.reportcaller, colour=variables.colour())
    )
    logging.log.debug('using "%s" logging formatter', formatter)


def processes(
    configuration: Configuration, where: Listener, debug: Listener | None, workers: int | None
) -> dict[str, Role]:
    """What each process of the registry is to run; `where` is from `listener`, `debug` from `debug_listener`.

    `workers` None means one per CPU where storage can be shared.

    Raises `BuildError`, `ServerError`.
    """
    shared = storage(configuration)
    ask(driver(configuration))
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if shared.traits.shared else 1
    if not shared.traits.shared and workers > 1:
        raise BuildError(f"--workers: storage {shared.name} serves one process only")
    # What is not UTF-8 in the environment is kept byte for byte.
    secret = configuration.http.secret.encode("utf-8", "surrogateescape") or secrets.token_bytes(32)
    if guarded(configuration):
        from lading.compose import auth  # noqa: PLC0415  only where somebody is asked who they are

        auth.prepare(configuration)
    if cached(configuration):
        from lading.compose import descriptors  # noqa: PLC0415  needs the extra

        descriptors.prepare()
    trust.prepare()
    overseen = oversight.prepare(configuration, debug, workers)
    traces = oversight.traces()
    at_end: list[Callable[[], None]] = []
    reload = Reload()
    load = functools.partial(application, configuration, secret, overseen, traces, at_end, reload)
    serving = _workers(load, where, workers, reload, configuration, at_end)
    purges = maintenance.purging(configuration) if shared.traits.shared else None
    if pulling(configuration):
        from lading.compose import proxy  # noqa: PLC0415  what it needs takes long to import

        proxy.sources(configuration)
    if configuration.notifications.active:
        from lading.compose import notify  # noqa: PLC0415  what it needs takes long to import

        notify.prepare(configuration)
    collects = maintenance.collecting(configuration)
    if collects is not None and not shared.traits.shared:
        key = "storage.maintenance.garbagecollection.enabled"
        raise BuildError(f"{key}: only one process sees what {shared.name} holds")
    retains = retention.scheduled(configuration)
    if retains is not None and not shared.traits.shared:
        raise BuildError(f"retention.enabled: only one process sees what {shared.name} holds")
    reasons = (purges, overseen, retains)
    busy = any(reason is not None for reason in reasons) or configuration.notifications.active
    if busy or (pulling(configuration) and shared.traits.shared):
        work = functools.partial(keep_house, configuration, purges, overseen)
        serving["housekeeping"] = Role(work, None if overseen is None else overseen.debug)
    if collects is not None:
        serving["collecting"] = Role(functools.partial(collect_garbage, configuration, collects, overseen))
    if where.tls is not None and where.tls.acme is not None and where.tls.acme.hosts:
        serving["certificates"] = Role(functools.partial(have_issued, where.tls.acme))
    return serving


def token_server(configuration: Configuration, where: Listener, workers: int) -> dict[str, Role]:
    """What each process of a token service alone is to run. Raises `BuildError`, `ServerError`."""
    from lading.compose import auth  # noqa: PLC0415  only for this command

    if not configuration.tokenservice.issuer:
        raise BuildError("tokenservice.issuer: is needed by a token server")
    if configuration.http.debug.addr:
        raise BuildError("http.debug.addr: a token server has no debug listener")
    if any(not hook.disabled for hook in configuration.log.hooks):
        raise BuildError("log.hooks: a token server mails no log entries")
    auth.prepare_tokens(configuration)
    traces = oversight.traces()
    at_end: list[Callable[[], None]] = []
    reload = Reload()
    load = functools.partial(_token_pages, configuration, traces, at_end, reload)
    return _workers(load, where, workers, reload, configuration, at_end)


def _token_pages(
    configuration: Configuration, traces: str, at_end: list[Callable[[], None]], reload: Reload
) -> Serving:
    from lading.compose import auth, tokens  # noqa: PLC0415  only for this command

    made = tokens.application(configuration)
    reload.register("accounts and keys", auth.reload)
    tracing = oversight.tracing(traces)
    if tracing is None:
        return made
    at_end.append(tracing.close)
    return tracing.application(made)


def _workers(
    load: Callable[[], Serving],
    where: Listener,
    count: int,
    reload: Reload,
    configuration: Configuration,
    at_end: list[Callable[[], None]],
) -> dict[str, Role]:
    if where.tls is not None and where.tls.acme is not None:
        prepare(where.tls.acme)
    roles = builtin.workers(load, where, count, reload, proxies(configuration))
    return {
        name: Role(functools.partial(_work, role.work, at_end), role.listening) for name, role in roles.items()
    }


def _work(work: Callable[[], int], at_end: list[Callable[[], None]]) -> int:
    """What the application put on `at_end` in this process is done when the work is."""
    try:
        return work()
    finally:
        for finish in at_end:
            finish()


def application(
    configuration: Configuration,
    secret: bytes,
    overseen: Oversight | None,
    traces: str,
    at_end: list[Callable[[], None]],
    reload: Reload,
) -> Serving:
    """Raises `BuildError`. `secret` signs the URLs of uploads and is the same in all processes.

    `overseen` tells where the housekeeping process is met, if it wants to know of this one; `traces` is the name
    of an exporter, if there is one. `at_end` is given what is to be done when the server has ended, `reload`
    what is to be read again on SIGHUP.
    """
    access_log = None if configuration.log.accesslog.disabled else AccessLog()
    figures = oversight.figures(configuration, overseen)
    tracing = oversight.tracing(traces)
    if tracing is not None:
        at_end.append(tracing.close)
    watch = functools.partial(oversight.watched, counting=figures, tracing=tracing)
    made_storage = storage(configuration, watch, serving=True, beside=_run_here)
    known = shared_descriptors(configuration, made_storage, figures)
    serving = service(configuration, made_storage, secret, figures, known)
    if pulling(configuration) and not made_storage.traits.shared:
        from lading.compose import proxy  # noqa: PLC0415  what it needs takes long to import

        _run_here(proxy.expiry(configuration, made_storage, known).run())
    if figures is not None:
        oversight.follow(figures, serving.registry, known)
    if guarded(configuration):
        from lading.compose import auth  # noqa: PLC0415  only where somebody is asked who they are

        serving = replace(serving, authorizer=auth.authorizer(configuration), pages=auth.pages(configuration))
        reload.register("accounts and keys", auth.reload)
    if configuration.notifications.active:
        from lading.compose import notify  # noqa: PLC0415  what it needs takes long to import

        recorder = notify.events(configuration, figures)
        at_end.append(recorder.close)
        serving = replace(serving, events=recorder)
    if overseen is not None:
        oversight.enlist(overseen.address, figures, functools.partial(_tell, serving.gate))
    made = Application(serving, access_log, figures)
    return made if tracing is None else tracing.application(made)


def shared_descriptors(
    configuration: Configuration, storage: Storage, figures: Figures | None = None
) -> RedisDescriptors | None:
    """To be called where the event loop runs, or is set: there it works."""
    if not cached(configuration):
        return None
    from lading.compose import descriptors  # noqa: PLC0415  needs the extra

    made = descriptors.descriptors(configuration, storage, figures)
    _run_here(made.run())
    return made


def _run_here(chore: Coroutine[Any, Any, None]) -> None:
    """Beside the requests of this process."""
    _here.add(asyncio.get_event_loop().create_task(chore))


_here: set[asyncio.Task[None]] = set()
"""Event loops hold on to tasks only weakly."""


def rotate_keys(configuration: Configuration) -> str:
    """Make a new key for tokens; returns its id. Raises `BuildError`."""
    from lading.compose import tokens  # noqa: PLC0415  only for this command

    try:
        return tokens.key_store(configuration).rotate().kid
    except OSError as error:
        raise BuildError(f"tokenservice.keys: {error.strerror}") from None


def pulling(configuration: Configuration) -> bool:
    """There are registries that it pulls through from."""
    return bool(configuration.proxy.remoteurl or configuration.upstreams)


def cached(configuration: Configuration) -> bool:
    """There is a cache of descriptors that is shared with others."""
    return configuration.storage.cache.blobdescriptor == "redis"


def guarded(configuration: Configuration) -> bool:
    """Somebody is asked who they are, or may sign in here for elsewhere."""
    return configuration.auth.type.lower() not in {"", "none"} or bool(configuration.tokenservice.issuer)


def _tell(gate: Gate, healthy: bool) -> None:
    gate.closed = not healthy


def keep_house(configuration: Configuration, purges: Purging | None, overseen: Oversight | None) -> int:
    """Run until SIGTERM."""

    async def run() -> None:
        figures = oversight.figures_of_house(overseen)
        watched = storage(configuration, functools.partial(oversight.watched, counting=figures))
        chores: list[Chore] = []
        if purges is not None:
            abort = functools.partial(abort_older, configuration)
            chores.append(functools.partial(housekeeping.purge_regularly, watched, purges, abort))
        events = None
        if configuration.notifications.active:
            from lading.compose import notify  # noqa: PLC0415  what it needs takes long to import

            chores += notify.chores(configuration, figures)
            events = notify.events(configuration, figures)
        retains = retention.scheduled(configuration)
        if retains is not None:
            note = functools.partial(oversight.retained, figures)
            chores.append(Retainer(watched, retains, note, events, retention.AGENT).run)
        if pulling(configuration) and watched.traits.shared:
            from lading.compose import proxy  # noqa: PLC0415  what it needs takes long to import

            known = shared_descriptors(configuration, watched, figures)
            chores.append(proxy.expiry(configuration, watched, known).run)
        if overseen is not None:
            chores += oversight.chores(configuration, overseen, watched, figures)
        try:
            await housekeeping.keep_house(chores)
        finally:
            if events is not None:
                events.close()

    asyncio.run(run())
    return 0


def collect_garbage(configuration: Configuration, rules: Collecting, overseen: Oversight | None) -> int:
    """Run until SIGTERM, in a process that has nothing else to do: it waits for all others."""

    async def run() -> None:
        figures = oversight.figures(configuration, overseen)
        watched = storage(configuration, functools.partial(oversight.watched, counting=figures))
        if overseen is not None:
            oversight.enlist(overseen.address, figures)
        # The thread that answers the housekeeping process does not.
        housekeeping.give_way()
        collector = Collector(watched, rules, functools.partial(oversight.collected, figures))
        await housekeeping.keep_house([collector.run])

    asyncio.run(run())
    return 0


def have_issued(acme: Acme) -> int:
    """Run until SIGTERM."""
    from lading.server.issuing import Issuing  # noqa: PLC0415  needs the extra

    return Issuing(acme).run()


def service(
    configuration: Configuration,
    storage: Storage,
    secret: bytes,
    figures: Figures | None = None,
    descriptors: Descriptors | None = None,
) -> Service:
    http = configuration.http
    registry = _registry(configuration, storage, figures, descriptors)
    return Service(
        registry=replace(registry, pulls=retention.pulls(configuration, storage)),
        states=StateTokens(secret),
        urls=Urls(configured_root(http.host), http.relativeurls),
        limits=Limits(catalog_max=configuration.catalog.maxentries, tags_max=configuration.tags.maxtags),
        prefix=http.prefix.rstrip("/"),
        deletes=configuration.storage.delete.enabled,
        removes=configuration.storage.delete.repositories,
        read_only=configuration.storage.maintenance.readonly.enabled,
        redirects=not configuration.storage.redirect.disable,
        headers=headers(configuration),
    )


def _registry(
    configuration: Configuration, storage: Storage, figures: Figures | None, descriptors: Descriptors | None
) -> Registry:
    made = functools.partial(Registry.over, storage)
    if pulling(configuration):
        from lading.compose import proxy  # noqa: PLC0415  what it needs takes long to import

        sources, count = proxy.sources(configuration, figures), proxy.counter(figures)
        made = functools.partial(Registry.pulling, storage, sources, count=count, spool=proxy.FileSpool)
    return made(
        rules=rules(configuration),
        tag_concurrency=configuration.storage.tag.concurrencylimit or os.cpu_count() or 1,
        descriptors=descriptors,
        immutability=retention.immutability(configuration),
        dated=retention.dated(configuration),
        trust=trust.trust(configuration, storage),
    )


def headers(configuration: Configuration) -> tuple[tuple[bytes, bytes], ...]:
    """`http.headers`, as they are added to answers."""
    return tuple(
        (name.lower().encode("ascii"), value.encode("utf-8"))
        for name, values in configuration.http.headers.items()
        for value in values
    )


def rules(configuration: Configuration) -> Rules:
    validation = configuration.validation
    classes = frozenset(configuration.policy.repository.classes)
    twice = configuration.storage.delete.repositories
    if not validation.active:
        return Rules(check_sizes=False, url_allow=None, platforms=None, classes=classes, twice=twice)
    urls, indexes = validation.manifests.urls, validation.manifests.indexes
    listed = {(platform.os, platform.architecture) for platform in indexes.platformlist}
    required = {"all": frozenset[tuple[str, str]](), "none": None, "list": frozenset(listed)}
    return Rules(
        # With only a deny list, what it does not name is allowed; with neither, nothing is.
        url_allow=None if urls.deny and not urls.allow else tuple(map(re.compile, urls.allow)),
        url_deny=tuple(map(re.compile, urls.deny)),
        platforms=required[indexes.platforms],
        classes=classes,
        twice=twice,
    )


def proxies(configuration: Configuration) -> Proxies | None:
    """None where everybody is believed about scheme and host, and nobody about the client."""
    names = configuration.http.trustedproxies
    return None if names is None else Proxies.named(names)


def listener(configuration: Configuration, passed: Activation = NOT_PASSED) -> Listener:
    """`passed` comes before what the configuration says of the address. Raises `BuildError`."""
    http = configuration.http
    tls = http.tls
    if passed.http is not None:
        where = Listener(inherited=passed.http)
    elif http.net == "unix":
        where = Listener(socket_path=http.addr, socket_mode=http.socketmode)
    else:
        where = _tcp_listener("http.addr", http.addr)
    protocols = ("http/1.1",) if http.http2.disabled else ("h2", "http/1.1")
    return replace(
        where,
        tls=Tls(
            certificate=tls.certificate,
            key=tls.key,
            client_cas=tuple(tls.clientcas),
            client_auth=tls.clientauth,
            minimum=tls.minimumtls,
            cipher_suites=tuple(tls.ciphersuites),
            protocols=protocols,
            acme=acme(configuration),
        )
        if tls.enabled
        else None,
        http2=http.h2c.enabled,
        drain=http.draintimeout or DRAIN_SECONDS,
    )


def acme(configuration: Configuration) -> Acme | None:
    """None without Let's Encrypt. Raises `BuildError`."""
    section = configuration.http.tls.letsencrypt
    if not section.cachefile:
        return None
    if importlib.util.find_spec("acme") is None:
        raise BuildError("http.tls.letsencrypt.cachefile: needs an extra: pip install 'lading[acme]'")
    hosts = tuple(dict.fromkeys(host.lower().rstrip(".") for host in section.hosts))
    for host in hosts:
        if len(host) > 253 or not all(map(_HOST_LABEL.fullmatch, host.split("."))):
            raise BuildError(f"http.tls.letsencrypt.hosts: {host!r} is not the name of a host (in ASCII, xn--…)")
    return Acme(section.cachefile, hosts, section.email, section.directoryurl or LETS_ENCRYPT)


def debug_listener(configuration: Configuration, passed: Activation = NOT_PASSED) -> Listener | None:
    """None where there is none. Raises `BuildError`."""
    if passed.debug is not None:
        return Listener(inherited=passed.debug, option="http.debug.addr")
    address = configuration.http.debug.addr
    return _tcp_listener("http.debug.addr", address) if address else None


def _tcp_listener(option: str, address: str) -> Listener:
    try:
        host, port = split_address(address)
    except ValueError as error:
        raise BuildError(f"{option}: {error}") from error
    if not host:
        everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104
        return Listener(everywhere, port, option=option)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise BuildError(f"{option}: cannot resolve {host!r}: {error}") from error
    return Listener(str(found[0][4][0]), port, option=option)
