"""Every row of the table over storages that are servers: what is asked of them makes no difference to clients."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from tests.frostfs.cluster import Cluster
from tests.servers import azurite, fake_gcs
from tests.servers.object_stores import service_account
from tests.servers.versitygw import BUCKET, gateway
from tests.wire.asgi import Client
from tests.wire.compositions import Composition, World, dump
from tests.wire.storages import Watched
from tests.wire.table import Row
from tests.wire.test_table import MODULES, check_row
from tests.wire.world import WORLD

from lading.registry import layout
from lading.registry.ports import PathNotFoundError, Storage
from lading.storage.azure import AzureStorage
from lading.storage.gcs import GcsStorage
from lading.storage.s3 import Options, S3Storage

_CHANGES = ("put", "writer", "commit", "move", "delete")


class Undoing(Watched):
    """Knows what rows have changed, and puts it back. Sends nobody elsewhere."""

    def __post_init__(self) -> None:
        self.name = self.inner.name
        self.traits = replace(self.inner.traits, redirects=False)

    async def files(self) -> dict[str, bytes]:
        found = {key: data for key, data in WORLD.files.items() if not self._is_touched(key)}
        for place in self._touched():
            found |= await dump(self.inner, place)
            with contextlib.suppress(PathNotFoundError):
                found[place] = await self.inner.get(place)
        return found

    async def undo(self) -> None:
        for place in self._touched():
            with contextlib.suppress(PathNotFoundError):
                await self.inner.delete(place)
        for key, data in WORLD.files.items():
            if self._is_touched(key):
                await self.inner.put(key, data)
        self.calls.clear()

    def _touched(self) -> set[str]:
        """The directory of an upload counts as a whole."""
        keys = set(self.keys(*_CHANGES))
        return {
            "/".join(key.split("/")[: key.split("/").index("_uploads") + 2]) if "/_uploads/" in key else key
            for key in keys
        }

    def _is_touched(self, key: str) -> bool:
        return any(f"{key}/".startswith(f"{place}/") for place in self._touched())


@contextlib.asynccontextmanager
async def _frostfs(_: Path) -> AsyncIterator[Storage]:
    cluster = Cluster(nodes=2)
    storage = cluster.storage()
    yield storage
    await storage.close()
    cluster.end()


@contextlib.asynccontextmanager
async def _azure(folder: Path) -> AsyncIterator[Storage]:
    with azurite.azurite(folder) as server:
        place = server.make_container(f"c{uuid.uuid4().hex}")
        yield AzureStorage(azurite.ACCOUNT, place, server.url, {"type": "shared_key"}, key=azurite.KEY)


@contextlib.asynccontextmanager
async def _gcs(folder: Path) -> AsyncIterator[Storage]:
    with fake_gcs.fake_gcs(folder) as server:
        yield GcsStorage(
            server.make_bucket(f"b{uuid.uuid4().hex}"), account=service_account(), emulator=server.url
        )


@contextlib.asynccontextmanager
async def _s3(folder: Path) -> AsyncIterator[Storage]:
    with gateway(folder / "store") as server:
        options = Options(
            bucket=BUCKET,
            accesskey="key",
            secretkey="a secret of the store",
            endpoint=f"http://{server.host}",
            pathstyle=True,
        )
        storage = S3Storage(options, layout.UPLOADS, layout.FILES)
        try:
            yield storage
        finally:
            await storage.close()


STORES: dict[str, Callable[[Path], contextlib.AbstractAsyncContextManager[Storage]]] = {
    "frostfs": _frostfs,
    "azure": _azure,
    "gcs": _gcs,
    "s3": _s3,
}


def rows(module: ModuleType) -> list[Row]:
    """All with LADING_FULL=1; else, of what is refused before anything is asked of a store, one in eight.

    HEAD is answered from the same requests as GET.
    """
    everything = bool(os.environ.get("LADING_FULL"))
    return [
        row
        for number, row in enumerate(module.rows())
        if everything or number % 8 == 0 or "$" in row.target or row.status < 400
    ]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # Azure's client does
@pytest.mark.parametrize(
    "store", ["frostfs", *(pytest.param(name, marks=pytest.mark.peer) for name in ("azure", "gcs", "s3"))]
)
async def test_rows(store: str, tmp_path: Path) -> None:
    composition, failures = Composition(store), []
    async with STORES[store](tmp_path) as storage:
        undoing = Undoing(storage)
        for key, data in WORLD.files.items():
            await storage.put(key, data)
        client = Client(composition.open(undoing))
        place = World(composition, undoing, client, client)
        for row in [row for module in MODULES for row in rows(module)]:
            undoing.calls.clear()
            try:
                await check_row(row, composition, place, undoing.files)
            except AssertionError as error:
                failures.append(f"{row.title}: {error}")
            await undoing.undo()
        assert not failures, "\n".join(failures)
        assert await dump(storage) == WORLD.files
