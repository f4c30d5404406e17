"""redis-server: single, as a cluster of three, or watched by a sentinel. Its version is in the output."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.certificate import certificate
from tests.servers.peers import executable
from tests.servers.ports import free_port

import redis

WAIT_SECONDS = 20.0

Entries = dict[str, Any]
"""Keys, and what is there: sets and hashes."""


def wait_for(what: Callable[[], object], story: str = "what was waited for did not happen") -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not what():
        assert time.monotonic() < deadline, story
        time.sleep(0.02)


@dataclass
class Server:
    """A process, which can be stopped and started again. `options` are those of its command line."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    tls: bool = False
    password: str | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        listening = ("--port", "0", "--tls-port", str(self.port)) if self.tls else ("--port", str(self.port))
        where = ("--dir", str(self.folder), "--bind", "127.0.0.1", "--save", "", "--unixsocket", "redis.sock")
        command = [executable("redis-server"), *self.options, *listening, *where]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        wait_for(self._answers, f"redis-server does not answer: {self.folder / 'log'}")

    def _answers(self) -> bool:
        try:
            return bool(self.ask("ping"))
        except redis.exceptions.ConnectionError:
            return False

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    @contextlib.contextmanager
    def client(self, db: int = 0) -> Iterator[redis.Redis]:
        """Over the unix socket: without TLS."""
        path = str(self.folder / "redis.sock")
        with redis.Redis(unix_socket_path=path, db=db, password=self.password, decode_responses=True) as made:
            yield made

    def ask(self, *command: object) -> Any:
        with self.client() as client:
            return client.execute_command(*command)

    def entries(self, db: int = 0) -> Entries:
        """All of a database."""
        with self.client(db) as client:
            found: Entries = {}
            for key in client.keys("*"):
                kind = client.type(key)
                found[key] = client.smembers(key) if kind == "set" else kind
                if kind == "hash":
                    found[key] = client.hgetall(key)
            return found


@dataclass(frozen=True)
class Servers:
    """What a registry is to be told, and whom to ask what is there."""

    nodes: list[Server]
    section: dict[str, Any]
    replica: Server | None = None
    sentinel: Server | None = None

    def entries(self) -> Entries:
        """Of all nodes together."""
        return {k: v for node in self.nodes for k, v in node.entries(self.section.get("db", 0)).items()}


class Starter:
    """Starts servers below `folder`."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._count = itertools.count()
        program = executable("redis-server")
        print(subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout)

    def server(self, *options: str, tls: bool = False, password: str | None = None) -> Server:
        folder = self._folder / f"redis-{next(self._count)}"
        made = Server(folder, options, tls=tls, password=password)
        self._stack.callback(made.kill)
        made.start()
        return made

    def single(self) -> Servers:
        server = self.server()
        return Servers([server], {"addrs": [server.address], "db": 3})

    def user(self) -> Servers:
        """Who may do no more than what is needed; the rest is for whom the socket lets in."""
        allowed = "ping hello auth select multi exec sismember hmget hget hset sadd srem del hdel"
        rights = [*(f"+{command}" for command in allowed.split()), "+client|setname"]
        server = self.server()
        server.ask("acl", "setuser", "lading", "on", ">secret", "~blobs::*", "~repository::*", *rights)
        login = {"username": "lading", "password": "secret", "clientname": "registry"}
        return Servers([server], {"addrs": [server.address], **login})

    def password(self) -> Servers:
        server = self.server("--requirepass", "secret", password="secret")
        return Servers([server], {"addrs": [server.address], "password": "secret", "protocol": 2})

    def tls(self) -> Servers:
        files = ("--tls-cert-file", str(certificate().file), "--tls-key-file", str(certificate().key))
        server = self.server(*files, "--tls-ca-cert-file", str(certificate().file), tls=True)
        own = {"certificate": str(certificate().file), "key": str(certificate().key)}
        return Servers([server], {"addrs": [server.address], "tls": {**own, "rootcas": [own["certificate"]]}})

    def unix(self) -> Servers:
        server = self.server()
        return Servers([server], {"addrs": [str(server.folder / "redis.sock")]})

    def cluster(self) -> Servers:
        buses = [free_port() for _ in range(3)]
        nodes = [self.server("--cluster-enabled", "yes", "--cluster-port", str(bus)) for bus in buses]
        for number, node in enumerate(nodes):
            node.ask("cluster", "addslotsrange", number * 5461, 16383 if number == 2 else number * 5461 + 5460)
        for node, bus in zip(nodes[1:], buses[1:], strict=True):
            nodes[0].ask("cluster", "meet", "127.0.0.1", node.port, bus)
        wait_for(lambda: all(_whole(node.ask("cluster", "info")) for node in nodes), "the cluster is not whole")
        return Servers(nodes, {"addrs": [node.address for node in nodes]})

    def sentinel(self) -> Servers:
        master = self.server()
        replica = self.server("--replicaof", f"127.0.0.1 {master.port}")
        folder = self._folder / f"redis-{next(self._count)}"
        folder.mkdir(parents=True)
        file = folder / "sentinel.conf"
        watched = f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
        file.write_text(
            f"{watched}sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
        )
        watching = Server(folder, (str(file), "--sentinel"))
        self._stack.callback(watching.kill)
        watching.start()
        wait_for(lambda: watching.ask("sentinel", "replicas", "main"), "the sentinel does not see the replica")
        section = {"addrs": [watching.address], "mastername": "main"}
        return Servers([master], section, replica, watching)


def _whole(info: Any) -> bool:
    text = info if isinstance(info, str) else "\n".join(f"{key}:{value}" for key, value in info.items())
    return "cluster_state:ok" in text and "cluster_known_nodes:3" in text
