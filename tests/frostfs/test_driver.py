"""The driver before nodes that fail, forget, lag, and hold what others wrote."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import grpc
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from tests.frostfs.cluster import Cluster
from tests.frostfs.node import LEGACY, NEW, Node
from tests.frostfs.store import PRIVATE
from tests.frostfs.test_standin import prepared, resigned
from tests.frostfs.wire import pb

from lading.registry.ports import BusyError, PathNotFoundError, StorageError
from lading.storage.frostfs import Address, FrostfsStorage, Timing
from lading.storage.frostfs.signing import Key
from lading.testing.storage.trial import noise

LARGE = noise(1_500_000)


async def read(storage: FrostfsStorage, key: str, offset: int = 0) -> bytes:
    reader = await storage.open(key, offset)
    data = b""
    while piece := await reader.read(100_000):
        data += piece
    await reader.close()
    return data


async def write(storage: FrostfsStorage, key: str, *chunks: bytes, target: str | None = None) -> None:
    writer = await storage.writer(key, append=False)
    await writer.write(chunks)
    await writer.commit(target)


async def test_an_object_is_laid_out_as_the_go_driver_expects(cluster: Cluster) -> None:
    storage = cluster.storage()
    await storage.put("/docker/link", b"content")
    await write(storage, "/uploads/1/data", LARGE, target="/docker/data")
    store = cluster.store
    roots = {
        pairs["FilePath"]: (pairs, header)
        for header in [*(header for header, _ in store.objects.values()), *store.parents.values()]
        if (pairs := {pair.key: pair.value for pair in header.attributes}).get("FilePath")
        and not pairs.get("RegistryUpload")
    }
    for key, content in {"/docker/link": b"content", "/docker/data": LARGE}.items():
        pairs, header = roots[key]
        assert list(pairs) == ["FilePath", "FileName", "Timestamp", "RegistryNonce"]
        assert pairs["FileName"] == key.rpartition("/")[2]
        assert header.payload_length == len(content)
        assert header.payload_hash.sum == hashlib.sha256(content).digest()
    [parent] = store.parents
    assert store.payload(parent) == LARGE
    link = store.split_info(parent).link.value
    store.removed.add(link)
    assert store.payload(parent) == LARGE, "assembled from the last part back"


def _as_go_writes(cluster: Cluster, key: str, content: bytes) -> None:
    """Three attributes; parts with the hash's state, and a link that does not carry the parent."""
    size, split_id, previous, ids = cluster.store.max_object_size, uuid.uuid4().bytes, None, []
    whole = prepared(cluster, content)
    header = whole[2]
    del header.attributes[:]
    pairs = {"FilePath": key, "FileName": key.rpartition("/")[2], "Timestamp": "1600000000"}
    header.attributes.extend(pb.Pair(key=name, value=value) for name, value in pairs.items())
    parent = resigned(cluster, header, content)
    if len(content) <= size:
        cluster.store.put(*parent)
        return
    for start in range(0, len(content), size):
        payload = content[start : start + size]
        part = prepared(cluster, payload)[2]
        del part.attributes[:]
        part.attributes.append(pb.Pair(key="sha256state", value="00"))
        part.split.split_id = split_id
        if previous is not None:
            part.split.previous.value = previous
        if start + size >= len(content):
            part.split.parent.value = parent[0]
            part.split.parent_header.CopyFrom(header)
            part.split.parent_signature.CopyFrom(parent[1])
        made = resigned(cluster, part, payload)
        cluster.store.put(*made)
        previous = made[0]
        ids.append(pb.ID(value=previous))
    link = prepared(cluster, b"")[2]
    del link.attributes[:]
    link.split.CopyFrom(pb.Split(children=ids, split_id=split_id))
    cluster.store.put(*resigned(cluster, link, b""))


async def test_what_the_go_driver_wrote_is_read_and_deleted(cluster: Cluster) -> None:
    storage = cluster.storage()
    for key, content in {"/docker/link": b"content", "/docker/empty": b"", "/docker/data": LARGE}.items():
        _as_go_writes(cluster, key, content)
        assert await storage.get(key) == content
        assert await read(storage, key) == content
        assert await read(storage, key, 7) == content[7:]
        assert (await storage.stat(key)).modified == 1_600_000_000
    assert await storage.list("/docker") == ["data", "empty", "link"]
    await storage.delete("/docker")
    assert await storage.list("/") == []
    assert {
        header.object_type
        for key, (header, _) in cluster.store.objects.items()
        if key not in cluster.store.removed
    } == {1}


@pytest.mark.parametrize("prefixes", [(LEGACY,), (NEW,), (LEGACY, NEW)])
@pytest.mark.parametrize("signs", [True, False])
async def test_both_names_of_the_services(prefixes: tuple[str, ...], signs: bool) -> None:
    cluster = Cluster(prefixes=prefixes, signs=signs)
    try:
        storage = cluster.storage()
        await storage.check()
        await storage.put("/a", b"content")
        assert await storage.get("/a") == b"content"
    finally:
        cluster.end()


async def test_over_tls(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("localhost")
    chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(issued.private_key_pem.bytes(), chain)])
    cluster = Cluster(nodes=0)
    node = Node(cluster.store).begin(credentials)
    cluster.nodes.append(node)
    trusting = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    monkeypatch.setattr(grpc, "ssl_channel_credentials", lambda: trusting)
    try:
        address = Address(f"localhost:{node.port}", tls=True)
        storage = FrostfsStorage(Key(cluster.private), [address], cluster.name)
        await storage.put("/a", b"content")
        assert await storage.get("/a") == b"content"
    finally:
        cluster.end()


async def test_a_node_is_lost_and_comes_back() -> None:
    cluster = Cluster(nodes=2)
    try:
        first, second = cluster.nodes
        storage = cluster.storage(Timing(connection=2, request=2, rebalance=0.0))
        writer = await storage.writer("/data", append=False)
        await writer.write([LARGE[:500_000]])
        first.end()
        await writer.write([LARGE[500_000:1_000_000]])
        second.end()
        first.begin()
        await writer.write([LARGE[1_000_000:]])
        await writer.commit()
        second.begin()
        assert await read(storage, "/data") == LARGE
        await storage.delete("/data")
        before = second.requests["Search"]
        for _ in range(50):
            assert await storage.list("/") == []
        assert second.requests["Search"] == before, "the preferred one is asked again"
    finally:
        cluster.end()


async def test_streams_that_break_are_continued() -> None:
    cluster = Cluster(nodes=2)
    try:
        storage = cluster.storage()
        cluster.nodes[0].broken["Put"] = 1
        await write(storage, "/data", LARGE)
        for node in cluster.nodes:
            node.broken["GetRange"] = 1
        assert await read(storage, "/data") == LARGE
        cluster.nodes[0].broken["Get"] = cluster.nodes[1].broken["Get"] = 1
        assert await storage.get("/data") == LARGE
    finally:
        cluster.end()


async def test_nodes_under_maintenance_are_left_alone() -> None:
    cluster = Cluster(nodes=2)
    try:
        storage = cluster.storage()
        await storage.put("/a", b"content")
        cluster.nodes[0].maintenance = True
        assert await storage.get("/a") == b"content"
        cluster.nodes[1].maintenance = True
        with pytest.raises(StorageError, match=r"node under maintenance \(status 1027\)"):
            await storage.get("/a")
    finally:
        cluster.end()


async def test_sessions_are_made_anew(cluster: Cluster) -> None:
    storage = cluster.storage(Timing(session=5))
    node = cluster.nodes[0]
    for number, happens in enumerate(
        [lambda: None, node.forget_sessions, lambda: setattr(cluster.store, "epoch", 30)]
    ):
        for name in range(20):
            await storage.put(f"/a/{name}", b"content")
        happens()
        await storage.delete("/a")
        assert node.requests["Create"] == number + 1


async def test_nodes_that_still_name_what_is_gone(cluster: Cluster) -> None:
    storage = cluster.storage()
    await storage.put("/a/b", b"old")
    old = set(cluster.store.objects)
    await storage.put("/a/b", b"new")
    cluster.store.lagging = old
    for each in (storage, cluster.storage()):
        assert await each.get("/a/b") == b"new"
        assert await read(each, "/a/b") == b"new"
        assert await each.list("/a") == ["b"]
    cluster.store.lagging = set(cluster.store.objects)
    await storage.delete("/a")
    for each in (storage, cluster.storage()):
        with pytest.raises(PathNotFoundError):
            await each.get("/a/b")
        with pytest.raises(PathNotFoundError):
            await each.open("/a/b")


async def test_put_deleted_and_put_again_at_once(cluster: Cluster) -> None:
    storage = cluster.storage()
    for _ in range(3):
        await storage.put("/a", b"the same")
        await storage.delete("/a")
    await storage.put("/a", b"the same")
    assert await storage.get("/a") == b"the same"


async def test_uploads_that_two_hosts_write_to_are_found_out(
    cluster: Cluster, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = cluster.storage()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    theirs = cluster.storage()
    first = await ours.writer("/data", append=True)
    with pytest.raises(BusyError):
        await ours.writer("/data", append=True)
    second = await theirs.writer("/data", append=True)
    await first.write([LARGE[:70_000]])
    await second.write([LARGE[70_000:140_000]])
    await first.close()
    await second.close()
    with pytest.raises(StorageError, match="do not form one chain"):
        await ours.stat("/data")
    await ours.delete("/data")
    first, second = await ours.writer("/data", append=True), await theirs.writer("/data", append=True)
    await first.write([b"one"])
    await second.write([b"two"])
    await first.close()
    with pytest.raises(PathNotFoundError):
        await second.commit()
    assert await ours.get("/data") == b"one"
    await ours.delete("/data")
    assert await ours.list("/") == []


async def test_what_is_written_is_read_before_it_is_complete(cluster: Cluster) -> None:
    storage = cluster.storage()
    writer = await storage.writer("/data", append=False)
    for size in (100, 70_000, 200_000):
        await writer.write([LARGE[writer.size : size]])
        assert (await storage.stat("/data")).size == size
        assert await read(storage, "/data") == await storage.get("/data") == LARGE[:size]
    await writer.close()
    assert await read(cluster.storage(), "/data") == LARGE[:200_000]


async def test_nothing_is_left_over(cluster: Cluster) -> None:
    """After cancel and delete there is no object but tombstones."""
    storage = cluster.storage()
    writer = await storage.writer("/uploads/1/data", append=False)
    await writer.write([LARGE])
    await writer.cancel()
    writer = await storage.writer("/uploads/2/data", append=False)
    await writer.write([LARGE])
    await writer.close()
    await storage.delete("/uploads")
    await write(storage, "/uploads/3/data", LARGE, target="/blob")
    await storage.delete("/blob")
    left = [
        header.object_type
        for key, (header, _) in cluster.store.objects.items()
        if key not in cluster.store.removed
    ]
    assert set(left) == {1}


async def test_requests(cluster: Cluster) -> None:
    """How many it takes, so that they do not become more unseen."""
    storage = cluster.storage()
    await storage.put("/first", b"")

    async def counted(work: Any) -> dict[str, int]:
        before = cluster.requests
        await work
        return {
            kind: number - before.get(kind, 0)
            for kind, number in cluster.requests.items()
            if number > before.get(kind, 0)
        }

    assert await counted(storage.put("/a/link", b"content")) == {"Search": 1, "Put": 1}
    assert await counted(storage.put_all({"/a/link": b"content"})) == {"Search": 1}
    assert await counted(storage.stat("/a/link")) == {"Search": 1}
    assert await counted(cluster.storage().get("/a/link")) == {"NetworkInfo": 1, "Search": 1, "Get": 1}
    assert await counted(storage.list("/a")) == {"Search": 1}
    assert await counted(cluster.storage().list("/a")) == {"NetworkInfo": 1, "Search": 1, "Head": 1}
    with pytest.raises(PathNotFoundError):
        assert not await counted(storage.stat("/b"))
    assert await counted(storage.get("/a/link")) == {"Search": 1}
    small = await counted(write(storage, "/uploads/1/data", b"content", target="/blobs/1/data"))
    assert small == {"Search": 3, "Put": 2, "Create": 1, "Delete": 1}
    assert await counted(storage.put("/a/link", b"other")) == {"Search": 1, "Put": 1, "Delete": 1}
    parts = -(-len(LARGE) // cluster.store.max_object_size)
    large = await counted(write(storage, "/uploads/2/data", LARGE, target="/blobs/2/data"))
    assert large == {"Search": 3, "Put": 1 + parts + 1, "Delete": 1}
    assert await counted(read(storage, "/blobs/2/data")) == {"Search": 1, "GetRange": 1}
    for number in range(300):
        await storage.put(f"/tags/{number:03}/current/link", b"")
    assert await counted(storage.list("/tags", limit=100, holding="current/link")) == {"Search": 1}


async def test_what_operators_are_told(cluster: Cluster) -> None:
    stranger = Key(ec.generate_private_key(ec.SECP256R1()))
    closed = Cluster(nodes=0, basic_acl=PRIVATE)
    closed.nodes.append(Node(closed.store).begin())
    try:
        with pytest.raises(StorageError, match=r"^frostfs: access denied \(status 2048\): basic ACL"):
            await closed.storage(key=stranger).check()
        unknown = FrostfsStorage(
            Key(cluster.private), [Address(cluster.nodes[0].address, tls=False)], "1" * 31 + "2"
        )
        with pytest.raises(StorageError, match=r"^frostfs: container not found \(status 3072\)"):
            await unknown.check()
        cluster.store.max_object_size = 0
        with pytest.raises(StorageError, match="max object size must not be zero"):
            await cluster.storage().check()
    finally:
        closed.end()
    cluster.end()
    with pytest.raises(StorageError, match=r"^frostfs: no peer can be reached: 127.0.0.1:\d+: no connection$"):
        await cluster.storage(Timing(connection=0.3)).check()


async def test_more_parts_than_a_link_can_name() -> None:
    cluster = Cluster(max_object_size=2048)
    try:
        storage = cluster.storage()
        await write(storage, "/uploads/1/data", LARGE[:900_000], target="/blob")
        assert await read(cluster.storage(), "/blob") == LARGE[:900_000]
        [parent] = cluster.store.parents
        assert not cluster.store.split_info(parent).HasField("link")
    finally:
        cluster.end()


async def test_peers_are_drawn_by_weight() -> None:
    cluster = Cluster(nodes=3)
    try:
        weights = [(3.0, 1), (1.0, 1), (100.0, 2)]
        peers = [
            Address(node.address, False, weight, priority)
            for node, (weight, priority) in zip(cluster.nodes, weights, strict=True)
        ]
        storage = FrostfsStorage(Key(cluster.private), peers, cluster.name)
        for _ in range(200):
            await storage.list("/")
        first, second, third = (node.requests["Search"] for node in cluster.nodes)
        assert third == 0
        assert first > second > 20
    finally:
        cluster.end()
