"""What is removed from a storage, over every driver: stale uploads, whole repositories, empty ones."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.frostfs.cluster import Cluster
from tests.registry.test_collect import digests, store
from tests.registry.test_collecting import IMAGE, pull
from tests.servers import azurite, fake_gcs
from tests.servers.object_stores import service_account
from tests.servers.versitygw import gateway
from tests.wire.asgi import Client
from tests.wire.compositions import dump

from lading.api.app import Application
from lading.api.service import Service
from lading.api.state import StateTokens
from lading.config.load import read
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName, Tag
from lading.registry import layout
from lading.registry.collecting import Collecting, Collector
from lading.registry.ports import PathNotFoundError, Storage
from lading.registry.purge import Purged, purge
from lading.registry.registry import Registry
from lading.registry.removal import Removed
from lading.registry.uploads import Chunk
from lading.storage.azure import AzureStorage
from lading.storage.filesystem import FilesystemStorage
from lading.storage.gcs import GcsStorage
from lading.storage.memory import MemoryStorage
from lading.storage.s3 import Options, S3Storage

APP, BELOW = RepositoryName("team/app"), RepositoryName("team/app/below")
LIMIT = datetime.datetime(2024, 5, 8, tzinfo=datetime.UTC)
OLD, NEW = b"2024-05-01T12:00:00Z", b"2024-05-08T00:00:01Z"
PART = 5 * 1024**2


@pytest.fixture
def memory() -> Storage:
    return MemoryStorage()


@pytest.fixture
def filesystem(tmp_path: Path) -> Storage:
    return FilesystemStorage(str(tmp_path / "data"))


@pytest.fixture
async def s3(tmp_path: Path) -> AsyncIterator[Storage]:
    with gateway(tmp_path / "s3") as server:
        storage = S3Storage(
            Options(
                bucket="bucket",
                accesskey="key",
                secretkey="a secret of the store",
                endpoint=f"http://{server.host}",
                rootdirectory="/root",
                pathstyle=True,
                secure=False,
                chunksize=PART,
            )
        )
        yield storage
        await storage.close()


@pytest.fixture
async def azure(tmp_path: Path) -> AsyncIterator[Storage]:
    with azurite.azurite(tmp_path) as server:
        container = server.make_container(f"c{uuid.uuid4().hex}")
        key = {"type": "shared_key"}
        yield AzureStorage(azurite.ACCOUNT, container, server.url, key, key=azurite.KEY, root="/root")


@pytest.fixture
async def gcs(tmp_path: Path) -> AsyncIterator[Storage]:
    with fake_gcs.fake_gcs(tmp_path) as server:
        bucket = server.make_bucket(f"b{uuid.uuid4().hex}")
        yield GcsStorage(bucket, root="/root", account=service_account(), chunk=1024**2, emulator=server.url)


@pytest.fixture
def frostfs() -> Storage:
    cluster = Cluster()
    try:
        yield cluster.storage()  # type: ignore[misc]
    finally:
        cluster.end()


PEERS = [pytest.param(name, marks=pytest.mark.peer) for name in ("s3", "azure", "gcs")]


@pytest.fixture(params=["memory", "filesystem", "frostfs", *PEERS])
def storage(request: pytest.FixtureRequest) -> Storage:
    found: Storage = request.getfixturevalue(request.param)
    return found


async def begun(storage: Storage, name: RepositoryName, started: bytes, size: int = 100) -> str:
    """An upload that has come so far."""
    registry = Registry.over(storage)
    upload = await registry.uploads.start(name)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(size // 100):
            yield b"x" * 100

    await registry.uploads.append(upload, Chunk(body()))
    await storage.put(layout.upload_started_at(name, upload.id), started)
    return upload.id


async def names(storage: Storage, key: str) -> list[str]:
    try:
        return list(await storage.list(key))
    except PathNotFoundError:
        return []


async def test_stale_uploads_go_and_young_ones_stay(storage: Storage) -> None:
    """With what the store itself keeps of them: parts, sessions, blocks."""
    for name in (APP, BELOW):
        await begun(storage, name, OLD, PART + 1000)
    young = await begun(storage, APP, NEW)
    before = await names(storage, layout.uploads(APP))
    assert await purge(storage, older_than=LIMIT, dry_run=True) == Purged(2, 0)
    assert await names(storage, layout.uploads(APP)) == before
    assert await purge(storage, older_than=LIMIT) == Purged(2, 0)
    assert await names(storage, layout.uploads(APP)) == [young]
    assert await names(storage, layout.uploads(BELOW)) == []
    later = LIMIT + datetime.timedelta(days=1)
    registry = Registry.over(storage)
    found = await registry.uploads.get(APP, young)
    assert found.id == young, "a young one can go on"
    assert await purge(storage, older_than=later) == Purged(1, 0)
    assert await dump(storage) == {}


async def test_a_repository_goes_and_nothing_else(storage: Storage) -> None:
    registry = Registry.over(storage)
    for name in (APP, BELOW):
        await store(storage, IMAGE, "1.0", name=name)
    await begun(storage, APP, NEW, PART + 1000)
    assert await registry.removal.remove(APP) == Removed(tags=1, manifests=1)
    assert not [key for key in await dump(storage) if f"/{APP}/_" in key]
    assert (await registry.repositories.page(after="", limit=9))[0] == [BELOW]
    assert await pull(registry, BELOW, Tag("1.0")) == digests(IMAGE)
    with pytest.raises(RegistryError):
        await registry.removal.remove(APP)


async def test_read_only_nothing_is_written(storage: Storage) -> None:
    await store(storage, IMAGE, "1.0", name=APP)
    upload = await begun(storage, APP, NEW)
    states, before = StateTokens(b"secret"), await dump(storage)
    service = Service(Registry.over(storage), states, deletes=True, removes=True, read_only=True)
    client = Client(Application(service))
    manifest, blob = f"/v2/{APP}/manifests/{IMAGE.manifest.digest}", IMAGE.blobs[0].digest
    for method, target, allow in (
        ("PUT", manifest, "GET, HEAD"),
        ("DELETE", manifest, "GET, HEAD"),
        ("DELETE", f"/v2/{APP}/manifests/1.0", "GET, HEAD"),
        ("DELETE", f"/v2/{APP}/blobs/{blob}", "GET, HEAD"),
        ("POST", f"/v2/{APP}/blobs/uploads/", "GET, HEAD"),
        ("POST", f"/v2/{BELOW}/blobs/uploads/?mount={blob}&from={APP}", "GET, HEAD"),
        ("PATCH", f"/v2/{APP}/blobs/uploads/{upload}", "GET, HEAD"),
        ("PUT", f"/v2/{APP}/blobs/uploads/{upload}", "GET, HEAD"),
        ("DELETE", f"/v2/{APP}/blobs/uploads/{upload}", "GET, HEAD"),
        ("DELETE", f"/v2/{APP}/_lading/repository", ""),
    ):
        answer = await client.send(method, target)
        assert (answer.status, answer.header("allow")) == (405, allow), f"{method} {target}"
    (await client.send("GET", manifest)).expect(200)
    assert await dump(storage) == before


def test_read_only_housekeeping_has_nothing_to_do(tmp_path: Path) -> None:
    section = "{garbagecollection: {enabled: true}, %s}"
    text = f"version: 0.1\nstorage: {{filesystem: {{}}, maintenance: {section}}}\nhttp: {{}}\n"
    for readonly in (False, True):
        path = tmp_path / f"{readonly}.yml"
        path.write_text(text % f"readonly: {{enabled: {str(readonly).lower()}}}")
        configuration = read(str(path)).configuration
        for work in (maintenance.purging(configuration), maintenance.collecting(configuration)):
            assert (work is None) == readonly


async def _no_time(_: float) -> None: ...


@pytest.fixture
def collect(storage: Storage) -> Callable[[], Collector]:
    if not storage.traits.shared:
        pytest.skip("nobody collects there while it serves")
    rules = Collecting(quarantine=3600, grace=0.0, rate=10_000, delete_untagged=True)
    return lambda: Collector(storage, rules, sleep=_no_time)


async def test_what_a_collection_empties_leaves_the_catalog(
    storage: Storage, collect: Callable[[], Collector]
) -> None:
    registry = Registry.over(storage)
    for name in (APP, BELOW):
        await store(storage, IMAGE, "1.0", name=name)
    await registry.manifests.delete_tag(APP, Tag("1.0"))
    await collect().round()
    assert (await registry.repositories.page(after="", limit=9))[0] == [BELOW]
    assert await pull(registry, BELOW, Tag("1.0")) == digests(IMAGE)
