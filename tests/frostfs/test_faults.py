"""What goes wrong on the way: nodes that answer wrongly, or late, or not at all; full disks; crashes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from tests.frostfs.cluster import PRIVATE, Cluster
from tests.frostfs.node import Node
from tests.frostfs.test_driver import LARGE, read, write
from tests.frostfs.wire import pb

from lading.registry.ports import PathNotFoundError, StorageError, StorageFullError, UnavailableError
from lading.storage.frostfs import FrostfsStorage, Timing, chain, objects
from lading.storage.frostfs.encoding import Message
from lading.storage.frostfs.objects import Piece
from lading.storage.frostfs.peer import Peer
from lading.storage.frostfs.pool import Pool
from lading.testing.storage.trial import noise

LARGE_PARTS = -(-len(LARGE) // (64 * 1024))


class Forging(Node):
    """Its answers are signed, but not these ones."""

    def _response(self, body: Any, meta: Any) -> bytes:
        answer = pb.Response.FromString(super()._response(body, meta))
        answer.meta.epoch += 1
        return bytes(answer.SerializeToString())


class Short(Node):
    """It ends answers early, and takes that for success."""

    def _get(self, body: Any, who: bytes, token: Any) -> Iterator[Any]:
        whole = [*super()._get(body, who, token)]
        return iter([*whole[:-1], pb.GetAnswer(chunk=whole[-1].chunk[:-1])])

    def _range(self, body: Any, who: bytes, token: Any) -> Iterator[Any]:
        return iter([*super()._range(body, who, token)][:-1])


def before(cluster: Cluster, kind: type[Node]) -> Node:
    """A node that is preferred to those that are there."""
    node = kind(cluster.store).begin()
    cluster.nodes.insert(0, node)
    return node


def left(cluster: Cluster) -> set[int]:
    """The kinds of what has not been removed; 1 is a tombstone."""
    store = cluster.store
    return {header.object_type for key, (header, _) in store.objects.items() if key not in store.removed}


async def test_answers_that_are_signed_wrongly_are_a_failure_of_the_node(cluster: Cluster) -> None:
    before(cluster, Forging)
    storage = cluster.storage()
    await storage.check()
    await storage.put("/a", b"content")
    assert await storage.get("/a") == b"content"
    cluster.nodes[1].end()
    with pytest.raises(UnavailableError, match=r": the signature of an answer is wrong; "):
        await storage.list("/")
    with pytest.raises(UnavailableError, match=r"^frostfs: no peer can be reached: [^\n]*signature of an answer"):
        await cluster.storage(Timing(connection=1, request=1)).check()


async def test_answers_cut_short_are_not_taken_for_the_whole(cluster: Cluster) -> None:
    await cluster.storage().put("/a", b"content")
    await write(cluster.storage(), "/b", LARGE)
    before(cluster, Short)
    storage = cluster.storage()
    assert await storage.get("/a") == b"content"
    storage = cluster.storage()
    assert await read(storage, "/b") == LARGE
    cluster.nodes[1].end()
    with pytest.raises(UnavailableError, match="another number of bytes"):
        await cluster.storage().get("/a")


async def test_a_peer_that_was_not_there_at_the_start() -> None:
    cluster = Cluster(nodes=2)
    try:
        late, other = cluster.nodes
        late.end()
        storage = cluster.storage(Timing(connection=0.3, request=2))
        await storage.put("/a", b"content")
        late.begin()
        other.end()
        assert await storage.get("/a") == b"content"
        assert await storage.list("/") == ["a"]
    finally:
        cluster.end()


async def test_all_who_wait_for_the_first_connection_have_one_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the last of them waited for the failures of all before."""
    cluster, tried, connect = Cluster(nodes=2), [], Peer.connect

    async def connecting(peer: Peer, seconds: float) -> Message:
        tried.append(peer)
        return await connect(peer, seconds)

    try:
        monkeypatch.setattr(Peer, "connect", connecting)
        cluster.end()
        storage = cluster.storage(Timing(connection=0.3, request=2))
        outcomes = await asyncio.gather(*(storage.list("/") for _ in range(5)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {UnavailableError}
        assert len(tried) == 2
        for node in cluster.nodes:
            node.begin()
        assert await storage.list("/") == []
        await storage.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
    finally:
        cluster.end()


async def test_reading_waits_for_a_node_that_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, data = Cluster(max_object_size=64 * 1024**2), noise(24 * 1024**2)
    try:
        [node], storage = cluster.nodes, cluster.storage()
        await write(storage, "/data", data)
        recover, failures = Pool.recover, []

        async def recovering(pool: Pool, failed: int) -> None:
            failures.append(failed)
            if failed == 3:
                await asyncio.to_thread(node.begin)
            await recover(pool, failed)

        monkeypatch.setattr(Pool, "recover", recovering)
        reader = await storage.open("/data")
        got = await reader.read(1024)
        node.end()
        while piece := await reader.read(1024**2):
            got += piece
        await reader.close()
        assert got == data
        assert failures[:3] == [1, 2, 3]
    finally:
        cluster.end()


async def test_whether_the_storage_is_well_is_asked_of_the_nodes(cluster: Cluster) -> None:
    storage = cluster.storage()
    assert (await storage.stat("/")).is_directory
    cluster.nodes[0].end()
    with pytest.raises(UnavailableError):
        await storage.stat("/")


async def test_a_part_that_nothing_tells_of_is_made_again(cluster: Cluster) -> None:
    """A process dies behind a part of what only the record held; another makes the same one, in the same epoch."""
    storage = cluster.storage()
    writer = await storage.writer("/uploads/1/data", append=False)
    await writer.write([LARGE[:1000]])
    await writer.close()
    dying = await storage.writer("/uploads/1/data", append=True)
    await dying.write([LARGE[1000:100_000]])
    assert len(dying._chain.parts) == 1
    dying._lock.release()
    other = cluster.storage()
    writer = await other.writer("/uploads/1/data", append=True)
    assert writer.size == 1000
    await writer.write([LARGE[1000:100_000]])
    await writer.commit("/blob")
    assert await read(cluster.storage(), "/blob") == LARGE[:100_000]
    await other.delete("/blob")
    assert left(cluster) == {1}


async def test_a_part_whose_answer_was_lost(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for another one in the same place, when more has come meanwhile."""
    storage = cluster.storage()
    writer = await storage.writer("/data", append=False)
    await writer.write([LARGE[:100_000]])
    put = Pool.put

    async def unheard(pool: Pool, *arguments: Any) -> Message:
        await put(pool, *arguments)
        raise UnavailableError("frostfs", "no answer in time")

    with monkeypatch.context() as losing:
        losing.setattr(Pool, "put", unheard)
        with pytest.raises(UnavailableError):
            await read(storage, "/data")
    cluster.store.epoch += 1
    await writer.write([LARGE[100_000:110_000]])
    await writer.close()
    assert await read(cluster.storage(), "/data") == LARGE[:110_000]


def _full(**_: Any) -> IO[bytes]:
    return Path("/dev/full").open("r+b", buffering=0)


@pytest.mark.parametrize("lost", [2, LARGE_PARTS - 1, LARGE_PARTS], ids=["a part", "the last part", "the link"])
async def test_what_is_begun_and_fails_leaves_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    storage, put = cluster.storage(), Pool.put
    await storage.put("/target", b"old")
    await write(storage, "/source", LARGE)

    async def failing(pool: Pool, *arguments: Any) -> Message:
        sent.append(1)
        if len(sent) > lost:
            raise UnavailableError("frostfs", "no peer can be reached")
        return await put(pool, *arguments)

    for work in (lambda: storage.put("/target", LARGE), lambda: storage.move("/source", "/target")):
        sent: list[int] = []
        before = set(cluster.store.objects) - cluster.store.removed
        with monkeypatch.context() as failed:
            failed.setattr(Pool, "put", failing)
            with pytest.raises(UnavailableError):
                await work()
        for each in (storage, cluster.storage()):
            assert await each.get("/target") == b"old"
            assert await read(each, "/source") == LARGE
        made = set(cluster.store.objects) - cluster.store.removed - before
        assert {cluster.store.objects[each][0].object_type for each in made} <= {1}


async def test_a_full_disk(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept is told, and nothing of it is lost."""
    cluster.store.max_object_size = 16 * 1024**2
    storage, data = cluster.storage(), noise(5 * 1024**2)
    writer = await storage.writer("/data", append=False)
    await writer.write([data[: 3 * 1024**2]])
    with monkeypatch.context() as filled:
        filled.setattr(chain.tempfile, "TemporaryFile", _full)
        with pytest.raises(StorageFullError, match="No space left on device"):
            await writer.write([data[3 * 1024**2 :]])
    assert writer.size == 3 * 1024**2
    await writer.close()
    writer = await storage.writer("/data", append=True)
    await writer.write([data[writer.size :]])
    await writer.commit()
    assert await read(storage, "/data") == data


async def test_what_cannot_be_read_while_it_is_sent(cluster: Cluster) -> None:
    class Unreadable(Piece):
        async def chunks(self) -> AsyncIterator[bytes]:
            yield self.data
            raise StorageError("frostfs", "/tmp: Input/output error")

    storage = cluster.storage()
    await storage.put("/a", b"content")
    with pytest.raises(StorageError, match="Input/output error"):
        await storage.objects.put(Unreadable(b"other"), storage.objects.attributes("/b", 1))
    assert await storage.list("/") == ["a"]


async def test_after_the_first_failure_nothing_is_under_way() -> None:
    begun: list[int] = []

    async def wait(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise StorageError("frostfs", "refused")
        await asyncio.Event().wait()

    calls = [lambda number=number: wait(number) for number in range(100)]
    with pytest.raises(StorageError, match="refused"):
        await objects.at_once(calls)
    assert len(begun) <= objects.AT_ONCE + 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_requests_that_are_cancelled(cluster: Cluster) -> None:
    storage, node = cluster.storage(), cluster.nodes[0]
    await write(storage, "/data", LARGE)
    node.delay = 0.3
    for work in (
        storage.put("/a", b"1"),
        storage.list("/"),
        cluster.storage().get("/data"),
        storage.delete("/data"),
    ):
        task, asked = asyncio.create_task(work), sum(node.requests.values())
        while sum(node.requests.values()) == asked:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    node.delay = 0.0
    await storage.put("/a", b"2")
    assert await storage.get("/a") == b"2"
    assert await read(storage, "/data") == LARGE


async def test_sessions_expire_under_an_upload(cluster: Cluster) -> None:
    storage, node = cluster.storage(Timing(session=5)), cluster.nodes[0]
    await storage.put("/a", b"")
    await storage.delete("/a")
    writer = await storage.writer("/uploads/1/data", append=False)
    for number, size in enumerate(range(200_000, 1_000_001, 200_000)):
        await writer.write([LARGE[writer.size : size]])
        cluster.store.epoch += 10
        if number % 2:
            node.forget_sessions()
    await writer.commit("/blob")
    assert await read(cluster.storage(), "/blob") == LARGE[:1_000_000]
    assert await storage.list("/") == ["blob"]


async def test_an_object_whose_link_is_missing(cluster: Cluster) -> None:
    storage = cluster.storage()
    await write(storage, "/data", LARGE)
    [parent] = cluster.store.parents
    cluster.store.removed.add(cluster.store.split_info(parent).link.value)
    for each in (storage, cluster.storage()):
        assert await read(each, "/data", 1000) == LARGE[1000:]
        assert await each.get("/data") == LARGE
    await storage.delete("/data")
    assert left(cluster) == {1}


async def test_a_directory_is_deleted_under_an_upload(cluster: Cluster) -> None:
    storage, other = cluster.storage(), cluster.storage()
    for end in ("close", "commit"):
        writer = await storage.writer("/uploads/1/data", append=False)
        await writer.write([LARGE[:300_000]])
        await other.delete("/uploads")
        await writer.write([LARGE[300_000:600_000]])
        if end == "commit":
            with pytest.raises(PathNotFoundError):
                await writer.commit("/blob")
        else:
            await writer.close()
        assert await storage.list("/") == []
        assert left(cluster) == {1}


async def test_another_process_holds_the_upload(cluster: Cluster) -> None:
    storage = cluster.storage()
    writer = await storage.writer("/uploads/1/data", append=True)
    await writer.write([LARGE[:300_000]])
    assert resumed(cluster) == "BusyError"
    await writer.close()
    assert resumed(cluster) == "300000"


PROGRAM = """
import asyncio, json, sys
from cryptography.hazmat.primitives.asymmetric import ec
from lading.registry.ports import BusyError
from lading.storage.frostfs import Address, FrostfsStorage
from lading.storage.frostfs.signing import Key

async def main(private, address, container):
    key = Key(ec.derive_private_key(private, ec.SECP256R1()))
    storage = FrostfsStorage(key, [Address(address, tls=False)], container)
    try:
        writer = await storage.writer("/uploads/1/data", append=True)
    except BusyError:
        return "BusyError"
    await writer.close()
    await storage.close()
    return writer.size

print(asyncio.run(main(*json.loads(sys.argv[1]))))
"""


def resumed(cluster: Cluster) -> str:
    """How far another process finds the upload."""
    arguments = json.dumps([PRIVATE, cluster.nodes[0].address, cluster.name])
    command = [sys.executable, "-c", PROGRAM, arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


async def test_each_id_of_an_answer_is_looked_at_once(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many messages the answer comes in."""
    storage = cluster.storage()
    await storage.put_all({f"/tags/{number}": b"" for number in range(300)})
    parsed: list[int] = []

    class Counted(Message):
        def __init__(self, raw: bytes) -> None:
            parsed.append(len(raw))
            super().__init__(raw)

    monkeypatch.setattr(objects, "Message", Counted)
    assert len(await storage.list("/tags")) == 300
    assert len(parsed) == 300


async def test_what_was_opened_is_closed(cluster: Cluster) -> None:
    storage = cluster.storage(Timing(rebalance=0.0))
    await storage.put("/a", b"content")
    await storage.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert isinstance(storage, FrostfsStorage)
    assert await storage.get("/a") == b"content", "a call opens it again"
    await storage.close()
