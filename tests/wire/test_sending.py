"""How content leaves: in one piece, in many, as a file, by redirect, and what happens when it breaks off."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.wire.asgi import Client
from tests.wire.compositions import FILESYSTEM, MEMORY, SECRET, Composition, dump, world
from tests.wire.conftest import OpenWorld
from tests.wire.content import OCI, Directory, blob_key, digest, layer_key
from tests.wire.fuzzing import NOWHERE
from tests.wire.storages import Redirecting, Watched, WatchedWriter
from tests.wire.world import APP, LAYER, LONG, OCI_IMAGE, WORLD

from lading.api import response
from lading.api.app import Application
from lading.api.service import Service
from lading.api.state import StateTokens
from lading.registry.ports import Reader, Storage, StorageError, StorageFullError, Writer
from lading.registry.registry import Registry
from lading.storage.memory import MemoryStorage

SIZES = [
    response.INLINE_BYTES - 1,
    response.INLINE_BYTES,
    response.INLINE_BYTES + 1,
    response.PIECE_BYTES + 1,
    3 * response.PIECE_BYTES,
]
EXTENSIONS: dict[str, dict[str, object]] = {
    "none": {},
    "pathsend": {"http.response.pathsend": {}},
    "zerocopysend": {"http.response.zerocopysend": {}},
    "both": {"http.response.pathsend": {}, "http.response.zerocopysend": {}},
}


def _content(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("composition", [MEMORY, FILESYSTEM], ids=["memory", "filesystem"])
@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("size", SIZES)
async def test_large_content(open_world: OpenWorld, composition: Composition, extension: str, size: int) -> None:
    data = _content(size)
    directory = Directory()
    name = directory.blob("app", data)
    place = await open_world(composition, directory.files)
    client = Client(place.client.app, EXTENSIONS[extension])
    target = f"/v2/app/blobs/{name}"
    whole = (await client.get(target)).expect(200)
    assert whole.body == data
    by_file = composition is FILESYSTEM and extension != "none" and size > response.INLINE_BYTES
    assert bool(whole.sent_files) == by_file
    head = (await client.send("HEAD", target)).expect(200)
    assert head.headers == whole.headers
    part = (await client.get(target, {"Range": f"bytes=1-{size - 2}"})).expect(206)
    assert part.body == data[1:-1]
    parts = (await client.get(target, {"Range": f"bytes=0-9,100-{size - 100},-9"})).expect(206)
    assert data[100 : size - 99] in parts.body
    assert parts.body.count(b"Content-Range: ") == 3


async def test_a_client_that_goes_stops_the_reading(open_world: OpenWorld) -> None:
    directory = Directory()
    name = directory.blob("app", _content(20 * response.PIECE_BYTES))
    place = await open_world(MEMORY, directory.files)
    sent = 0

    async def send(message: Any) -> None:
        nonlocal sent
        sent += len(message.get("body", b""))
        await asyncio.sleep(0)  # as any server does

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    scope = place.client.scope("GET", f"/v2/app/blobs/{name}")
    await place.client.app(scope, receive, send)
    assert sent <= 2 * response.PIECE_BYTES


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_redirects(method: str) -> None:
    client = Client(_application(Redirecting(await _memory())))
    name = digest(LAYER)
    answer = (await client.send(method, f"/v2/{APP}/blobs/{name}", {"Range": "bytes=0-1"})).expect(307)
    assert sorted(answer.headers) == [
        ("content-length", "0"),
        ("content-type", "application/octet-stream"),
        ("docker-distribution-api-version", "registry/2.0"),
        ("location", f"https://bucket.example{blob_key(name)}?for={method}&signed=1"),
    ]
    absent = (await client.send(method, f"/v2/test/blobs/{name}")).expect(404)
    assert absent.header("location") is None
    lost = digest(b"content whose file has vanished")
    (await client.send(method, f"/v2/{APP}/blobs/{lost}")).expect(404)
    # Manifests are never redirected.
    (await client.send(method, f"/v2/{APP}/manifests/oci")).expect(200)


async def test_redirects_can_be_switched_off() -> None:
    client = Client(_application(Redirecting(await _memory()), redirects=False))
    assert (await client.get(f"/v2/{APP}/blobs/{digest(LAYER)}")).expect(200).body == LAYER


async def test_a_blob_costs_two_calls() -> None:
    """A link and the data: not one more (defect 25). A link that was read is only looked for from then on."""
    storage = await _memory()
    link, data = layer_key(APP, digest(LONG)), blob_key(digest(LONG))
    for method, at_the_data in {"GET": "open", "HEAD": "stat"}.items():
        watched = Watched(storage)
        client = Client(_application(watched))
        for at_the_link in ("get", "stat", "stat"):
            watched.calls.clear()
            (await client.send(method, f"/v2/{APP}/blobs/{digest(LONG)}")).expect(200)
            assert watched.calls == [(at_the_link, link), (at_the_data, data)]


async def test_a_page_of_tags_reads_no_more_than_the_page() -> None:
    watched = Watched(await _memory())
    client = Client(_application(watched))
    (await client.get("/v2/test/tags/list?n=2")).expect(200)
    assert len(watched.calls) <= 3


@pytest.mark.parametrize("failing", ["stat", "get", "put", "open", "writer", "write", "commit", "list", "delete"])
async def test_a_storage_that_fails_is_our_fault_and_tells_no_paths(failing: str) -> None:
    def fail(operation: str, key: str) -> None:
        if operation == failing:
            raise StorageError("memory", f"it broke at {key}")

    client = Client(_application(Watched(await _memory(), fail), deletes=True))
    start = f"/v2/{APP}/blobs/uploads/"
    name = digest(b"new")
    for method, target, headers, body in [
        ("GET", f"/v2/{APP}/blobs/{digest(LAYER)}", {}, b""),
        ("HEAD", f"/v2/{APP}/blobs/{digest(LAYER)}", {}, b""),
        ("GET", f"/v2/{APP}/manifests/oci", {}, b""),
        ("PUT", f"/v2/{APP}/manifests/new", {"Content-Type": OCI}, OCI_IMAGE),
        ("GET", f"/v2/{APP}/tags/list", {}, b""),
        ("GET", f"/v2/{APP}/referrers/{digest(OCI_IMAGE)}", {}, b""),
        ("GET", "/v2/_catalog", {}, b""),
        ("POST", start, {}, b""),
        ("POST", f"{start}?digest={name}", {}, b"new"),
        ("POST", f"{start}?mount={digest(LAYER)}&from={APP}", {}, b""),
        ("DELETE", f"/v2/{APP}/blobs/{digest(LAYER)}", {}, b""),
        ("DELETE", f"/v2/{APP}/manifests/docker", {}, b""),
        ("DELETE", f"/v2/{APP}/manifests/{digest(OCI_IMAGE)}", {}, b""),
    ]:
        answer = await client.send(method, target, headers, body)
        assert answer.status < 400 or answer.status in {404, 500}, f"{method} {target}: {answer}"
        assert b"/docker" not in answer.body
        if answer.status == 500 and method != "HEAD":
            assert answer.codes() == ["UNKNOWN"]


@pytest.mark.parametrize("failing", ["put", "write", "writer", "commit"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_a_full_storage_says_so_and_gives_space_back(failing: str, method: str) -> None:
    full = False

    def fail(operation: str, key: str) -> None:
        if full and operation == failing:
            raise StorageFullError("memory", f"no space for {key}")

    memory = await _memory()
    client = Client(_application(Watched(memory, fail)))
    before = await dump(memory)
    name = digest(b"new")
    target = start = f"/v2/{APP}/blobs/uploads/"
    if method != "POST":
        target = (await client.post(start)).location
    full = True
    target += f"{'&' if '?' in target else '?'}digest={name}"
    answer = await client.send(method, target, {}, b"new")
    if answer.status in {201, 202}:
        assert (failing, method) in {("put", "PATCH"), ("commit", "PATCH")}, str(answer)
        return
    assert answer.expect(507).json()["errors"][0]["code"] == "UNAVAILABLE"
    assert b"/docker" not in answer.body
    left = {key: data for key, data in (await dump(memory)).items() if key not in before}
    assert not [key for key in left if "/_uploads/" in key and key.endswith("/data")], f"left behind: {left}"


async def test_a_file_that_shrinks_breaks_the_connection_off() -> None:
    """An error must not be written into a body of which a part was sent."""
    directory = Directory()
    name = directory.blob("app", _content(3 * response.PIECE_BYTES))
    memory = (await world(MEMORY, directory.files, NOWHERE)).storage
    client = Client(_application(_Shrinking(memory)))
    with pytest.raises(StorageError):
        await client.get(f"/v2/app/blobs/{name}")


async def test_a_small_file_that_shrinks_is_an_honest_error() -> None:
    client = Client(_application(_Shrinking(await _memory())))
    answer = await client.get(f"/v2/{APP}/blobs/{digest(LONG)}")
    assert answer.expect(500).codes() == ["UNKNOWN"]


class _Short:
    """The reader of a file that has become one byte shorter than it says."""

    path = None

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data[:-1]
        self._offset = 0

    def fileno(self) -> int:
        raise OSError

    async def read(self, limit: int) -> bytes:
        start, self._offset = self._offset, min(self._offset + limit, len(self._data))
        return self._data[start : self._offset]

    def seek(self, offset: int) -> None:
        self._offset = offset

    async def close(self) -> None:
        pass


class _Shrinking(Watched):
    async def open(self, key: str, offset: int = 0) -> Reader:
        return _Short(await self.inner.get(key))


async def _memory() -> MemoryStorage:
    storage = (await world(MEMORY, WORLD.files, NOWHERE)).storage
    assert isinstance(storage, MemoryStorage)
    return storage


def _application(storage: Storage, *, deletes: bool = False, redirects: bool = True) -> Application:
    service = Service(Registry.over(storage), StateTokens(SECRET), deletes=deletes, redirects=redirects)
    return Application(service)


async def test_configured_headers_are_there_once(open_world: OpenWorld) -> None:
    """The original's own container configures this one, which some answers have of their own."""
    composition = replace(MEMORY)
    storage = (await open_world(composition, WORLD.files)).storage
    header = (b"x-content-type-options", b"nosniff")
    service = Service(Registry.over(storage), StateTokens(SECRET), headers=(header,))
    client = Client(Application(service))
    for method, target, headers in [
        ("GET", "/v2/", {}),
        ("POST", "/v2/_catalog", {}),
        ("GET", f"/v2/{APP}/blobs/{digest(LONG)}", {"Range": "bytes=9999-"}),
        ("GET", "/v2/no/such/tags/list", {}),
    ]:
        answer = await client.send(method, target, headers)
        assert answer.header_lines("x-content-type-options") == ["nosniff"], f"{method} {target}"


def test_the_watch_forwards_every_method() -> None:
    for port, wrapper in [(Storage, Watched), (Writer, WatchedWriter)]:
        methods = {name for name in vars(port) if not name.startswith("_")}
        assert methods <= {name for name in dir(wrapper) if callable(getattr(wrapper, name))}
