"""The composition of the cache of descriptors in redis: from the `redis` section to its client."""

from __future__ import annotations

import importlib.util
import mmap
import ssl
from typing import TYPE_CHECKING

from lading.compose.error import BuildError
from lading.config.models.configuration import Configuration
from lading.config.models.http import split_address
from lading.config.models.redis import Redis
from lading.oci.digest import Digest
from lading.oci.names import RepositoryName
from lading.operations import catalogue
from lading.operations.figures import Figures
from lading.registry import layout
from lading.registry.ports import Storage, found

if TYPE_CHECKING:
    from lading.redis import Options, RedisDescriptors

SELECTED = "storage.cache.blobdescriptor"

_away: list[mmap.mmap] = []


def prepare() -> None:
    """To be called before there are processes: so they know of each other what was said of redis."""
    _away.append(mmap.mmap(-1, 1))


def descriptors(configuration: Configuration, storage: Storage, figures: Figures | None) -> RedisDescriptors:
    """For this process. Raises `BuildError`."""
    chosen = options(configuration)
    from lading.redis import RedisDescriptors  # noqa: PLC0415  needs the extra

    async def holds(name: RepositoryName, digest: Digest) -> bool:
        return await found(storage, layout.layer_link(name, digest)) is not None

    def observe(operation: str, seconds: float) -> None:
        if figures is not None:
            figures.observe(catalogue.CACHE_REDIS, (operation,), seconds)

    return RedisDescriptors(chosen, holds, observe, _away[-1] if _away else bytearray(1))


def options(configuration: Configuration, wanting: str = SELECTED) -> Options:
    """Of the `redis` section; `wanting` is the key that asks for it. Raises `BuildError`."""
    of = configuration.redis
    if not of.addrs:
        raise BuildError(f"{wanting}: redis is not configured: redis.addrs is not set")
    if importlib.util.find_spec("redis") is None:
        raise BuildError(f"{wanting}: redis needs an extra: pip install 'lading[redis]'")
    from lading.redis import Options  # noqa: PLC0415  needs the extra

    socket = of.addrs[0] if len(of.addrs) == 1 and of.addrs[0].startswith("/") and not of.mastername else ""
    if socket and of.tls.active:
        raise BuildError("redis.tls: is not for a unix socket")
    if of.protocol not in {2, 3}:
        raise BuildError("redis.protocol: must be 2 or 3")
    if of.db < 0:
        raise BuildError("redis.db: must not be negative")
    cluster = len(of.addrs) > 1 and not of.mastername
    redirects = max(of.maxredirects, 0)
    return Options(
        addresses=() if socket else tuple(_address(number, text) for number, text in enumerate(of.addrs)),
        socket=socket,
        master=of.mastername,
        db=of.db,
        protocol=of.protocol,
        name=of.clientname,
        username=of.username,
        password=of.password,
        sentinel_username=of.sentinelusername,
        sentinel_password=of.sentinelpassword,
        retries=max(of.maxretries or (redirects if cluster else 3), 0),
        shortest_pause=max(of.minretrybackoff, 0.0),
        longest_pause=max(of.maxretrybackoff, 0.0),
        dialling=of.dialtimeout if of.dialtimeout > 0 else None,
        reading=of.readtimeout if of.readtimeout > 0 else None,
        writing=_writing(of),
        idle=of.connmaxidletime if of.connmaxidletime > 0 else None,
        lifetime=of.connmaxlifetime if of.connmaxlifetime > 0 else None,
        redirects=redirects,
        identity=None if of.disableidentity else of.identitysuffix,
        tls=_tls(of) if of.tls.active else None,
    )


def _writing(of: Redis) -> float | None:
    seconds = of.writetimeout or of.readtimeout
    return seconds if seconds > 0 else None


def _address(number: int, text: str) -> tuple[str, int]:
    try:
        host, port = split_address(text)
    except ValueError as error:
        raise BuildError(f"redis.addrs[{number}]: {error}") from None
    return host or "localhost", port


def _tls(of: Redis) -> ssl.SSLContext:
    """With authorities of one's own, no others are believed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if of.tls.rootcas else ssl.create_default_context()
    for number, path in enumerate(of.tls.rootcas):
        try:
            context.load_verify_locations(cafile=path)
        except OSError as error:
            what = "no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
            raise BuildError(f"redis.tls.rootcas[{number}]: {path}: {what}") from None
    if of.tls.certificate and of.tls.key:
        try:
            context.load_cert_chain(of.tls.certificate, of.tls.key, password="")
        except OSError as error:
            is_ssl = isinstance(error, ssl.SSLError)
            what = "not a certificate and its key, unencrypted" if is_ssl else error.strerror
            raise BuildError(f"redis.tls.certificate: {of.tls.certificate}, {of.tls.key}: {what}") from None
    return context
