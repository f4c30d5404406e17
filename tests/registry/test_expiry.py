"""What is pulled through and goes again: never what another image needs."""

from __future__ import annotations

import datetime
import json
import os
import time
from pathlib import Path

import pytest
from tests.servers import content
from tests.servers.content import Content, Package

from lading.oci.digest import Digest
from lading.oci.names import RepositoryName, Tag
from lading.registry import layout
from lading.registry.expiry import Expiry
from lading.registry.ports import found
from lading.registry.quarantine import EXPIRED, Quarantine
from lading.registry.registry import Registry
from lading.registry.sources import Source, Sources
from lading.registry.uploads import Chunk
from lading.registry.upstream import Download, Fetched
from lading.storage.filesystem import FilesystemStorage

DAY = 86400.0
NAME = RepositoryName("up/app")
OTHER = RepositoryName("up/other")
PRIVATE = RepositoryName("team/app")


class Nowhere:
    """An upstream that nobody asks in these tests."""

    host = "nowhere.test"

    async def resolve(self, name: str, tag: str) -> Digest | None:
        raise NotImplementedError

    async def manifest(self, name: str, reference: str) -> Fetched:
        raise NotImplementedError

    async def size(self, name: str, digest: Digest) -> int:
        raise NotImplementedError

    async def blob(self, name: str, digest: Digest, offset: int = 0) -> Download:
        raise NotImplementedError

    async def tags(self, name: str, after: str, limit: int | None) -> list[str]:
        raise NotImplementedError

    async def referrers(self, name: str, subject: Digest) -> list[Digest]:
        raise NotImplementedError


class World:
    """A storage as pulls have left it, and a clock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.storage = FilesystemStorage(str(root))
        self.registry = Registry.over(self.storage)
        self.now = time.time()

    async def pull(self, name: RepositoryName, tag: str, package: Package, days: float) -> None:
        """It is in the storage since so many days ago, blobs that are there already for longer."""
        before = set(self.root.rglob("link"))
        for blob in package.blobs:
            upload = await self.registry.uploads.start(name)
            await self.registry.uploads.finish(upload, Chunk(_body(blob)), Digest(blob.digest))
        manifest = package.manifest
        await self.registry.manifests.put(name, Tag(tag), manifest.data, manifest.media_type, [])
        for link in set(self.root.rglob("link")) - before:
            os.utime(link, (self.now - days * DAY,) * 2)

    async def expire(self, *, schedule: bool = False, **rules: float) -> None:
        source = Source("" if schedule else "up", Nowhere(), **rules)  # type: ignore[arg-type]

        async def settle() -> None: ...

        expiry = Expiry(self.storage, Sources([source]), schedule=schedule, clock=lambda: self.now, settle=settle)
        await expiry.round()

    async def there(self, name: RepositoryName, package: Package) -> bool:
        """All of it; or nothing of its manifest and tags."""
        digest = Digest(package.manifest.digest)
        if await found(self.storage, layout.manifest_link(name, digest)) is None:
            return False
        assert (await self.registry.manifests.get(name, digest)).data == package.manifest.data
        for blob in package.blobs:
            assert await self.registry.blobs.size(name, Digest(blob.digest)) == len(blob.data)
        return True

    def stored(self, item: Content) -> bool:
        return (self.root / layout.blob_data(Digest(item.digest))[1:]).exists()


async def _body(blob: Content):
    yield blob.data


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def image(name: str, *shared: Content) -> Package:
    """With a layer of its own, and others."""
    own = content.image(name, layer_sizes=(5000,))
    document = json.loads(own.manifest.data)
    document["layers"] += [layer.descriptor() for layer in shared]
    manifest = Content(own.manifest.media_type, json.dumps(document).encode())
    return Package(manifest, (*own.blobs, *shared))


SHARED = Content(content.OCI_LAYER, content.noise("shared", 50_000))


async def test_a_younger_index_keeps_its_children(world: World) -> None:
    child = image("child")
    index = json.dumps(
        {"schemaVersion": 2, "mediaType": content.OCI_INDEX, "manifests": [child.manifest.descriptor()]}
    )
    await world.pull(NAME, "old", child, days=8)
    await world.pull(NAME, "new", Package(Content(content.OCI_INDEX, index.encode()), ()), days=1)
    await world.expire(ttl=7 * DAY)
    assert await world.there(NAME, child)
    world.now += 7 * DAY
    await world.expire(ttl=7 * DAY)
    assert not await world.there(NAME, child)


async def test_what_has_gone_is_not_listed(world: World) -> None:
    await world.pull(NAME, "old", image("old"), days=8)
    await world.pull(OTHER, "new", image("new"), days=1)
    await world.expire(ttl=7 * DAY)
    assert await world.registry.repositories.page(after="", limit=9) == ([OTHER], False)
    again = image("again")
    await world.pull(NAME, "new", again, days=0)
    assert await world.there(NAME, again)
    assert await world.registry.repositories.page(after="", limit=9) == ([NAME, OTHER], False)


async def test_by_age(world: World) -> None:
    old, new = image("old", SHARED), image("new", SHARED)
    await world.pull(NAME, "old", old, days=8)
    await world.pull(NAME, "new", new, days=1)
    await world.expire(ttl=7 * DAY)
    assert not await world.there(NAME, old)
    assert not world.stored(old.manifest)
    assert not world.stored(old.blobs[1])
    # The layer is as old as the image that is gone, and needed by the one that is not.
    assert await world.there(NAME, new)
    assert await world.registry.tags.page(NAME) == ["new"]


async def test_what_a_private_repository_holds_stays(world: World) -> None:
    package = image("both", SHARED)
    await world.pull(NAME, "1", package, days=8)
    await world.pull(PRIVATE, "1", package, days=100)
    await world.expire(ttl=7 * DAY)
    assert not await world.there(NAME, package)
    assert await world.there(PRIVATE, package)


async def test_what_was_put_aside_by_a_process_that_is_no_more(world: World) -> None:
    quarantine, package = Quarantine(world.storage), content.image("held")
    await world.pull(PRIVATE, "1.0", package, 0)
    held, unheld = layout.blob_data(Digest(package.blobs[-1].digest)), layout.blob_data(Digest.of(b"nobody's"))
    await world.storage.put(unheld, b"nobody's")
    batch = await quarantine.begin(EXPIRED)
    for key in (held, unheld):
        await quarantine.put_away(batch, key)
    await world.expire(ttl=DAY)
    assert await quarantine.batches() == [batch], "somebody may be at it"
    world.now += DAY
    await world.expire(ttl=DAY)
    assert await quarantine.batches() == []
    assert await found(world.storage, held) is not None
    assert await found(world.storage, unheld) is None


async def test_by_size_the_least_recently_pulled_goes_first(world: World) -> None:
    first, second, third = (image(name, SHARED) for name in ("first", "second", "third"))
    await world.pull(NAME, "first", first, days=3)
    await world.pull(NAME, "second", second, days=2)
    await world.pull(OTHER, "third", third, days=1)
    # Pulled again just now: what is kept longest is not what was used last.
    await world.storage.put(layout.pulled(NAME, Digest(first.manifest.digest)), b"")
    whole = sum(len(data) for data in {**first.everything(), **second.everything(), **third.everything()}.values())
    await world.expire(max_bytes=whole)
    assert [await world.there(*each) for each in ((NAME, first), (NAME, second), (OTHER, third))] == [True] * 3
    await world.expire(max_bytes=whole - 1)
    assert [await world.there(*each) for each in ((NAME, first), (NAME, second), (OTHER, third))] == [
        True,
        False,
        True,
    ]


async def test_the_originals_schedule(world: World) -> None:
    package, later = image("soon"), image("later")
    await world.pull(NAME, "1", package, days=1)
    await world.pull(NAME, "2", later, days=1)
    ends = datetime.datetime.fromtimestamp(world.now - 60, datetime.UTC).isoformat(timespec="microseconds")
    key = f"{NAME}@{package.manifest.digest}"
    # As Go writes it: nine digits.
    entry = {"Key": key, "ExpiryData": ends.replace("+00:00", "123Z"), "EntryType": 1}
    (world.root / "scheduler-state.json").write_text(json.dumps({key: entry}))
    await world.expire(schedule=True, ttl=7 * DAY)
    assert not await world.there(NAME, package)
    assert await world.there(NAME, later)
    written = json.loads((world.root / "scheduler-state.json").read_text())
    assert written[f"{NAME}@{later.manifest.digest}"]["EntryType"] == 1
    assert key not in written
    end = datetime.datetime.fromisoformat(written[f"{NAME}@{later.manifest.digest}"]["ExpiryData"]).timestamp()
    assert end == pytest.approx(world.now + 6 * DAY, abs=1)


async def test_a_damaged_schedule_counts_as_none(world: World) -> None:
    package = image("kept")
    await world.pull(NAME, "1", package, days=1)
    (world.root / "scheduler-state.json").write_text("{")
    await world.expire(schedule=True, ttl=7 * DAY)
    assert await world.there(NAME, package)
