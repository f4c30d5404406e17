"""What a collection asks of an S3 store: pages of lists, each manifest once, deletions by the thousand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.servers.faultproxy import FaultProxy, faultproxy
from tests.servers.requests import by_kind, put_all
from tests.servers.versitygw import gateway

from lading.oci.digest import Digest
from lading.oci.names import RepositoryName, Tag
from lading.registry import collect, layout
from lading.registry.collecting import Collecting, Collector
from lading.registry.garbage import Wish
from lading.registry.quarantine import Quarantine
from lading.storage.s3 import Options, S3Storage

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]

REPOSITORIES, IMAGES, BLOBS = 2, 20, 5
GARBAGE = 2
"""Of the images of each repository so many have lost their manifest."""

KEPT = REPOSITORIES * (IMAGES - GARBAGE)
LAYERS = REPOSITORIES * GARBAGE * BLOBS
GOING = LAYERS + REPOSITORIES * GARBAGE
LISTS = 40
"""Of directories of repositories, not of what is in them: whatever their number, no more here."""


def bucketful() -> dict[str, bytes]:
    objects: dict[str, bytes] = {}
    for repository in range(REPOSITORIES):
        name = RepositoryName(f"team/app{repository}")
        for image in range(IMAGES):
            blobs = {
                Digest.of(data): data for data in (b"%d %d %d" % (repository, image, n) for n in range(BLOBS))
            }
            needs = [{"digest": digest, "size": len(data), "mediaType": "x/y"} for digest, data in blobs.items()]
            kind = "application/vnd.oci.image.manifest.v1+json"
            document = {"schemaVersion": 2, "mediaType": kind, "config": needs[0], "layers": needs[1:]}
            manifest = json.dumps(document).encode()
            digest = Digest.of(manifest)
            objects |= {layout.blob_data(each): data for each, data in blobs.items()}
            objects |= {layout.layer_link(name, each): each.encode() for each in blobs}
            objects[layout.blob_data(digest)] = manifest
            if image >= GARBAGE:
                objects[layout.manifest_link(name, digest)] = digest.encode()
                objects[layout.tag_link(name, Tag(f"t{image}"))] = digest.encode()
                objects[layout.tag_history_link(name, Tag(f"t{image}"), digest)] = digest.encode()
    return objects


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[FaultProxy]:
    with gateway(tmp_path / "store") as store, faultproxy(store.host) as running:
        yield running


@pytest.fixture
async def storage(proxy: FaultProxy) -> AsyncIterator[S3Storage]:
    options = Options(
        bucket="bucket",
        accesskey="key",
        secretkey="a secret of the store",
        endpoint=f"http://{proxy.host}",
        pathstyle=True,
    )
    made = S3Storage(options, layout.UPLOADS, layout.FILES, layout.LINKS)
    await put_all(made, bucketful())
    proxy.reset()
    yield made
    await made.close()


async def test_offline(storage: S3Storage, proxy: FaultProxy) -> None:
    made = await collect.plan(storage, Wish(), lambda _: None)
    asked = by_kind(proxy.requests)
    print(asked)
    assert (len(made.blobs), len(made.layers)) == (GOING, LAYERS)
    assert asked.pop("list") <= LISTS
    assert asked == {"get": 2 * KEPT}, "a link and a manifest each"

    proxy.reset()
    gone: list[int] = []
    await collect.apply(storage, made, gone.append)
    assert by_kind(proxy.requests) == {"delete many": 2, "list": 2}, "batches, links, then what they led to"
    assert sum(gone) == made.things
    made = await collect.plan(storage, Wish(), lambda _: None)
    assert (made.things, made.marked) == (0, KEPT * (BLOBS + 1))


async def test_offline_with_untagged_manifests(storage: S3Storage, proxy: FaultProxy) -> None:
    name = RepositoryName("team/app0")
    tags = [Tag(f"t{number}") for number in range(GARBAGE, GARBAGE + 3)]
    await storage.delete_all([layout.tag_link(name, tag) for tag in tags])
    made = await collect.plan(storage, Wish(delete_untagged=True), lambda _: None)
    assert len(made.manifests) == len(tags)
    proxy.reset()
    await collect.apply(storage, made)
    what = "batches, histories, manifests, layers, blobs"
    assert by_kind(proxy.requests) == {"delete many": 4, "list": 2}, what
    kept = await storage.list(layout.tags(name))
    assert not set(tags) & set(kept), "nothing is left of them"


async def test_rounds_while_serving(storage: S3Storage, proxy: FaultProxy) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    collector = Collector(storage, Collecting(grace=0.000_001, rate=50.0), sleep=sleep)
    done = await collector.round()
    asked = by_kind(proxy.requests)
    print(asked)
    assert done.put_away == GOING + LAYERS
    assert slept.count(1 / 50) == done.put_away, "the rate is held"
    assert asked.pop("list") <= LISTS
    # What is put away is copied and deleted. Of data the size is asked before, which may be too large for one
    # request; a link is read, and its copy looked for at the end.
    gets, heads = 2 * KEPT + LAYERS, GOING + LAYERS
    assert asked == {"get": gets, "head": heads, "put": done.put_away + 1, "delete": done.put_away}

    proxy.reset()
    assert (await collector.round()).put_away == 0
    asked = by_kind(proxy.requests)
    assert asked.pop("list") <= LISTS, "what is in quarantine is listed in pages"
    assert asked == {"get": 2 * KEPT}

    proxy.reset()
    [batch] = await Quarantine(storage).batches()
    await Quarantine(storage).discard(batch)
    assert by_kind(proxy.requests)["delete many"] == 1
    assert sum(by_kind(proxy.requests).values()) <= 4


async def test_more_than_fits_into_one_request(storage: S3Storage, proxy: FaultProxy) -> None:
    keys = [f"/many/{number}/link" for number in range(2001)]
    await storage.put(keys[-1], b"")
    await storage.delete_all(keys)
    assert by_kind(proxy.requests) == {"put": 1, "delete many": 2, "delete": 1}
    assert [key async for key, _ in storage.walk("/many")] == []
