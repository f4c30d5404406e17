"""Upload sessions below the wire: what is hashed, read and kept, and when (reference, 3.3, 11)."""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from collections.abc import AsyncIterator

import pytest
from tests.wire.compositions import dump
from tests.wire.content import blob_key, digest, layer_key, session_key
from tests.wire.storages import Watched

from lading.oci import hashing
from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName
from lading.registry import uploads
from lading.registry.ports import Storage, StorageError
from lading.registry.registry import Registry
from lading.registry.uploads import Chunk
from lading.storage.memory import MemoryStorage

NAME = RepositoryName("app")
SIZE = uploads.STATE_BYTES
needs_states = pytest.mark.skipif(not hashing.RESUMABLE, reason="this Python's libcrypto cannot be reached")


async def chunk(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def body(*parts: bytes) -> Chunk:
    return Chunk(chunk(*parts))


async def test_a_session_on_disk(registry: Registry, storage: Storage) -> None:
    upload = await registry.uploads.start(NAME)
    assert uuid.UUID(upload.id).version == 7
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", upload.started_at)
    files = await dump(storage)
    assert files[session_key("app", upload.id, "startedat")] == upload.started_at.encode()
    upload = await registry.uploads.append(upload, body(b"12", b"34"))
    files = await dump(storage)
    assert files[session_key("app", upload.id, "data")] == b"1234"


@needs_states
async def test_the_state_beside_the_data_is_the_originals(registry: Registry, storage: Storage) -> None:
    size = uploads.STATE_BYTES + 36
    data = b"x" * size
    upload = await registry.uploads.append(await registry.uploads.start(NAME), body(data))
    state = await storage.get(session_key("app", upload.id, f"hashstates/sha256/{size}"))
    assert len(state) == 108
    assert state[:4] == b"sha\x03"
    assert int.from_bytes(state[-8:], "big") == size
    assert state[36:72] == b"x" * 36, "the block that is not full"


@needs_states
async def test_another_process_takes_the_state_and_reads_no_data(watched: Watched) -> None:
    first, second = Registry.over(watched), Registry.over(watched)
    upload = await first.uploads.append(await first.uploads.start(NAME), body(b"x" * SIZE))
    upload = await second.uploads.append(upload, body(b"y" * SIZE))
    watched.calls.clear()
    name = Digest(digest(b"x" * SIZE + b"y" * SIZE + b"z"))
    await first.uploads.finish(upload, body(b"z"), name)
    data = session_key("app", upload.id, "data")
    assert data not in watched.keys("open", "get")
    assert session_key("app", upload.id, f"hashstates/sha256/{2 * SIZE}") in watched.keys("get")
    assert (await first.blobs.size(NAME, name)) == 2 * SIZE + 1


async def test_what_a_slow_client_has_sent_is_stored(
    registry: Registry, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits neither for a full batch nor for the client: many of them would take much memory."""
    monkeypatch.setattr(uploads, "BATCH_SECONDS", 0.01)
    upload = await registry.uploads.start(NAME)
    data = session_key("app", upload.id, "data")
    seen = []

    async def slow() -> AsyncIterator[bytes]:
        for size in (300_000, 5, 70_000):
            yield b"x" * size
            expected = sum(seen) + size
            async with asyncio.timeout(10):
                while (await storage.stat(data)).size < expected:
                    await asyncio.sleep(0.001)
            seen.append(size)

    upload = await registry.uploads.append(upload, Chunk(slow()))
    assert (seen, upload.offset) == ([300_000, 5, 70_000], 370_005)
    await registry.uploads.finish(upload, body(b"y"), Digest(digest(b"x" * 370_005 + b"y")))


async def test_the_same_process_reads_nothing(registry: Registry, watched: Watched) -> None:
    upload = await registry.uploads.append(await registry.uploads.start(NAME), body(b"x" * 1000))
    watched.calls.clear()
    await registry.uploads.finish(upload, body(), Digest(digest(b"x" * 1000)))
    assert not [key for key in watched.keys("open", "get") if "_uploads" in key]


@pytest.mark.parametrize(
    "damage", [None, b"", b"sha\x03" + bytes(103), b"sha\x02" + bytes(104), bytes(108), b"x" * 500]
)
async def test_without_a_good_state_the_data_is_read_once(
    watched: Watched, storage: Storage, damage: bytes | None
) -> None:
    first, second = Registry.over(watched), Registry.over(watched)
    upload = await first.uploads.append(await first.uploads.start(NAME), body(b"x" * SIZE))
    state = session_key("app", upload.id, f"hashstates/sha256/{SIZE}")
    if damage is not None:
        await storage.put(state, damage)
    elif hashing.RESUMABLE:
        await storage.delete(state)
    watched.calls.clear()
    await second.uploads.finish(upload, body(b"y"), Digest(digest(b"x" * SIZE + b"y")))
    assert watched.keys("open") == [session_key("app", upload.id, "data")]


@needs_states
async def test_a_state_that_fits_but_lies_is_not_believed_to_the_end(watched: Watched, storage: Storage) -> None:
    """A well-formed state of other bytes must not let wrong content through under a good name."""
    first, second = Registry.over(watched), Registry.over(watched)
    other = await first.uploads.append(await first.uploads.start(NAME), body(b"o" * SIZE))
    upload = await first.uploads.append(await first.uploads.start(NAME), body(b"x" * SIZE))
    lie = await storage.get(session_key("app", other.id, f"hashstates/sha256/{SIZE}"))
    await storage.put(session_key("app", upload.id, f"hashstates/sha256/{SIZE}"), lie)
    with pytest.raises(RegistryError):
        await second.uploads.finish(upload, body(), Digest(digest(b"x" * SIZE)))
    assert blob_key(digest(b"x" * SIZE)) not in await dump(storage)


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
async def test_the_algorithm_that_was_announced_is_hashed_on_the_way(
    registry: Registry, watched: Watched, algorithm: str
) -> None:
    upload = await registry.uploads.start(NAME)
    upload = await registry.uploads.append(upload, body(b"x" * 1000), algorithm)
    upload = await registry.uploads.append(upload, body(b"y"), algorithm)
    watched.calls.clear()
    await registry.uploads.finish(upload, body(b"z"), Digest(digest(b"x" * 1000 + b"yz", algorithm)))
    assert watched.keys("open") == []


async def test_an_algorithm_that_was_not_announced_costs_a_reading(registry: Registry, watched: Watched) -> None:
    upload = await registry.uploads.append(await registry.uploads.start(NAME), body(b"x" * 1000))
    watched.calls.clear()
    await registry.uploads.finish(upload, body(b"y"), Digest(digest(b"x" * 1000 + b"y", "sha512")))
    assert watched.keys("open") == [session_key("app", upload.id, "data")]


async def test_old_hashes_are_let_go(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "RUNNING_HASHES", 2)
    registry = Registry.over(watched)
    started = [await registry.uploads.append(await registry.uploads.start(NAME), body(b"x")) for _ in range(5)]
    assert len(registry.uploads._hashes) == 2
    for number, upload in enumerate(started):
        rest = str(number).encode()
        await registry.uploads.finish(upload, body(rest), Digest(digest(b"x" + rest)))


async def test_the_order_of_a_finish(registry: Registry, watched: Watched) -> None:
    """Data, then the link, then the session goes: whenever it stops, nothing is half there."""
    upload = await registry.uploads.append(await registry.uploads.start(NAME), body(b"data"))
    watched.calls.clear()
    name = digest(b"data")
    await registry.uploads.finish(upload, body(), Digest(name))
    session = session_key("app", upload.id, "").rstrip("/")
    order = [("commit", blob_key(name)), ("put", layer_key("app", name)), ("delete", session)]
    assert [call for call in watched.calls if call in order] == order


@pytest.mark.parametrize("failing", ["commit", "put", "delete"])
async def test_a_finish_that_fails_can_be_repeated(storage: Storage, failing: str) -> None:
    armed = False

    def fail(operation: str, key: str) -> None:
        nonlocal armed
        if armed and operation == failing and "hashstates" not in key:
            armed = False
            raise StorageError("test", "a moment's trouble")

    watched = Watched(storage, fail)
    registry = Registry.over(watched)
    upload = await registry.uploads.append(await registry.uploads.start(NAME), body(b"data"))
    armed = True
    name = Digest(digest(b"data"))
    with pytest.raises(StorageError):
        await registry.uploads.finish(upload, body(), name)
    # What a client does: it asks where it is, and goes on; or it begins anew.
    found = await registry.uploads.get(NAME, upload.id)
    rest = b"" if found.offset == 4 else b"data"
    await registry.uploads.finish(found, body(rest), name)
    assert await registry.blobs.size(NAME, name) == 4
    assert not [key for key in await dump(storage) if "_uploads" in key]


async def test_nothing_is_written_after_a_cancel(registry: Registry, storage: Storage) -> None:
    upload = await registry.uploads.append(await registry.uploads.start(NAME), body(b"1234"))
    await registry.uploads.cancel(upload)
    assert await dump(storage) == {}


async def test_a_cancel_during_a_chunk_leaves_nothing(registry: Registry, storage: Storage) -> None:
    upload = await registry.uploads.start(NAME)
    started, release = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * (2 * uploads.BATCH_BYTES)
        started.set()
        await release.wait()

    running = asyncio.create_task(registry.uploads.append(upload, Chunk(slow())))
    await started.wait()
    await registry.uploads.cancel(upload)
    release.set()
    await asyncio.gather(running, return_exceptions=True)
    assert await dump(storage) == {}


async def test_a_request_that_is_cancelled_lets_go_of_the_session(registry: Registry) -> None:
    """A server that gives a request up cancels its task."""
    upload = await registry.uploads.start(NAME)
    started, never = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * (2 * uploads.BATCH_BYTES)
        started.set()
        await never.wait()

    running = asyncio.create_task(registry.uploads.append(upload, Chunk(slow())))
    await started.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    found = await registry.uploads.get(NAME, upload.id)
    data = b"x" * found.offset + b"end"
    await registry.uploads.finish(found, body(b"end"), Digest(digest(data)))
    assert await registry.blobs.size(NAME, Digest(digest(data))) == len(data)


async def test_a_failed_write_does_not_spoil_the_hash(storage: Storage) -> None:
    armed = False

    def fail(operation: str, _key: str) -> None:
        if armed and operation == "write":
            raise StorageError("test", "a moment's trouble")

    registry = Registry.over(Watched(storage, fail))
    upload = await registry.uploads.append(await registry.uploads.start(NAME), body(b"1234"))
    armed = True
    with pytest.raises(StorageError):
        await registry.uploads.append(upload, body(b"5678"))
    armed = False
    found = await registry.uploads.get(NAME, upload.id)
    assert found.offset == 4
    await registry.uploads.finish(found, body(b"abcd"), Digest(digest(b"1234abcd")))
    assert await registry.blobs.size(NAME, Digest(digest(b"1234abcd"))) == 8


@pytest.mark.parametrize("session", ["", "..", "../x", "a" * 36, "0190D7A0-0000-7000-8000-000000000000", "x\n"])
async def test_only_ids_are_looked_up(registry: Registry, watched: Watched, session: str) -> None:
    with pytest.raises(RegistryError) as refused:
        await registry.uploads.get(NAME, session)
    assert refused.value.status == 404
    assert watched.calls == []


async def test_ids_sort_by_time_and_do_not_repeat() -> None:
    registry = Registry.over(MemoryStorage())
    ids = [(await registry.uploads.start(NAME)).id for _ in range(200)]
    assert len(set(ids)) == 200
    assert sorted(ids, key=lambda text: text[:13]) == ids


async def test_an_error_of_the_body_is_passed_on(registry: Registry) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"1234"
        raise RuntimeError("the server broke")

    upload = await registry.uploads.start(NAME)
    with pytest.raises(RuntimeError):
        await registry.uploads.append(upload, Chunk(broken()))
    found = await registry.uploads.get(NAME, upload.id)
    data = b"1234"[: found.offset] + b"end"
    await registry.uploads.finish(
        found, body(b"end"), Digest(hashlib.sha256(data).hexdigest().join(["sha256:", ""]))
    )
    assert await registry.blobs.size(NAME, Digest(digest(data))) == len(data)
