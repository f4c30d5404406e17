"""Lists of unfinished uploads lag behind on some stores: no session is taken for an empty one for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.faults.leftovers import left_for_ever
from tests.servers import content
from tests.servers.client import with_query
from tests.servers.faultproxy import FaultProxy, faultproxy
from tests.servers.versitygw import gateway
from tests.wire.asgi import Client
from tests.wire.compositions import Composition

from lading.oci.digest import Digest
from lading.registry import layout, uploads
from lading.registry.ports import PathNotFoundError
from lading.storage.s3 import Options, S3Storage, multipart
from lading.storage.s3.bucket import Bucket

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]

MIB = 1024 * 1024
DATA = content.noise("lagging", 6 * MIB)
DIGEST = content.digest_of(DATA)
SESSION = f"{layout.ROOT}/repositories/app/_uploads/one/data"


@dataclass
class Place:
    proxy: FaultProxy
    options: Options
    storage: S3Storage
    client: Client


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[FaultProxy]:
    with gateway(tmp_path / "store") as store, faultproxy(store.host) as running:
        yield running


@pytest.fixture
async def place(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(uploads, "LOCK_SECONDS", 0.5)
    options = Options(
        bucket="bucket",
        accesskey="key",
        secretkey="a secret of the store",
        endpoint=f"http://{proxy.host}",
        pathstyle=True,
        chunksize=5 * MIB,
    )
    storage = S3Storage(options, layout.UPLOADS, layout.FILES)
    yield Place(proxy, options, storage, Client(Composition("s3").open(storage)))
    await storage.close()


async def begun(place: Place) -> str:
    """Where the session is that holds all of the content."""
    location = (await place.client.send("POST", "/v2/app/blobs/uploads/")).expect(202).location
    return (await place.client.send("PATCH", location, body=DATA)).expect(202).location


async def test_what_was_received_is_not_forgotten(place: Place) -> None:
    """Refused while it cannot be seen; afterwards it goes on, with all there was."""
    location = await begun(place)
    place.proxy.lagging = True
    assert (await place.client.send("GET", location)).expect(404).codes() == ["BLOB_UPLOAD_UNKNOWN"]
    assert (await place.client.send("PATCH", location, body=b"more")).expect(416).codes() == ["RANGE_INVALID"]
    ended = await place.client.send("PUT", with_query(location, digest=DIGEST))
    assert ended.expect(416).codes() == ["RANGE_INVALID"]
    place.proxy.lagging = False
    assert (await place.client.send("GET", location)).expect(204).header("range") == f"0-{len(DATA) - 1}"
    (await place.client.send("PUT", with_query(location, digest=DIGEST))).expect(201)
    assert await place.storage.get(layout.blob_data(Digest(DIGEST))) == DATA


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_list_that_lags_for_a_moment_is_waited_for(
    method: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "LOCK_SECONDS", 60.0)
    location = await begun(place)
    place.proxy.reset()
    place.proxy.lagging = True
    asking = asyncio.create_task(place.client.send(method, with_query(location, digest=DIGEST)))
    while sum("uploads" in request for request in place.proxy.requests) < 2:
        await asyncio.sleep(0.01)
    place.proxy.lagging = False
    answer = await asking
    assert answer.status == (204 if method == "GET" else 201)
    if method == "GET":
        assert answer.header("range") == f"0-{len(DATA) - 1}"


async def test_a_session_that_has_ended_is_not_waited_for(place: Place) -> None:
    location = await begun(place)
    (await place.client.send("PUT", with_query(location, digest=DIGEST))).expect(201)
    place.proxy.reset()
    for method in ("GET", "PATCH", "PUT"):
        answer = await place.client.send(method, with_query(location, digest=DIGEST))
        assert answer.expect(404).codes() == ["BLOB_UPLOAD_UNKNOWN"]
    assert sum("?uploads" in request for request in place.proxy.requests) <= 4


async def test_a_session_is_not_begun_anew_beside_what_is_not_listed(place: Place) -> None:
    """Of two uploads only the older could be listed at the end, and be taken for what the hash is of."""
    first = await begun(place)
    place.proxy.lagging = True
    begin = (await place.client.send("GET", first.partition("?")[0])).expect(204).location
    answer = await place.client.send("PATCH", begin, body=bytes(reversed(DATA)))
    assert answer.expect(416).codes() == ["RANGE_INVALID"]
    place.proxy.lagging = False
    assert [upload.name async for upload in multipart.uploads(place.storage._bucket, "/", "")] != []
    (await place.client.send("PUT", with_query(first, digest=DIGEST))).expect(201)
    assert await place.storage.get(layout.blob_data(Digest(DIGEST))) == DATA
    assert await left_for_ever(place.storage) == []


async def test_an_upload_that_could_not_be_created_is_begun_anew(place: Place) -> None:
    location = (await place.client.send("POST", "/v2/app/blobs/uploads/")).expect(202).location
    place.proxy.refused = "POST"
    (await place.client.send("PATCH", location, body=DATA)).expect(503)
    place.proxy.refused = ""
    location = (await place.client.send("PATCH", location, body=DATA)).expect(202).location
    (await place.client.send("PUT", with_query(location, digest=DIGEST))).expect(201)
    assert await left_for_ever(place.storage) == []


async def test_two_histories_of_one_session_are_none(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a store that takes no conditions it is begun anew: nobody knows then whose bytes the hash is of."""
    monkeypatch.setattr(multipart, "begin", lambda bucket, key, mark: multipart.create(bucket, key))
    first = await begun(place)
    place.proxy.lagging = True
    begin = (await place.client.send("GET", first.partition("?")[0])).expect(204).location
    other = bytes(reversed(DATA))
    again = (await place.client.send("PATCH", begin, body=other)).expect(202).location
    place.proxy.lagging = False
    answer = await place.client.send("PUT", with_query(again, digest=content.digest_of(other)))
    assert answer.expect(404).codes() == ["BLOB_UPLOAD_UNKNOWN"]
    (await place.client.send("GET", f"/v2/app/blobs/{content.digest_of(other)}")).expect(404)
    bucket = Bucket(place.options)
    assert [upload async for upload in multipart.uploads(bucket, "/", "")] == []
    await bucket.close()


async def test_a_copy_that_was_broken_off_counts_up_to_its_first_gap(place: Place) -> None:
    """Parts are copied at the same time: of those a process leaves that is killed, some may be missing."""
    bucket = Bucket(place.options)
    upload = await multipart.create(bucket, SESSION)
    for number in (1, 3):
        await multipart.put_part(bucket, SESSION, upload, number, DATA[: 5 * MIB])
    assert (await place.storage.stat(SESSION)).size == 5 * MIB
    writer = await place.storage.writer(SESSION, append=True)
    assert writer.size == 5 * MIB
    await writer.write([b"rest"])
    await writer.commit("/target")
    assert await place.storage.get("/target") == DATA[: 5 * MIB] + b"rest"
    with pytest.raises(PathNotFoundError):
        await place.storage.stat(SESSION)
    await bucket.close()
