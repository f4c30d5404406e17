"""An object store that fails: what can be tried again is; else only `StorageError` leaves the driver."""

from __future__ import annotations

import asyncio
import io
import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from tests.faults.leftovers import left_for_ever
from tests.servers import azurite, fake_gcs
from yarl import URL

from lading.registry.ports import Storage, UnavailableError
from lading.storage.azure import AzureStorage
from lading.storage.gcs import GcsStorage
from lading.testing.storage.trial import noise

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(180)]


class Proxy:
    """Stands before a store; `fails` tells of each request, by its number, whether the store is asked at all."""

    def __init__(self, server: str) -> None:
        self.fails: Callable[[int], bool] = lambda number: False
        self.failed = 0
        self.url = ""
        self._server = server
        self._count = itertools.count(1)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self.fails(next(self._count)):
            self.failed += 1
            if self.failed % 3 == 0:
                assert request.transport is not None
                request.transport.abort()
            return web.Response(status=(500, 503)[self.failed % 2])
        headers = {
            key: value
            for key, value in request.headers.items()
            if key not in {"Host", "Content-Length", "Transfer-Encoding"}
        }
        url = URL(self._server + request.raw_path, encoded=True)
        data = io.BytesIO(body) if body else None
        async with (
            aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Content-Type"]) as session,
            session.request(request.method, url, headers=headers, data=data, allow_redirects=False) as answer,
        ):
            content = await answer.read()
            kept = {"Content-Length", "Transfer-Encoding", "Connection"}
            shown = [(key, value) for key, value in answer.headers.items() if key not in kept]
            if request.method == "HEAD":
                shown.append(("Content-Length", answer.headers.get("Content-Length", "0")))
            return web.Response(status=answer.status, headers=dict(shown), body=content)


@pytest.fixture(params=["azure", "gcs"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str, str]]:
    name = f"c{uuid.uuid4().hex}"
    if request.param == "azure":
        with azurite.azurite(tmp_path) as blobs:
            yield "azure", blobs.url, blobs.make_container(name)
    else:
        with fake_gcs.fake_gcs(tmp_path) as objects:
            yield "gcs", objects.url, objects.make_bucket(name)


@pytest.fixture
async def proxy(server: tuple[str, str, str]) -> AsyncIterator[Proxy]:
    parts = urlsplit(server[1])
    proxy = Proxy(f"{parts.scheme}://{parts.netloc}")
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{path:.*}", proxy.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}{parts.path}"
    yield proxy
    await runner.cleanup()


@pytest.fixture
def storage(server: tuple[str, str, str], proxy: Proxy) -> Storage:
    kind, _, place = server
    if kind == "azure":
        return AzureStorage(azurite.ACCOUNT, place, proxy.url, {"type": "shared_key"}, key=azurite.KEY)
    return GcsStorage(place, chunk=1024 * 1024, emulator=proxy.url)


async def test_what_fails_now_and_then_is_tried_again(storage: Storage, proxy: Proxy) -> None:
    proxy.fails = lambda number: number % 3 == 0
    data = noise(5 * 1024 * 1024)
    writer = await storage.writer("/uploads/data", append=True)
    await writer.write([data[:2_000_000]])
    await writer.close()
    writer = await storage.writer("/uploads/data", append=True)
    assert writer.size == 2_000_000
    await writer.write([data[2_000_000:]])
    await writer.commit("/blobs/data", {"/links/link": b"link"})
    assert await storage.get("/blobs/data") == data
    assert await storage.list("/") == ["blobs", "links"]
    assert proxy.failed >= 3
    proxy.fails = lambda number: False
    assert await left_for_ever(storage) == ["blobs/data", "links/link"]


async def test_what_fails_for_good_is_a_storage_error(storage: Storage, proxy: Proxy) -> None:
    await storage.put("/there", b"content")
    proxy.fails = lambda number: True
    calls = (
        storage.get("/there"),
        storage.stat("/there"),
        storage.put("/there", b"other"),
        storage.list("/"),
        storage.delete("/there"),
        storage.move("/there", "/other"),
        storage.writer("/there", append=False),
    )
    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(failure) for failure in failures] == [UnavailableError] * len(calls)
    proxy.fails = lambda number: False
    assert await storage.get("/there") == b"content"
    assert await left_for_ever(storage) == ["there"]
