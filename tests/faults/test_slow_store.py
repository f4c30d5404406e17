"""The store refuses, hangs, stalls in an answer, or trickles: clients get all of it, or a clean error."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.faults.leftovers import left_for_ever
from tests.servers import azurite, content, fake_gcs
from tests.servers.client import with_query
from tests.servers.faultproxy import Fault, FaultProxy, faultproxy
from tests.servers.versitygw import gateway
from tests.wire.asgi import Answer, Client
from tests.wire.compositions import Composition

import lading.storage.azure
import lading.storage.gcs
from lading.compose.storage import Closable
from lading.registry import layout
from lading.registry.ports import Storage, StorageError, UnavailableError
from lading.storage.azure import AzureStorage
from lading.storage.gcs import GcsStorage
from lading.storage.s3 import Options, S3Storage
from lading.storage.s3.bucket import ATTEMPTS

MIB = 1024 * 1024
SILENCE = 1.0
FOREVER = 1_000_000
FULL = os.environ.get("LADING_FULL") == "1"
STEP = 1 if FULL else 8
"""One in so many requests is slow, in turn."""

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(3000 if FULL else 240)]

FAULTS: list[Fault] = ["500", "503", "reset", "cut", "hang", "stall", "trickle"]
PACKAGE = content.image("slow", layer_sizes=(6 * MIB,))
LAYER = PACKAGE.blobs[-1]
DATA, DIGEST = LAYER.data, LAYER.digest


@dataclass
class Place:
    proxy: FaultProxy
    storage: Storage
    client: Client
    tries: int
    """What a driver makes of one request."""


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[tuple[FaultProxy, Storage, int]]:
    with gateway(folder / "store") as store, faultproxy(store.host) as proxy:
        options = Options(
            bucket="bucket",
            accesskey="key",
            secretkey="a secret of the store",
            endpoint=f"http://{proxy.host}",
            pathstyle=True,
            chunksize=5 * MIB,
            silence=SILENCE,
        )
        yield proxy, S3Storage(options, layout.UPLOADS, layout.FILES, layout.LINKS), ATTEMPTS


@contextlib.contextmanager
def azure(folder: Path) -> Iterator[tuple[FaultProxy, Storage, int]]:
    with azurite.azurite(folder) as store, faultproxy(urlsplit(store.url).netloc) as proxy:
        address = f"http://{proxy.host}/{azurite.ACCOUNT}"
        container, key = store.make_container("slow"), {"type": "shared_key"}
        storage = AzureStorage(azurite.ACCOUNT, container, address, key, key=azurite.KEY, silence=SILENCE)
        yield proxy, storage, lading.storage.azure.TRIES


@contextlib.contextmanager
def gcs(folder: Path) -> Iterator[tuple[FaultProxy, Storage, int]]:
    with fake_gcs.fake_gcs(folder) as store, faultproxy(urlsplit(store.url).netloc) as proxy:
        bucket = store.make_bucket("slow")
        storage = GcsStorage(bucket, chunk=MIB, emulator=f"http://{proxy.host}", silence=SILENCE)
        yield proxy, storage, lading.storage.gcs.TRIES


@pytest.fixture(params=[s3, azure, gcs], ids=["s3", "azure", "gcs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[FaultProxy, Storage, int]]:
    with request.param(tmp_path) as made:
        yield made


@pytest.fixture
async def place(store: tuple[FaultProxy, Storage, int]) -> AsyncIterator[Place]:
    proxy, storage, tries = store
    yield Place(proxy, storage, Client(Composition("s3").open(Direct(storage))), tries)
    if isinstance(storage, Closable):
        await storage.close()


class Direct:
    """Sends nobody elsewhere."""

    def __init__(self, inner: Storage) -> None:
        self.traits = replace(inner.traits, redirects=False)
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


async def push(client: Client, repository: str) -> list[Answer]:
    """The answers up to the first that is none of success."""
    answers = [await client.send("POST", f"/v2/{repository}/blobs/uploads/")]
    if answers[-1].status == 202:
        answers.append(await client.send("PATCH", answers[-1].location, body=DATA))
    if answers[-1].status == 202 and len(answers) == 2:
        answers.append(await client.send("PUT", with_query(answers[-1].location, digest=DIGEST)))
    return answers


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_push(fault: Fault, place: Place) -> None:
    """An attempt that is never answered is made again: one that was carried out does no harm."""
    place.proxy.reset()
    assert [answer.status for answer in await push(place.client, "all/well")] == [202, 202, 201]
    for number in filter(lambda n: (n + FAULTS.index(fault)) % STEP == 0, range(len(place.proxy.requests))):
        place.proxy.reset(fault, number)
        repository = f"{fault}/{number}"
        answers = await push(place.client, repository)
        assert [answer.status for answer in answers] == [202, 202, 201], f"request {number}: {answers[-1]}"
        assert (await place.client.send("GET", f"/v2/{repository}/blobs/{DIGEST}")).body == DATA
    place.proxy.reset()
    assert await left_for_ever(place.storage) == []


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_read_listed_and_deleted(fault: Fault, place: Place) -> None:
    assert (await push(place.client, "app"))[-1].status == 201
    config = PACKAGE.blobs[0]
    answer = await place.client.send("POST", f"/v2/app/blobs/uploads/?digest={config.digest}", body=config.data)
    answer.expect(201)
    manifest, kind = PACKAGE.manifest, {"Content-Type": PACKAGE.manifest.media_type}
    steps = [
        ("GET", f"/v2/app/blobs/{DIGEST}", 200, DATA),
        ("HEAD", f"/v2/app/blobs/{DIGEST}", 200, b""),
        ("PUT", "/v2/app/manifests/1.0", 201, None),
        ("GET", "/v2/app/manifests/1.0", 200, manifest.data),
        ("GET", "/v2/app/tags/list", 200, b'{"name":"app","tags":["1.0"]}\n'),
        ("GET", "/v2/_catalog", 200, b'{"repositories":["app"]}\n'),
        ("DELETE", f"/v2/app/manifests/{manifest.digest}", 202, None),
    ]
    for method, target, status, body in steps:
        number = asked = 0
        while number <= asked:
            place.proxy.reset(fault, number)
            data = manifest.data if method == "PUT" else b""
            answer = await place.client.send(method, target, kind if method == "PUT" else {}, data)
            asked = len(place.proxy.requests) - 1
            repeated = method == "DELETE" and answer.status == 404
            assert repeated or answer.status == status, f"{fault} at {number}: {answer}"
            assert body is None or answer.body == body
            number += STEP
            if method == "DELETE":
                break
    place.proxy.reset()
    assert await left_for_ever(place.storage) == []


async def test_what_a_push_that_ends_anywhere_leaves_is_purged(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From some request on the store never answers: no claim can be taken back, nothing be removed."""
    for module in (lading.storage.azure, lading.storage.gcs):
        monkeypatch.setattr(module, "FIRST_PAUSE", 0.0)
    place.proxy.reset()
    assert (await push(place.client, "all/well"))[-1].status == 201
    for number in range(0, len(place.proxy.requests), STEP):
        place.proxy.reset("reset", number, FOREVER)
        await push(place.client, f"ended/{number}")
        place.proxy.reset()
    assert await left_for_ever(place.storage) == []


async def test_a_store_that_never_answers(place: Place) -> None:
    """503 before long, and as soon as it answers again all goes on: no lease or hold stays."""
    assert (await push(place.client, "app"))[-1].status == 201
    location = (await place.client.send("POST", "/v2/app/blobs/uploads/")).expect(202).location
    place.proxy.reset("hang", 0, FOREVER)
    answers = await asyncio.gather(
        place.client.send("GET", f"/v2/app/blobs/{DIGEST}"),
        place.client.send("GET", "/v2/app/tags/list"),
        place.client.send("POST", "/v2/app/blobs/uploads/"),
        place.client.send("PATCH", location, body=DATA),
        place.client.send("DELETE", f"/v2/app/blobs/{DIGEST}"),
    )
    assert [answer.status for answer in answers] == [503] * 5
    place.proxy.reset()
    assert (await place.client.send("PATCH", location, body=DATA)).status == 202
    assert (await place.client.send("GET", f"/v2/app/blobs/{DIGEST}")).body == DATA
    assert await left_for_ever(place.storage) == []


async def test_who_is_silent_twice_is_not_asked_again(place: Place) -> None:
    """A client waits for a minute or two, not for as many as there are attempts."""
    await place.storage.put("/there", b"content")
    place.proxy.reset("hang", 0, FOREVER)
    for call in (place.storage.get("/there"), place.storage.put("/there", b"other"), place.storage.list("/")):
        place.proxy.requests.clear()
        with pytest.raises(UnavailableError):
            await call
        assert len(place.proxy.requests) == 2
    answer = await place.client.send("GET", f"/v2/app/blobs/{DIGEST}")
    assert answer.expect(503).codes() == ["UNAVAILABLE"]


async def test_a_download_that_stalls_for_good(place: Place) -> None:
    """It ends with an error; what was sent of it is right, and never looks like all of it."""
    writer = await place.storage.writer("/uploads/blob", append=False)
    await writer.write([DATA])
    await writer.commit("/blob")
    place.proxy.reset("stall")
    reader = await place.storage.open("/blob")
    got = await reader.read(100_000)
    place.proxy.reset("hang", 0, FOREVER)

    async def rest() -> None:
        nonlocal got
        while piece := await reader.read(MIB):
            got += piece

    with pytest.raises(StorageError):
        await rest()
    await reader.close()
    assert DATA.startswith(got)
    assert 100_000 < len(got) < len(DATA)
    assert len(place.proxy.requests) <= place.tries, "attempts are multiplied"
    gc.collect()  # what was not closed says so now


@pytest.mark.parametrize("fault", ["stall", "cut"])
async def test_the_answer_to_a_lease_is_lost(fault: Fault, place: Place) -> None:
    """It is known for one's own, at the beginning and when it is renewed."""
    key = "/docker/registry/v2/repositories/app/_uploads/1/data"
    place.proxy.reset(fault)
    writer = await place.storage.writer(key, append=True)
    await writer.write([b"content"])
    await writer.commit("/target")
    assert await place.storage.get("/target") == b"content"
