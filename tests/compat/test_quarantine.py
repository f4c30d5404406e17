"""What Lading has put into quarantine is nothing to the original: neither shown nor collected nor in its way."""

from __future__ import annotations

import asyncio

import pytest
from tests.servers import content
from tests.servers.process import StartRegistry

from lading.oci.digest import Digest
from lading.registry import layout
from lading.registry.quarantine import COLLECTED, Quarantine
from lading.storage.filesystem import FilesystemStorage

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]


def test_the_original_leaves_it_alone(start_distribution: StartRegistry) -> None:
    image, other = content.image("image"), content.image("other")
    registry = start_distribution()
    for tag, package in (("1", image), ("2", other)):
        registry.client.push("team/app", tag, package)
    quarantine = Quarantine(FilesystemStorage(str(registry.root)))
    keys = [layout.blob_data(Digest(blob.digest)) for blob in other.blobs]

    async def put_away() -> None:
        batch = await quarantine.begin(COLLECTED)
        for key in keys:
            await quarantine.put_away(batch, key)

    asyncio.run(put_away())
    assert registry.client.get("/v2/_catalog").expect(200).json() == {"repositories": ["team/app"]}
    registry.client.get(f"/v2/team/app/blobs/{other.blobs[0].digest}").expect(404)
    registry.stop()
    registry.collect_garbage()

    async def bring_back() -> list[bool]:
        return [await quarantine.rescue(key) for key in keys]

    assert all(asyncio.run(bring_back()))
    registry = start_distribution(registry.root)
    assert registry.client.pull("team/app", "1") == image.everything()
    assert registry.client.pull("team/app", "2") == other.everything()
