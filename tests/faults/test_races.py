"""Two requests of which one runs in the middle of the other, at the worst moment there is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import pytest
from tests.faults import directory
from tests.faults.node import StartNode, eventually
from tests.faults.wire import Wire
from tests.servers import content
from tests.servers.client import with_query
from tests.servers.content import Package

from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName, Tag
from lading.registry import layout
from lading.registry.registry import Registry
from lading.registry.uploads import Chunk
from lading.storage.filesystem import FilesystemStorage

NAME = RepositoryName("team/app")
LATEST = Tag("latest")


class Interrupted(FilesystemStorage):
    """Runs `meanwhile` once, just before the first `delete` of a key that ends with `suffix`.

    Where it has to wait for the deletion it is left waiting: `over` is when both have ended.
    """

    suffix = ""
    meanwhile: Callable[[], Coroutine[None, None, object]] | None = None
    started: asyncio.Task[object] | None = None

    async def delete(self, key: str, *, if_empty: bool = False) -> None:
        if self.meanwhile is not None and key.endswith(self.suffix):
            meanwhile, self.meanwhile = self.meanwhile, None
            self.started = asyncio.create_task(meanwhile())
            await asyncio.wait([self.started], timeout=0.5)
        await super().delete(key, if_empty=if_empty)

    async def over(self) -> None:
        assert self.started is not None
        await self.started


@pytest.fixture
def storage(tmp_path: Path) -> Interrupted:
    return Interrupted(str(tmp_path))


@pytest.fixture
def registry(storage: Interrupted) -> Registry:
    return Registry.over(storage)


async def push(registry: Registry, package: Package, tags: list[Tag]) -> Digest:
    for blob in package.blobs:
        upload = await registry.uploads.start(NAME)
        await registry.uploads.finish(upload, Chunk(_body(blob.data)), Digest(blob.digest))
    manifest = package.manifest
    pushed = await registry.manifests.put(NAME, Digest(manifest.digest), manifest.data, manifest.media_type, tags)
    return pushed.digest


async def test_tag_that_moves_while_its_old_manifest_is_deleted(storage: Interrupted, registry: Registry) -> None:
    """The tag leads to what was pushed last: deleting the old manifest has nothing to do with it any more."""
    old = await push(registry, content.image("old", layer_sizes=(10,)), [LATEST])
    package = content.image("new", layer_sizes=(10,))
    new = await push(registry, package, [])
    storage.suffix, storage.meanwhile = "/tags/latest/current/link", lambda: push(registry, package, [LATEST])
    await registry.manifests.delete(NAME, old)
    await storage.over()
    assert await registry.tags.get(NAME, LATEST) == new


async def test_manifest_that_is_pushed_while_it_is_deleted(storage: Interrupted, registry: Registry) -> None:
    """Either it is there with its tag, or neither is: no tag that is listed and cannot be pulled."""
    image = content.image("image", layer_sizes=(10,))
    digest = await push(registry, image, [])
    storage.suffix = f"/revisions/{digest.replace(':', '/')}/link"
    storage.meanwhile = lambda: push(registry, image, [LATEST])
    await registry.manifests.delete(NAME, digest)
    await storage.over()
    for tag in await registry.tags.page(NAME):
        await registry.manifests.get(NAME, await registry.tags.get(NAME, tag))


async def test_session_that_is_cancelled_while_it_is_appended_to(storage: Interrupted, registry: Registry) -> None:
    """Nothing of it is left."""
    upload = await registry.uploads.start(NAME)

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        await registry.uploads.cancel(upload)
        yield b"two"

    with contextlib.suppress(RegistryError):
        await registry.uploads.append(upload, Chunk(body()))
    assert await sessions(storage) == []


async def test_session_that_is_cancelled_while_it_is_finished(storage: Interrupted, registry: Registry) -> None:
    """The client is told in the registry's words, not by a failure of the storage."""
    data = content.noise("data", 300_000)
    upload = await registry.uploads.start(NAME)

    async def body() -> AsyncIterator[bytes]:
        yield data[:1000]
        await registry.uploads.cancel(upload)
        yield data[1000:]

    with pytest.raises(RegistryError):
        await registry.uploads.finish(upload, Chunk(body()), Digest.of(data))
    assert await sessions(storage) == []


async def test_cancelled_session_that_two_requests_still_write_to(
    storage: Interrupted, registry: Registry
) -> None:
    """Nothing that was not hashed is stored under a digest."""
    data, other = content.noise("data", 300_000), content.noise("other", 5_000)
    digest = Digest.of(data)
    upload = await registry.uploads.start(NAME)

    async def body() -> AsyncIterator[bytes]:
        yield data[:1000]
        await registry.uploads.cancel(upload)
        with contextlib.suppress(RegistryError):
            # Found the session before it was cancelled, and has waited for the other writer since.
            await registry.uploads.append(upload, Chunk(_body(other), offset=0))
        yield data[1000:]

    with contextlib.suppress(RegistryError):
        await registry.uploads.finish(upload, Chunk(body()), digest)
    await check_blob(registry, digest)


@pytest.mark.slow
def test_cancelled_session_that_two_clients_still_write_to(start_node: StartNode) -> None:
    """The same over HTTP: the second client is waiting for the first when a third cancels the session."""
    node = start_node()
    data, other = content.noise("data", 300_000), content.noise("other", 5_000)
    digest = content.digest_of(data)
    location = node.client.start_upload(NAME).location
    with Wire(node.host) as first, Wire(node.host) as second:
        first.head("PUT", with_query(location, digest=digest), {"Content-Length": str(len(data))})
        upload_id = location.partition("?")[0].rpartition("/")[2]
        eventually(lambda: directory.is_locked(node.root, NAME, upload_id), "the first holds the session")
        second.head("PATCH", location, {"Content-Length": str(len(other))})
        second.send(other)
        node.client.request("GET", location).expect(204)
        node.client.request("DELETE", location).expect(204)
        answers = [second.answer("PATCH")]
        first.send(data)
        answers.append(first.answer("PUT"))
    blob = node.client.get(f"/v2/{NAME}/blobs/{digest}")
    assert blob.status == 404 or blob.body == data, f"{len(blob.body)} bytes of something else"
    assert all(answer is not None and answer.status < 500 for answer in answers), str(answers)


async def check_blob(registry: Registry, digest: Digest) -> None:
    """It is not there, or it is what its digest says."""
    try:
        reader = await registry.blobs.open(NAME, digest)
    except RegistryError:
        return
    try:
        assert Digest.of(await reader.read(10_000_000)) == digest
    finally:
        await reader.close()


async def sessions(storage: Interrupted) -> list[str]:
    return list(await storage.list(layout.uploads(NAME)))


async def _body(data: bytes) -> AsyncIterator[bytes]:
    yield data
