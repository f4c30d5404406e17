"""Immutable tags and retention over a storage: what is refused, what goes, and what changes meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.wire.compositions import dump

from lading.oci import media
from lading.oci.digest import Digest
from lading.oci.errors import RegistryError
from lading.oci.names import RepositoryName, Tag
from lading.oci.patterns import Selection
from lading.registry import immutability, layout
from lading.registry.events import Event, Occasion
from lading.registry.immutability import Immutability
from lading.registry.ports import PathNotFoundError, Storage, UnavailableError
from lading.registry.pulls import MARK_SECONDS, Pulls
from lading.registry.registry import Registry
from lading.registry.retaining import Retainer, Retaining, Round
from lading.registry.retention import Rule
from lading.registry.validation import Rules
from lading.storage.filesystem import FilesystemStorage
from lading.storage.memory import MemoryStorage

NAME = RepositoryName("team/app")
V1, LATEST = Tag("v1"), Tag("latest")
RELEASES = Immutability((Selection(("team/*",), ("v*",)),))

pytestmark = pytest.mark.timeout(60)


def manifest(text: str) -> bytes:
    return json.dumps(
        {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [], "annotations": {"is": text}}
    ).encode()


async def push(registry: Registry, text: str, *tags: str) -> Digest:
    first, *others = map(Tag, tags)
    data = manifest(text)
    return (await registry.manifests.put(NAME, first, data, media.OCI_INDEX, [first, *others])).digest


async def refused(registry: Registry, text: str, *tags: str) -> str:
    with pytest.raises(RegistryError) as caught:
        await push(registry, text, *tags)
    assert (caught.value.status, caught.value.entries[0].code.code) == (403, "DENIED")
    return str(caught.value)


@pytest.fixture
def fixed(storage: Storage) -> Registry:
    return Registry.over(storage, rules=Rules(), immutability=RELEASES)


async def test_an_immutable_tag_does_not_move(fixed: Registry) -> None:
    one = await push(fixed, "one", "v1")
    assert await push(fixed, "one", "v1") == one
    assert f"it stays at {one}" in await refused(fixed, "two", "v1")
    assert await fixed.tags.get(NAME, V1) == one


async def test_of_several_tags_none_moves_if_one_must_not(fixed: Registry) -> None:
    one = await push(fixed, "one", "v1", "latest")
    await refused(fixed, "two", "latest", "v1")
    assert await fixed.tags.get(NAME, LATEST) == one
    with pytest.raises(RegistryError):
        await fixed.manifests.get(NAME, Digest.of(manifest("two")))


async def test_neither_it_nor_its_manifest_is_deleted(fixed: Registry) -> None:
    one = await push(fixed, "one", "v1", "latest")
    for deleting in (fixed.manifests.delete_tag(NAME, V1), fixed.manifests.delete(NAME, one)):
        with pytest.raises(RegistryError, match="immutable"):
            await deleting
    assert await fixed.tags.page(NAME) == [LATEST, V1]
    await fixed.manifests.delete_tag(NAME, LATEST)
    with pytest.raises(RegistryError, match="unknown tag"):
        await fixed.manifests.delete_tag(NAME, Tag("v2"))


async def test_what_others_move_is_exempt(storage: Storage) -> None:
    exempt = Registry.over(storage, immutability=replace(RELEASES, exempt=lambda name: name == NAME))
    await push(exempt, "one", "v1")
    await push(exempt, "two", "v1")


class Lockless(MemoryStorage):
    """As an object store: `hold` is among the requests of one process."""

    def __init__(self) -> None:
        super().__init__()
        self.traits = replace(self.traits, locks=False)


@pytest.mark.parametrize("kind", ["memory", "filesystem", "lockless"])
async def test_of_pushes_at_once_one_wins(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(immutability, "RETRY_SECONDS", 0.001)
    stores: dict[str, Callable[[], Storage]] = {
        "memory": MemoryStorage,
        "filesystem": lambda: FilesystemStorage(str(tmp_path)),
        "lockless": Lockless,
    }
    store = stores[kind]()
    nodes = [Registry.over(store, immutability=RELEASES) for _ in range(6)]
    texts = [f"push {number}" for number in range(len(nodes))]
    done = await asyncio.gather(*map(push, nodes, texts, ["v1"] * len(nodes)), return_exceptions=True)
    won = [each for each in done if isinstance(each, Digest)]
    lost = [each for each in done if isinstance(each, RegistryError)]
    assert (len(won), len(lost)) == (1, len(nodes) - 1)
    assert await nodes[0].tags.get(NAME, V1) == won[0]
    assert await store.list(layout.repository(NAME)) == [layout.MANIFESTS] or kind == "lockless"


async def test_who_waits_too_long_for_another_node_may_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(immutability, "PATIENCE_SECONDS", 0.0)
    store = Lockless()
    registry = Registry.over(store, immutability=RELEASES)
    other = await store.writer(layout.upload_data(NAME, immutability.CLAIM), append=False)
    with pytest.raises(UnavailableError, match="immutable"):
        await push(registry, "one", "v1")
    await push(registry, "one", "latest")
    await other.cancel()
    await push(registry, "one", "v1")


@dataclass
class Listening:
    references: bool = False
    heard: list[Event] = field(default_factory=list)

    async def happened(self, events: Sequence[Event], occasion: Occasion) -> None:
        assert occasion.agent == "lading"
        self.heard += events


def retaining(**reasons: float) -> Retaining:
    rule = Rule(Selection(("team/*",), ("*",)), **reasons)  # type: ignore[arg-type]
    return Retaining((rule,), RELEASES)


async def test_what_goes(storage: Storage) -> None:
    registry, listening = Registry.over(storage), Listening()
    digest = await push(registry, "one", "a")
    for tag in ("v1", "b", "c"):
        await push(registry, tag, tag)
    rules = retaining(last=1)
    done = await Retainer(storage, rules, events=listening).round()
    assert await registry.tags.page(NAME) == [Tag("c"), V1]
    assert (done.repositories, done.deleted, done.kept, done.moved) == (1, 2, 2, 0)
    assert listening.heard == [Event("delete", NAME, tag="a"), Event("delete", NAME, tag="b")]
    # The manifests are left to garbage collection.
    assert (await registry.manifests.get(NAME, digest)).data == manifest("one")
    assert (await Retainer(storage, rules).round()).deleted == 0


async def test_a_tag_that_moves_while_its_end_is_decided_stays(storage: Storage) -> None:
    registry = Registry.over(storage, dated=lambda _: True)
    await push(registry, "one", "moved")
    again = await push(registry, "two", "again")
    await push(registry, "three", "gone")
    retainer = Retainer(storage, retaining(pushed_within=1), clock=lambda: time.time() + 3600)
    [plan] = [plan async for plan in retainer.plans()]
    assert len(plan.going) == 3
    await push(registry, "other", "moved")
    assert await push(registry, "two", "again") == again
    await registry.manifests.delete_tag(NAME, Tag("gone"))
    done = Round()
    await retainer.apply(plan, done)
    assert (done.deleted, done.moved) == (0, 3)
    assert await registry.tags.page(NAME) == [Tag("again"), Tag("moved")]


async def test_two_at_once_do_the_same(storage: Storage) -> None:
    registry = Registry.over(storage)
    for tag in ("a", "b", "c"):
        await push(registry, tag, tag)
    rounds = await asyncio.gather(*(Retainer(storage, retaining(last=1)).round() for _ in range(3)))
    assert sum(done.deleted for done in rounds) == 2
    assert await registry.tags.page(NAME) == [Tag("c")]


async def test_exempt_repositories_are_not_looked_at(storage: Storage) -> None:
    await push(Registry.over(storage), "one", "a")
    rules = replace(retaining(pushed_within=1), exempt=lambda name: name == NAME)
    assert [plan async for plan in Retainer(storage, rules, clock=lambda: time.time() + 9).plans()] == []


async def test_signatures_stay_with_their_image(storage: Storage) -> None:
    registry = Registry.over(storage)
    image = await push(registry, "image", "a")
    filed, stray = f"sha256-{image.encoded}.sig", f"sha256-{64 * '0'}.sig"
    await push(registry, "signature", filed, stray)
    later = Retainer(storage, retaining(pushed_within=1), clock=lambda: time.time() + 3600)
    await later.round()
    assert await registry.tags.page(NAME) == [Tag(filed)]
    await registry.manifests.delete(NAME, image)
    await later.round()
    assert await registry.tags.page(NAME) == []


async def test_what_is_pulled_stays(tmp_path: Path) -> None:
    storage = FilesystemStorage(str(tmp_path))
    registry, now = Registry.over(storage), time.time()
    used = await push(registry, "used", "used")
    await push(registry, "unused", "unused")
    await storage.put(layout.pulled_since(NAME), b"")
    for key in (layout.pulled_since(NAME), *(layout.tag_link(NAME, Tag(tag)) for tag in ("used", "unused"))):
        os.utime(f"{tmp_path}{key}", (now - 9000, now - 9000))
    await Pulls(storage).mark(NAME, used)
    await Retainer(storage, retaining(pulled_within=3600)).round()
    assert await registry.tags.page(NAME) == [Tag("used")]


async def test_what_is_pulled_all_the_time_stays_between_two_notes(tmp_path: Path) -> None:
    storage = FilesystemStorage(str(tmp_path))
    registry, now = Registry.over(storage), time.time()
    used = await push(registry, "used", "used")
    await storage.put(layout.pulled_since(NAME), b"")
    await storage.put(layout.pulled(NAME, used), b"")
    for key in (layout.pulled_since(NAME), layout.tag_link(NAME, Tag("used"))):
        os.utime(f"{tmp_path}{key}", (now - 9000, now - 9000))
    # It has been noted, and pulls since then have not.
    ages = {MARK_SECONDS - 10: 0, MARK_SECONDS + 70: 1}
    for age, deleted in ages.items():
        os.utime(f"{tmp_path}{layout.pulled(NAME, used)}", (now - age, now - age))
        assert (await Retainer(storage, retaining(pulled_within=60)).round()).deleted == deleted


async def test_notes_of_pulls_go_with_their_manifests(storage: Storage) -> None:
    registry, pulls = Registry.over(storage), Pulls(storage)
    here, gone = [await push(registry, text, text) for text in ("here", "gone")]
    for digest in (here, gone):
        await pulls.mark(NAME, digest)
    await registry.manifests.delete(NAME, gone)
    retainer = Retainer(storage, retaining(pulled_within=3600))
    assert [len(plan.verdicts) async for plan in retainer.plans()] == [1]
    noted = layout.pulled(NAME, here).rpartition("/")[0]
    assert set(await storage.list(noted)) == {here.encoded, gone.encoded}, "a plan removes nothing"
    await retainer.round()
    assert await storage.list(noted) == [here.encoded]


async def test_nothing_is_too_old_when_pulls_are_first_looked_at(storage: Storage) -> None:
    registry = Registry.over(storage)
    await push(registry, "one", "a")
    retainer = Retainer(storage, retaining(pulled_within=3600), clock=lambda: time.time() + 7200)
    assert (await retainer.round()).deleted == 0


async def test_where_nothing_may_be_written_nothing_is(storage: Storage) -> None:
    await push(Registry.over(storage), "one", "a")
    looking = Retainer(storage, retaining(pulled_within=3600), writes=False)
    before = await dump(storage)
    assert [len(plan.going) async for plan in looking.plans()] == [0]
    assert await dump(storage) == before


async def test_a_pull_is_noted_now_and_then_and_only_where_it_matters() -> None:
    storage, now = MemoryStorage(), [5000.0]
    digest = Digest.of(b"x")
    pulls = Pulls(storage, lambda name: name == NAME, lambda: now[0])
    key = layout.pulled(NAME, digest)

    async def noted(name: RepositoryName) -> bool:
        pulls.note(name, digest)
        for _ in range(3):
            await asyncio.sleep(0)
        try:
            await storage.delete(layout.pulled(name, digest))
        except PathNotFoundError:
            return False
        return True

    assert await noted(NAME), key
    assert not await noted(NAME)
    now[0] += MARK_SECONDS
    assert await noted(NAME)
    assert not await noted(RepositoryName("other"))
