"""The scenarios of the original's own tests of its collector: both collectors over the same directory.

What they leave is compared file by file. Where Lading means to leave something else, the scenario names it.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.registry.test_collect import APP, store
from tests.servers import content
from tests.servers.content import Package
from tests.servers.process import Program, configuration, distribution, lading

from lading.oci.digest import Digest
from lading.oci.names import RepositoryName, Tag
from lading.registry import layout
from lading.registry.ports import Storage
from lading.storage.filesystem import FilesystemStorage

pytestmark = [pytest.mark.peer, pytest.mark.timeout(90)]

ONE, TWO = content.image("one"), content.image("two")
LIST, INDEX = content.multi_arch("list", docker=True), content.multi_arch("index")
EMPTY = content.image("no layers", layer_sizes=())
NESTED = content.index([content.index([ONE]), TWO])
SIGNATURE = content.artifact("signature", "example/signature", subject=ONE.manifest)
SHA512 = content.image("of sha512", algorithm="sha512")
OTHER = RepositoryName("team/other")

Build = Callable[[Storage], Awaitable[None]]


def _link(package: Package, name: RepositoryName = APP) -> str:
    return layout.manifest_link(name, Digest(package.manifest.digest))


async def _nothing_deleted(storage: Storage) -> None:
    await store(storage, ONE, "one")
    await store(storage, LIST, "list")
    await store(storage, TWO, "two", name=OTHER)


async def _untagged(storage: Storage) -> None:
    await store(storage, ONE, "one")
    await store(storage, TWO)


async def _tag_moved(storage: Storage) -> None:
    await store(storage, ONE, "latest")
    await store(storage, TWO, "latest")


async def _manifest_deleted(storage: Storage) -> None:
    await store(storage, ONE, "one")
    await store(storage, TWO)
    await storage.delete(_link(TWO))


async def _list_tagged(storage: Storage) -> None:
    await store(storage, ONE, "one")
    await store(storage, LIST, "list")
    await store(storage, INDEX, "index")


async def _list_untagged(storage: Storage) -> None:
    await store(storage, ONE, "one")
    await store(storage, LIST)
    await store(storage, INDEX)


async def _children_tagged(storage: Storage) -> None:
    await _list_untagged(storage)
    for package in (LIST, INDEX):
        await store(storage, package.children[0], package.manifest.digest[7:15])


async def _child_deleted(storage: Storage) -> None:
    await store(storage, INDEX, "index")
    await storage.delete(_link(INDEX.children[0]))


async def _child_gone(storage: Storage) -> None:
    await _child_deleted(storage)
    await storage.delete(layout.blob_data(Digest(INDEX.children[0].manifest.digest)))


async def _orphans(storage: Storage) -> None:
    await store(storage, ONE, "one")
    blob, linked = TWO.blobs[0], TWO.blobs[1]
    await storage.put(layout.blob_data(Digest(blob.digest)), blob.data)
    await storage.put(layout.blob_data(Digest(linked.digest)), linked.data)
    await storage.put(layout.layer_link(APP, Digest(linked.digest)), linked.digest.encode())


async def _layer_link_without_manifest(storage: Storage) -> None:
    await store(storage, ONE, "one")
    await store(storage, TWO, "two", name=OTHER)
    for blob in ONE.blobs:
        await storage.put(layout.layer_link(OTHER, Digest(blob.digest)), blob.digest.encode())


async def _no_layers(storage: Storage) -> None:
    await store(storage, ONE, "one")
    await store(storage, EMPTY, "empty")


async def _nested(storage: Storage) -> None:
    await store(storage, NESTED, "nested")


async def _shared_with_deleted(storage: Storage) -> None:
    await store(storage, ONE, "one")
    await store(storage, ONE, "one", name=OTHER)
    await store(storage, TWO, "two", name=OTHER)
    await storage.delete(_link(ONE))
    await storage.delete(layout.tag(APP, Tag("one")))


async def _signed(storage: Storage) -> None:
    await store(storage, ONE, "one")
    await store(storage, SIGNATURE)


async def _no_tags_at_all(storage: Storage) -> None:
    await store(storage, ONE)
    await store(storage, TWO, "two", name=OTHER)


async def _sha512(storage: Storage) -> None:
    """Lading files such content under its own algorithm, where the original looks for nothing."""
    await store(storage, SHA512, "one")


@dataclass(frozen=True)
class Scenario:
    """`more` are the packages of which Lading keeps what the original removes, `less` files it removes besides."""

    build: Build
    untagged: bool = False
    more: tuple[Package, ...] = ()
    less: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.build.__name__.strip("_") + ("-delete-untagged" if self.untagged else "")


SCENARIOS = [
    *(Scenario(build, untagged) for untagged in (False, True) for build in (
        _nothing_deleted, _untagged, _tag_moved, _manifest_deleted, _list_tagged, _list_untagged, _children_tagged,
        _child_deleted, _child_gone, _orphans, _no_layers, _nested,
    )),
    Scenario(_layer_link_without_manifest),
    # Its layers stay for another repository, and so do the links to them: the original removes these, or not, as
    # the order of the repositories will have it.
    Scenario(_shared_with_deleted, more=(ONE,)),
    Scenario(_signed),
    # Its subject stays, so it stays: the original removes it.
    Scenario(_signed, untagged=True, more=(SIGNATURE,)),
    Scenario(_no_tags_at_all),
    # The original leaves a link to a manifest whose data it has removed.
    Scenario(_no_tags_at_all, untagged=True, less=(_link(ONE),)),
    Scenario(_sha512),
]  # fmt: skip


def collected(program: Program, root: Path, *, untagged: bool) -> set[str]:
    """Run a collector; the keys of all files that it leaves."""
    config = root.parent / f"{program.name}.yml"
    config.write_text(yaml.safe_dump(configuration(root, {"http": {"addr": "127.0.0.1:0"}})))
    command = [*program.collect_garbage(config), *(["--delete-untagged"] if untagged else [])]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return {f"/{file.relative_to(root)}" for file in root.rglob("*") if file.is_file()}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_both_leave_the_same(scenario: Scenario, tmp_path: Path) -> None:
    mine, theirs = tmp_path / "lading", tmp_path / "distribution"
    asyncio.run(scenario.build(FilesystemStorage(str(mine))))  # type: ignore[arg-type]
    shutil.copytree(mine, theirs)
    kept = collected(lading(), mine, untagged=scenario.untagged)
    original = collected(distribution(), theirs, untagged=scenario.untagged)
    more = {digest.partition(":")[2] for package in scenario.more for digest in package.everything()}
    assert {key for key in kept - original if not more & set(key.split("/"))} == set()
    assert original - kept == set(scenario.less)
    if more:
        assert kept - original, "the original has learnt it: there is no difference to name any more"
