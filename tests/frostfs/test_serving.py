"""A registry on FrostFS storage, from its start to real clients; the nodes are stand-ins."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.faults.node import eventually
from tests.frostfs.cluster import Cluster
from tests.frostfs.store import PRIVATE
from tests.servers import content, layouts, process
from tests.servers.peers import Peer
from tests.servers.process import StartRegistry
from tests.servers.serving import ONE_WORKER

from lading.testing.storage.trial import noise

TO_PLAIN = ("--insecure-policy", "copy", "--dest-tls-verify=false")


MOST_OF_A_PUSH, MOST_OF_A_PULL = 75, 12
"""Requests to nodes, of an image of three blobs."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(nodes=2)
    yield cluster
    cluster.end()


@pytest.fixture
def settings(cluster: Cluster, tmp_path: Path) -> dict[str, Any]:
    return {"storage": {"filesystem": None, "frostfs": cluster.parameters(tmp_path), "delete": {"enabled": True}}}


@pytest.mark.peer
@pytest.mark.timeout(90)
def test_crane_and_skopeo(
    start_lading: StartRegistry,
    settings: dict[str, Any],
    peer: Callable[[str], Peer],
    tmp_path: Path,
    cluster: Cluster,
) -> None:
    lading = start_lading(extra=settings)
    crane, skopeo = peer("crane"), peer("skopeo")
    package = content.multi_arch("many")
    layout = layouts.write(tmp_path / "in", {"1.0": package})
    crane("push", "--index", layout, f"{lading.host}/team/app:1.0")
    crane("copy", f"{lading.host}/team/app:1.0", f"{lading.host}/other/app:copy")
    crane("pull", "--format=oci", f"{lading.host}/other/app:copy", tmp_path / "out")
    assert package.everything().items() <= layouts.read(tmp_path / "out").items()
    skopeo(*TO_PLAIN, "--all", f"oci:{layout}:1.0", f"docker://{lading.host}/team/app:2.0")
    assert lading.client.pull("team/app", "2.0") == package.everything()
    assert sorted(lading.client.catalog()) == ["other/app", "team/app"]
    assert sorted(crane("ls", f"{lading.host}/team/app").split()) == ["1.0", "2.0"]
    skopeo("delete", "--tls-verify=false", f"docker://{lading.host}/team/app:2.0")
    lading.client.get("/v2/team/app/manifests/2.0").expect(404)
    assert lading.client.pull("other/app", "copy").items() >= package.everything().items()


def test_an_upload_outlives_the_registry_and_a_node(
    start_lading: StartRegistry, settings: dict[str, Any], cluster: Cluster
) -> None:
    lading, data = start_lading(extra=settings), noise(2_000_000)
    location = lading.client.start_upload("team/app").expect(202).location
    location = lading.client.patch(location, data[:700_000]).expect(202).location
    cluster.nodes[0].end()
    location = lading.client.patch(location, data[700_000:1_300_000]).expect(202).location
    lading.kill()
    again = start_lading(extra=settings)
    status = again.client.get(location).expect(204)
    assert status.header("Range") == "0-1299999"
    cluster.nodes[0].begin()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    again.client.finish_upload(status.location, digest, data[1_300_000:]).expect(201)
    assert again.client.pull_blob("team/app", digest) == data
    [parent] = cluster.store.parents
    assert cluster.store.payload(parent) == data


@pytest.mark.timeout(90)
def test_killed_in_the_middle_of_a_request(
    start_lading: StartRegistry, settings: dict[str, Any], cluster: Cluster
) -> None:
    """Nodes are lost and come back under it, too. The client goes on behind what has become parts."""
    lading, data = start_lading(extra=settings), noise(3_000_000)
    location = lading.client.start_upload("team/app").expect(202).location
    first, second = cluster.nodes
    connection = http.client.HTTPConnection(lading.host)
    connection.putrequest("PATCH", location)
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders()

    def parts() -> int:
        return sum(header.HasField("split") for header, _ in [*cluster.store.objects.values()])

    for end, stops, begins in ((500_000, first, None), (1_000_000, second, first), (1_500_000, None, second)):
        if stops is not None:
            stops.end()
        if begins is not None:
            begins.begin()
        connection.send(data[end - 500_000 : end])
        # All but what is too little for one.
        fewest = end // cluster.store.max_object_size - 1
        eventually(lambda fewest=fewest: parts() >= fewest, "parts are made")
    lading.kill()
    connection.close()
    again = start_lading(extra=settings)
    status = again.client.get(location).expect(204)
    size = int(status.header("Range").partition("-")[2]) + 1
    assert size == parts() * cluster.store.max_object_size
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    again.client.finish_upload(status.location, digest, data[size:]).expect(201)
    assert again.client.pull_blob("team/app", digest) == data


@pytest.mark.parametrize("serving", [ONE_WORKER])
def test_requests_of_a_push_and_a_pull(
    start_lading: StartRegistry, settings: dict[str, Any], cluster: Cluster
) -> None:
    """They are counted, so that they do not grow unseen."""
    settings["storage"]["maintenance"] = {"uploadpurging": {"enabled": False}}
    lading, package = start_lading(extra=settings), content.image("one")
    before = sum(cluster.requests.values())
    lading.client.push("team/app", "1.0", package)
    pushed = sum(cluster.requests.values())
    lading.client.pull("team/app", "1.0")
    pulled = sum(cluster.requests.values())
    assert pushed - before <= MOST_OF_A_PUSH
    assert pulled - pushed <= MOST_OF_A_PULL


def _collect(registry: process.Registry, *flags: str) -> dict[str, Any]:
    command = [registry.program.executable, "garbage-collect", *flags, "--json", str(registry.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.timeout(120)
def test_garbage_is_collected(start_lading: StartRegistry, settings: dict[str, Any], cluster: Cluster) -> None:
    """While it serves, what goes is put away and comes back when it is asked for; offline it goes for good."""
    rules = {"enabled": True, "grace": "1ms", "quarantine": "5m", "rate": 10_000, "deleteuntagged": True}
    settings["storage"]["maintenance"] = {"garbagecollection": rules}
    lading, old, new = start_lading(extra=settings), content.image("old"), content.image("new")
    client = lading.client
    client.push("team/app", "1.0", old)
    client.push("team/app", "1.0", new)
    done = _collect(lading, "--online")
    assert done["put_away"] == 2 + 2 * len(old.blobs)
    assert client.pull("team/app", "1.0") == new.everything()
    assert client.pull("team/app", old.manifest.digest) == old.everything()
    lading.stop()
    before = _payloads(cluster)
    done = _collect(lading, "--delete-untagged")
    assert done["bytes"] == sum(map(len, old.everything().values()))
    assert before - _payloads(cluster) >= {old.manifest.data, old.blobs[0].data}
    again = start_lading(extra=settings)
    assert again.client.pull("team/app", "1.0") == new.everything()
    again.client.get(f"/v2/team/app/manifests/{old.manifest.digest}").expect(404)


def _payloads(cluster: Cluster) -> set[bytes]:
    """What the objects that are left hold."""
    store = cluster.store
    return {payload for each, (_, payload) in store.objects.items() if each not in store.removed}


def _peaks(registry: process.Registry) -> dict[int, int]:
    """The most bytes that each of its processes has ever taken."""
    found = {}
    for child in registry.children():
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{child}/status").read_text()
            found[child] = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not os.environ.get("LADING_FULL"), reason="minutes, and 4 GiB of memory: LADING_FULL=1")
def test_a_large_layer_of_many_parts(start_lading: StartRegistry, tmp_path: Path) -> None:
    """A worker takes no more than 64 MiB for it, each way."""
    cluster = Cluster(nodes=1, max_object_size=4 * 1024**2)
    try:
        frostfs = cluster.parameters(tmp_path)
        lading = start_lading(extra={"storage": {"filesystem": None, "frostfs": frostfs}})
        for number in range(20):
            lading.client.push("team/app", "1.0", content.image(f"small {number}"))
            lading.client.pull("team/app", "1.0")
        before = _peaks(lading)
        piece, pieces, hashed = noise(64 * 1024**2), 32, hashlib.sha256()
        location = lading.client.start_upload("team/app").expect(202).location
        for _ in range(pieces):
            location = lading.client.patch(location, piece).expect(202).location
            hashed.update(piece)
        digest = f"sha256:{hashed.hexdigest()}"
        lading.client.finish_upload(location, digest, b"").expect(201)
        pushed = _peaks(lading)
        pulled = hashlib.sha256()
        with urllib.request.urlopen(f"http://{lading.host}/v2/team/app/blobs/{digest}", timeout=600) as blob:
            while read := blob.read(1024**2):
                pulled.update(read)
        assert pulled.hexdigest() == hashed.hexdigest()
        assert sum(len(payload) for _, payload in cluster.store.objects.values()) >= pieces * len(piece)
        for after in (pushed, _peaks(lading)):
            grown = {child: (peak - before[child]) // 1024**2 for child, peak in after.items()}
            assert max(grown.values()) <= 64, grown
    finally:
        cluster.end()


def _refused(tmp_path: Path, parameters: dict[str, Any], **environment: str) -> list[str]:
    """What a registry says that does not start."""
    config = tmp_path / "config.yml"
    storage = {"frostfs": parameters}
    config.write_text(yaml.safe_dump({"version": "0.1", "storage": storage, "http": {"addr": "127.0.0.1:0"}}))
    command = process.lading().serve(config)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    run = subprocess.run(command, env=kept | environment, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode != 0
    assert "Traceback" not in run.stderr
    return [line for line in run.stderr.splitlines() if "frostfs" in line]


def test_each_mistake_is_told_in_one_line(cluster: Cluster, tmp_path: Path) -> None:
    right = cluster.parameters(tmp_path)
    closed = Cluster(nodes=1, basic_acl=PRIVATE)
    container = closed.store.containers[closed.container]
    container.owner_id.value = b"\x35" + bytes(24)
    gone = Cluster(nodes=1)
    gone.end()
    unreachable = gone.parameters(tmp_path)["peers"]
    name = {"container": "registry", "rpc_endpoint": f"http://{gone.nodes[0].address}"}
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"wallet": {**right["wallet"], "password": "wrong"}}, "wallet.password: does not open the wallet"),
        ({"wallet": {**right["wallet"], "path": "/nowhere"}}, "wallet.path: /nowhere: No such file or directory"),
        ({"container": "1" * 31 + "2"}, "container not found (status 3072)"),
        ({"peers": unreachable, "connection_timeout": "300ms"}, "no peer can be reached: 127.0.0.1:"),
        ({"peers": closed.parameters(tmp_path)["peers"], "container": closed.name}, "access denied (status 2048)"),
        (name, "Connection refused"),
        ({"peers": {"0": {"address": "http://localhost:1"}}}, "peers.0.address: invalid peer address"),
        ({"container": None}, "container: no container provided"),
    ]
    try:
        for changes, expected in mistakes:
            lines = _refused(tmp_path, {**right, **changes})
            assert len(lines) == 1, lines
            assert expected in lines[0]
        lines = _refused(tmp_path, right, REGISTRY_STORAGE_FROSTFS_WALLET_PASSWORD="wrong")
        assert ["password" in line for line in lines] == [True]
    finally:
        closed.end()


def test_variables_reach_every_parameter(
    start_lading: StartRegistry, settings: dict[str, Any], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = cluster.nodes[1]
    cluster.nodes[0].end()
    peers = settings["storage"]["frostfs"]["peers"]
    del peers[1]
    monkeypatch.setattr(
        process, "_environment", lambda: {**os.environ, "REGISTRY_STORAGE_FROSTFS_PEERS_0_ADDRESS": node.address}
    )
    lading = start_lading(extra=settings)
    lading.client.push("team/app", "1.0", content.image("one"))
    assert node.requests["Put"]
