"""Multipart uploads that nobody will finish are found and aborted, whatever else is left of them."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from tests.servers.versitygw import Gateway, gateway

from lading.compose.storage import abort_older
from lading.config.load import parse
from lading.config.models.configuration import Configuration
from lading.registry import layout
from lading.registry.purge import purge
from lading.storage.s3 import Options, S3Storage, multipart
from lading.storage.s3.bucket import Bucket

MIB = 1024 * 1024
BLOB = f"{layout.ROOT}/blobs/sha256/aa/data"
SESSION = f"{layout.ROOT}/repositories/team/app/_uploads/one"
LATER = time.time() + 3600


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path / "store") as running:
        yield running


def options(endpoint: str, **more: object) -> Options:
    given: dict[str, object] = {"bucket": "bucket", "accesskey": "key", "secretkey": "a secret of the store"}
    given |= {"endpoint": endpoint, "pathstyle": True, "chunksize": 5 * MIB}
    return Options(**(given | more))  # type: ignore[arg-type]


@pytest.fixture
async def bucket(store: Gateway) -> AsyncIterator[Bucket]:
    made = Bucket(options(f"http://{store.host}"))
    yield made
    await made.close()


@pytest.fixture
async def storage(store: Gateway) -> AsyncIterator[S3Storage]:
    made = S3Storage(options(f"http://{store.host}"), layout.UPLOADS, layout.FILES)
    yield made
    await made.close()


def configured(**storage: object) -> Configuration:
    return parse(json.dumps({"version": "0.1", "storage": storage}), "test", {}).configuration


async def unfinished(bucket: Bucket) -> list[str]:
    return [f"/{upload.name}" async for upload in multipart.uploads(bucket, "/", "")]


@pytest.mark.peer
async def test_what_a_client_abandons_goes_with_its_session(storage: S3Storage, bucket: Bucket) -> None:
    await storage.put(f"{SESSION}/startedat", b"2024-05-01T12:00:00Z")
    writer = await storage.writer(f"{SESSION}/data", append=True)
    await writer.write([bytes(6 * MIB)])
    await writer.close()
    assert await unfinished(bucket) == [f"{SESSION}/data"]
    limit = datetime.datetime(2024, 5, 8, tzinfo=datetime.UTC)
    assert (await purge(storage, older_than=limit)).sessions == 1
    assert await unfinished(bucket) == []


@pytest.mark.peer
async def test_what_is_cancelled_leaves_nothing(storage: S3Storage, bucket: Bucket) -> None:
    writer = await storage.writer(f"{SESSION}/data", append=True)
    await writer.write([bytes(6 * MIB)])
    await writer.write([bytes(6 * MIB)])  # which waits until the first is sent
    assert await unfinished(bucket) == [f"{SESSION}/data"]
    await writer.cancel()
    assert await unfinished(bucket) == []
    assert await storage.list("/") == []


@pytest.mark.peer
async def test_an_upload_that_was_created_twice(storage: S3Storage, bucket: Bucket) -> None:
    """The answer to the first creation was lost: what was sent went to the second."""
    writer = await storage.writer(f"{SESSION}/data", append=True)
    await writer.write([bytes(6 * MIB)])
    await writer.close()
    for _ in range(4):
        await multipart.create(bucket, f"{SESSION}/data")
    assert (await storage.stat(f"{SESSION}/data")).size == 6 * MIB
    writer = await storage.writer(f"{SESSION}/data", append=True)
    assert writer.size == 6 * MIB
    assert await unfinished(bucket) == [f"{SESSION}/data"]
    await writer.commit(BLOB)
    assert await unfinished(bucket) == []


@pytest.mark.peer
async def test_what_dead_processes_leave(storage: S3Storage, bucket: Bucket) -> None:
    """A copy to a blob that was broken off, and an upload whose session is gone, are in no listing of objects."""
    for key in (BLOB, f"{SESSION}/data", "/of/another/application"):
        await multipart.create(bucket, key)
    assert (await purge(storage, older_than=datetime.datetime.now(datetime.UTC))).sessions == 0

    assert await storage.abort_older(layout.ROOT, time.time() - 3600) == 0
    assert await storage.abort_older(layout.ROOT, LATER, dry_run=True) == 2
    assert len(await unfinished(bucket)) == 3
    assert await storage.abort_older(layout.ROOT, LATER) == 2
    assert await unfinished(bucket) == ["/of/another/application"]


@pytest.mark.peer
async def test_as_housekeeping_does(store: Gateway, bucket: Bucket) -> None:
    await multipart.create(bucket, BLOB)
    assert await abort_older(configured(s3=store.parameters()), LATER, True) == 1
    assert await abort_older(configured(s3=store.parameters()), LATER, False) == 1
    assert await unfinished(bucket) == []
    assert await abort_older(configured(inmemory={}), LATER, False) == 0


class Pages:
    """A stand-in that lists one upload on each page, for no server does: after the last, what `end` says."""

    def __init__(self, count: int, end: str) -> None:
        self.aborted: list[str] = []
        self._names = [f"{layout.ROOT[1:]}/{number}" for number in range(count)]
        self._end = end
        self.asked = 0

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "DELETE":
            self.aborted.append(request.path.removeprefix("/bucket/"))
            return web.Response(status=204)
        self.asked += 1
        assert self.asked < 20, "asks again and again"
        after = request.query.get("key-marker", "")
        name = next((name for name in self._names if name > after), "")
        listed = (
            f"<Upload><Key>{name}</Key><UploadId>u</UploadId><Initiated>2024-01-01T00:00:00Z</Initiated></Upload>"
        )
        more = name != self._names[-1]
        following = f"<IsTruncated>true</IsTruncated><NextKeyMarker>{name}</NextKeyMarker>"
        following += "<NextUploadIdMarker>u</NextUploadIdMarker>"
        end = following if more else self._end
        body = f"<ListMultipartUploadsResult>{listed}{end}</ListMultipartUploadsResult>"
        return web.Response(text=body, content_type="text/xml")


@pytest.mark.parametrize(
    "end",
    [
        "<IsTruncated>false</IsTruncated>",
        "<IsTruncated>true</IsTruncated>",
        f"<IsTruncated>true</IsTruncated><NextKeyMarker>{layout.ROOT[1:]}/1</NextKeyMarker>"
        "<NextUploadIdMarker>u</NextUploadIdMarker>",
    ],
    ids=["the last page says so", "no marker", "the same marker again"],
)
async def test_listings_have_pages_and_an_end(end: str) -> None:
    pages = Pages(3, end)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", pages.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        storage = S3Storage(options(f"http://{host}:{port}"), layout.UPLOADS, layout.FILES)
        try:
            assert await storage.abort_older(layout.ROOT, LATER) == 3
        finally:
            await storage.close()
    finally:
        await runner.cleanup()
    assert pages.aborted == [f"{layout.ROOT[1:]}/{number}" for number in range(3)]
