"""The cache of descriptors that registries share: what is written there, and that nothing depends on it."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest
from tests.servers import content
from tests.servers.content import digest_of
from tests.servers.process import Config, Registry, StartRegistry
from tests.servers.redis import Entries, Server, Servers, Starter, wait_for
from tests.servers.serving import ONE_WORKER

pytestmark = pytest.mark.peer

AWAY, BACK = "requests go on without it", "redis answers again"


def using(section: dict[str, Any], **more: Any) -> Config:
    return {"storage": {"cache": {"blobdescriptor": "redis"}}, "redis": section, **more}


def entries_of(repository: str, *blobs: bytes) -> Entries:
    """What is there once these are known, and nothing else."""
    octets = {"mediatype": "application/octet-stream"}
    found: Entries = {f"repository::{repository}::blobs": {digest_of(blob) for blob in blobs}}
    for blob in blobs:
        digest = digest_of(blob)
        found[f"repository::{repository}::blobs::{digest}"] = octets
        found[f"blobs::{digest}"] = {"digest": digest, "size": str(len(blob)), **octets}
    return found


def delete(registry: Registry, repository: str, blob: bytes) -> None:
    registry.client.request("DELETE", f"/v2/{repository}/blobs/{digest_of(blob)}").expect(202)


def head(registry: Registry, repository: str, blob: bytes) -> int:
    return registry.client.request("HEAD", f"/v2/{repository}/blobs/{digest_of(blob)}").status


def push(registry: Registry, repository: str, *blobs: bytes) -> None:
    for blob in blobs:
        registry.client.push_blob(repository, digest_of(blob), blob)


def told(registry: Registry, line: str) -> int:
    return registry.log.read_text().count(line)


def test_what_is_written_is_what_the_original_writes(
    servers: Starter, start_lading: StartRegistry, start_distribution: StartRegistry
) -> None:
    package = content.image("cached", layer_sizes=(700, 90_000))
    written = []
    for start in (start_distribution, start_lading):
        server = servers.single()
        registry = start(extra=using(server.section))
        registry.client.push("team/app", "1.0", package)
        for blob in package.blobs:
            registry.client.pull_blob("team/app", blob.digest)
        registry.client.request("POST", f"/v2/other/blobs/uploads/?mount={blob.digest}&from=team/app").expect(201)
        assert head(registry, "other", blob.data) == 200
        wait_for(lambda found=server: "repository::other::blobs" in found.entries())
        written.append(server.entries())
    [theirs, ours] = written
    # They note manifests, too, which Lading only clears.
    digest = package.manifest.digest
    theirs.pop(f"blobs::{digest}")
    theirs.pop(f"repository::team/app::blobs::{digest}")
    theirs["repository::team/app::blobs"].remove(digest)
    assert ours == theirs


KINDS = [
    Starter.single,
    Starter.user,
    Starter.password,
    Starter.tls,
    Starter.unix,
    Starter.cluster,
    Starter.sentinel,
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_of_redis(kind: Any, servers: Starter, start_lading: StartRegistry) -> None:
    found: Servers = kind(servers)
    registry = start_lading(extra=using(found.section))
    push(registry, "app", b"one", b"two", b"three")
    wait_for(lambda: found.entries() == entries_of("app", b"one", b"two", b"three"))
    for blob in (b"one", b"two", b"three"):
        delete(registry, "app", blob)
    assert found.entries() == {}
    assert told(registry, "redis:") == 0


def test_both_share_one(servers: Starter, start_lading: StartRegistry, start_distribution: StartRegistry) -> None:
    """What Lading deletes, Distribution does not serve from the cache; and what was deleted behind its back."""
    server = servers.single()
    theirs = start_distribution(extra=using(server.section))
    ours = start_lading(root=theirs.root, extra=using(server.section))
    push(theirs, "app", b"theirs", b"kept")
    assert head(ours, "app", b"theirs") == 200
    delete(ours, "app", b"theirs")
    assert head(theirs, "app", b"theirs") == 404
    assert head(theirs, "app", b"kept") == 200
    delete(theirs, "app", b"kept")
    assert head(ours, "app", b"kept") == 404
    package = content.image("deleted")
    manifest = f"/v2/image/manifests/{package.manifest.digest}"
    theirs.client.push("image", "1", package)
    assert package.manifest.digest in server.entries()["repository::image::blobs"]
    ours.client.request("DELETE", manifest).expect(202)
    assert package.manifest.digest not in server.entries()["repository::image::blobs"]
    theirs.client.get(manifest).expect(404)


@pytest.mark.parametrize("serving", [ONE_WORKER])  # each process tells of it
def test_a_lying_cache(servers: Starter, start_lading: StartRegistry) -> None:
    found = servers.single()
    registry = start_lading(extra=using(found.section))
    blob, absent = b"a blob", b"nowhere"
    lies = entries_of("app", absent) | {f"blobs::{digest_of(blob)}": {"digest": "x", "size": "9"}}
    with found.nodes[0].client(3) as client:
        for key, value in lies.items():
            client.sadd(key, *value) if isinstance(value, set) else client.hset(key, mapping=value)
        client.set(f"repository::app::blobs::{digest_of(blob)}", "of another type")
    assert head(registry, "app", absent) == 404
    push(registry, "app", blob)
    answer = registry.client.request("HEAD", f"/v2/app/blobs/{digest_of(blob)}")
    assert (answer.status, answer.header("content-length")) == (200, str(len(blob)))
    expected = entries_of("app", absent) | entries_of("app", blob)
    expected["repository::app::blobs"] = {digest_of(absent), digest_of(blob)}
    wait_for(lambda: found.entries() == expected)
    assert told(registry, "was not so: corrected") == 1


class Traffic:
    """Pushes, pulls and deletions without an end; `failed` are those that did not work, `slowest` in seconds."""

    def __init__(self, registry: Registry) -> None:
        self.rounds = 0
        self.failed: list[object] = []
        self._registry = registry
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set() and not self.failed:
            blob = b"%d" % self.rounds
            try:
                push(self._registry, "traffic", blob)
                assert head(self._registry, "traffic", blob) == 200
                delete(self._registry, "traffic", blob)
            except Exception as error:  # noqa: BLE001  whatever it is, it is told
                self.failed.append(error)
            self.rounds += 1

    def more(self, rounds: int = 5) -> None:
        until = self.rounds + rounds
        wait_for(lambda: self.rounds >= until or self.failed)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


def _die(server: Server) -> None:
    server.kill()


def _hang(server: Server) -> None:
    server.signal(signal.SIGSTOP)


def _refuse(server: Server) -> None:
    server.ask("config", "set", "maxmemory", "1")


def _return(server: Server) -> None:
    server.signal(signal.SIGCONT)
    if server.process is not None and server.process.poll() is not None:
        server.start()
    server.ask("config", "set", "maxmemory", "0")


@pytest.mark.parametrize("fail", [_die, _hang, _refuse])
def test_redis_goes_and_comes_back(fail: Any, servers: Starter, start_lading: StartRegistry) -> None:
    found = servers.single()
    [server] = found.nodes
    registry = start_lading(extra=using({**found.section, "readtimeout": "1500ms", "maxretries": -1}))
    push(registry, "app", b"stays", b"goes")
    wait_for(lambda: found.entries() == entries_of("app", b"stays", b"goes"))
    with Traffic(registry) as traffic:
        traffic.more()
        fail(server)
        wait_for(lambda: told(registry, AWAY), "nobody was told that redis is away")
        traffic.more()
        delete(registry, "app", b"goes")
        _return(server)
        wait_for(lambda: told(registry, BACK), "nobody was told that redis is back")
        traffic.more()
    assert traffic.failed == []
    assert (told(registry, AWAY), told(registry, BACK)) == (1, 1)
    wait_for(lambda: not {digest_of(b"goes")} & found.entries().get("repository::app::blobs", set()))
    assert told(registry, "Traceback") == 0


def test_another_master(servers: Starter, start_lading: StartRegistry) -> None:
    found = servers.sentinel()
    [master], replica, sentinel = found.nodes, found.replica, found.sentinel
    assert replica is not None
    assert sentinel is not None
    registry = start_lading(extra=using({**found.section, "maxretries": -1}))
    push(registry, "app", b"one")
    wait_for(lambda: replica.entries() == entries_of("app", b"one"))
    master.kill()
    wait_for(lambda: str(sentinel.ask("sentinel", "get-master-addr-by-name", "main")).count(str(replica.port)))
    delete(registry, "app", b"one")
    wait_for(lambda: replica.entries() == {})


def test_redis_need_not_be_there(servers: Starter, start_lading: StartRegistry) -> None:
    server = servers.server()
    server.kill()
    registry = start_lading(extra=using({"addrs": [server.address]}))
    push(registry, "app", b"one")
    assert head(registry, "app", b"one") == 200
    wait_for(lambda: told(registry, AWAY))
    server.start()
    wait_for(lambda: told(registry, BACK))
    assert told(registry, AWAY) == 1


def test_a_server_with_a_certificate_of_others(servers: Starter, start_lading: StartRegistry) -> None:
    found = servers.tls()
    registry = start_lading(extra=using({**found.section, "tls": {"enabled": True}}))
    wait_for(lambda: told(registry, "certificate verify failed"))
    push(registry, "app", b"one")
    assert found.entries() == {}
