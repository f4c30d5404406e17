"""A client of redis as the configuration asks: of one server, of a cluster, or of the master of sentinels."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.driver_info import DriverInfo
from redis.maint_notifications import MaintNotificationsConfig

Client = Any
"""`Redis` or `RedisCluster`: they have the same pipelines, and no type in common."""


@dataclass(frozen=True, slots=True)
class Options:
    """Times are in seconds; None is no limit."""

    addresses: tuple[tuple[str, int], ...] = ()
    """One is a server, several are a cluster, or sentinels if there is a `master`."""
    socket: str = ""
    """The path of a unix socket, instead of an address."""
    master: str = ""
    db: int = 0
    protocol: int = 3
    name: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    retries: int = 3
    """Further tries of a command that failed for the connection."""
    shortest_pause: float = 0.008
    longest_pause: float = 0.512
    """Between tries; 0 is none."""
    dialling: float | None = 5.0
    reading: float | None = 3.0
    writing: float | None = 3.0
    idle: float | None = 1800.0
    lifetime: float | None = None
    """After which a connection is not used again."""
    redirects: int = 3
    """Followed in a cluster."""
    identity: str | None = ""
    """Added to the name of the library; None is to keep it to oneself."""
    tls: ssl.SSLContext | None = None

    @property
    def cluster(self) -> bool:
        return len(self.addresses) > 1 and not self.master


def connect(options: Options) -> Client:
    """To be called where the event loop runs. Nothing is sent before the first command."""
    made = _cluster(options) if options.cluster else _server(options)
    if options.cluster:
        nodes = made.nodes_manager
        kind = _kind(options, nodes.connection_kwargs["connection_class"])
        nodes.connection_kwargs["connection_class"] = kind
        for node in nodes.startup_nodes.values():
            node.connection_class = kind
    else:
        made.connection_pool.connection_class = _kind(options, made.connection_pool.connection_class)
    return made


def _server(options: Options) -> Client:
    shared = _shared(options) | {
        "db": options.db,
        "retry": _retry(options),
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if options.socket:
        return Redis(unix_socket_path=options.socket, **shared | {"ssl": False})
    if not options.master:
        [(host, port)] = options.addresses
        return Redis(host=host, port=port, **shared)
    login = {"username": options.sentinel_username or None, "password": options.sentinel_password or None}
    asking = shared | login | {"db": 0}
    sentinel: Any = Sentinel(list(options.addresses), sentinel_kwargs=asking, **shared)  # type: ignore[no-untyped-call]
    for each in sentinel.sentinels:
        each.connection_pool.connection_class = _kind(options, each.connection_pool.connection_class)
    return sentinel.master_for(options.master)


def _cluster(options: Options) -> Client:
    made = RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in options.addresses],
        retry=_retry(options),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **_shared(options),
    )
    made.RedisClusterRequestTTL = options.redirects + 1
    return made


def _shared(options: Options) -> dict[str, Any]:
    name = f"redis-py-{options.identity}" if options.identity else "redis-py"
    return {
        "protocol": options.protocol,
        "client_name": options.name or None,
        "username": options.username or None,
        "password": options.password or None,
        "socket_connect_timeout": options.dialling,
        "socket_timeout": options.reading,
        "driver_info": None if options.identity is None else DriverInfo(name=name),
        "ssl": options.tls is not None,
    }


def _retry(options: Options) -> Retry:
    if not options.longest_pause:
        return Retry(NoBackoff(), options.retries)
    return Retry(ExponentialBackoff(cap=options.longest_pause, base=options.shortest_pause), options.retries)


class _Timed:
    """A limit of its own for writing, and a TLS context of our own: theirs would trust the system as well."""

    options: Options

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        if isinstance(self, SSLConnection):
            self.ssl_context.context = self.options.tls

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        sending: Any = super()
        self.socket_timeout = self.options.writing
        try:
            await sending.send_packed_command(command, check_health)
        finally:
            self.socket_timeout = self.options.reading


def _kind(options: Options, of: type) -> type:
    return type(of.__name__, (_Timed, of), {"options": options})
