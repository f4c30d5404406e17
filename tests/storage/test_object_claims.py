"""Writers of object stores that die, stand still, or are taken for dead: nothing is mixed, and nothing stays."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.leftovers import DAY, names, nobody_lives
from tests.servers import azurite, content, fake_gcs
from tests.servers.client import with_query
from tests.wire.asgi import Client
from tests.wire.compositions import Composition

from lading.registry import layout, uploads
from lading.registry.ports import BusyError, PathNotFoundError
from lading.storage.azure import AzureStorage
from lading.storage.gcs import GcsStorage
from lading.storage.objects import ObjectStorage, claims

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]

MIB = 1024 * 1024
SESSION = f"{layout.ROOT}/repositories/app/_uploads/one"
KEY = f"{SESSION}/data"
CLAIM = f"~lading/writers{KEY}"
PIECES = [content.noise(str(number), 4 * MIB) for number in range(3)]


@pytest.fixture(params=["azure", "gcs"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], ObjectStorage]]:
    """Each is another process."""
    place = f"c{uuid.uuid4().hex}"
    if request.param == "azure":
        with azurite.azurite(tmp_path) as blobs:
            blobs.make_container(place)
            kind = {"type": "shared_key"}
            yield lambda: AzureStorage(azurite.ACCOUNT, place, blobs.url, kind, key=azurite.KEY)
    else:
        with fake_gcs.fake_gcs(tmp_path) as objects:
            objects.make_bucket(place)
            yield lambda: GcsStorage(place, chunk=MIB, emulator=objects.url)


@pytest.fixture
async def both(make: Callable[[], ObjectStorage]) -> AsyncIterator[tuple[ObjectStorage, ObjectStorage]]:
    first, second = make(), make()
    yield first, second
    await first.close()
    await second.close()


async def test_claims_that_nobody_takes_over_are_purged(both: tuple[ObjectStorage, ObjectStorage]) -> None:
    storage, bucket = both[0], both[0]._bucket
    dead = [CLAIM, f"~lading/holds{layout.ROOT}/repositories/app/~shared/1"]
    for name in [*dead, "~lading/writers/of/another/application"]:
        await bucket.put(name, b"dead 10")
    writer = await storage.writer(f"{SESSION}2/data", append=True)
    later = time.time() + DAY
    assert await storage.abort_older(layout.ROOT, later) == 0, "they may live still"
    with nobody_lives():
        assert await storage.abort_older(layout.ROOT, time.time() - DAY) == 0
        assert await storage.abort_older(layout.ROOT, later, dry_run=True) == 3
        await writer.cancel()
        assert await storage.abort_older(layout.ROOT, later) == 2
    assert await names(storage) == ["~lading/writers/of/another/application"]


@pytest.mark.parametrize("more", [b"", b"rest"], ids=["", "with a rest"])
async def test_one_that_was_taken_for_dead_writes_on(
    more: bytes, both: tuple[ObjectStorage, ObjectStorage]
) -> None:
    """What it still sends is not taken for what the next one knows of."""
    first, second = both
    writer = await first.writer(KEY, append=True)
    await writer.write([PIECES[0]])
    await writer.close()
    alive = await first.writer(KEY, append=True)
    await first._bucket.remove(CLAIM)
    taking = await second.writer(KEY, append=True)
    assert taking.size == 4 * MIB
    await alive.write([PIECES[1]])
    await taking.write([more])
    with pytest.raises(BusyError):
        await taking.commit("/taken", {"/link": b"taken"})
    await alive.commit("/alive")
    assert await second.get("/alive") == PIECES[0] + PIECES[1]
    for key in ("/taken", "/link"):
        with pytest.raises(PathNotFoundError):
            await second.get(key)


async def test_a_writer_that_stood_still_ends_with_an_error(both: tuple[ObjectStorage, ObjectStorage]) -> None:
    first, second = both
    still = await first.writer(KEY, append=True)
    await still.write([PIECES[0]])
    await first._bucket.remove(CLAIM)
    taking = await second.writer(KEY, append=False)
    await taking.write([PIECES[1], b"end"])

    async def go_on() -> None:
        await still.write([PIECES[2]])
        await still.commit("/still")

    with pytest.raises((BusyError, PathNotFoundError)):
        await go_on()
    await taking.commit("/taken")
    assert await second.get("/taken") == PIECES[1] + b"end"
    with pytest.raises(PathNotFoundError):
        await second.get("/still")


async def test_who_is_cancelled_while_claiming_leaves_no_claim(
    both: tuple[ObjectStorage, ObjectStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, claiming, go_on = both[0], asyncio.Event(), asyncio.Event()
    put = storage._bucket.put

    async def slow(name: str, data: bytes, only: str | None = None) -> str | None:
        tag = await put(name, data, only)
        claiming.set()
        await go_on.wait()
        return tag

    monkeypatch.setattr(storage._bucket, "put", slow)
    task = asyncio.create_task(storage.writer(KEY, append=True))
    await claiming.wait()
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await names(storage) == []


async def test_a_claim_outlives_a_renewal_that_is_not_answered(
    both: tuple[ObjectStorage, ObjectStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt finds what the one before has written, and counts as a renewal."""
    monkeypatch.setattr(claims, "RENEWAL_SECONDS", 0.2)
    storage, put, silent, renewed = both[0], both[0]._bucket.put, [True], asyncio.Event()

    async def unanswered(name: str, data: bytes, only: str | None = None) -> str | None:
        tag = await put(name, data, only)
        if only and silent:
            silent.clear()
            await asyncio.Event().wait()
        elif only:
            renewed.set()
        return tag

    claim = await claims.Claim.make(storage._bucket, CLAIM, 10.0)
    monkeypatch.setattr(storage._bucket, "put", unanswered)
    await asyncio.wait_for(renewed.wait(), 60)
    assert not claim.lost
    with pytest.raises(BusyError):
        await claims.Claim.make(both[1]._bucket, CLAIM, 10.0)
    await claim.release()
    assert await names(storage) == []


async def test_the_next_request_waits_for_a_dead_writer(
    both: tuple[ObjectStorage, ObjectStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that goes on after its node was killed is not refused; beside a writer that lives it is."""
    monkeypatch.setattr(uploads, "LOCK_SECONDS", 0.0)
    monkeypatch.setattr(claims, "RENEWAL_SECONDS", 0.5)
    storage, bucket = both[0], both[0]._bucket
    client = Client(Composition("s3").open(storage))
    location = (await client.send("POST", "/v2/app/blobs/uploads/")).expect(202).location
    name = f"~lading/writers{layout.ROOT}/repositories/app/_uploads/{location.split('?')[0].split('/')[-1]}/data"
    claim = await claims.Claim.make(bucket, name, 10.0)
    (await client.send("PATCH", location, body=b"content")).expect(416)
    await claim.release()
    await bucket.put(name, b"dead 2")
    location = (await client.send("PATCH", location, body=b"content")).expect(202).location
    (await client.send("PUT", with_query(location, digest=content.digest_of(b"content")))).expect(201)
