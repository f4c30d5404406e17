"""Walks through catalogs and tag lists, page by page (reference, 1.6, 1.7, defect 28)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.asgi import Client
from tests.wire.compositions import FILESYSTEM, MEMORY, Composition, world
from tests.wire.conftest import OpenWorld
from tests.wire.content import ROOT, Directory, digest
from tests.wire.fuzzing import FACTOR, NOWHERE, thorough
from tests.wire.test_referrers import next_page
from tests.wire.world import OCI_IMAGE, REPOSITORIES, WORLD

from lading.api.service import Limits

pytestmark = pytest.mark.timeout(120 * FACTOR)

BOTH = pytest.mark.parametrize("composition", [MEMORY, FILESYSTEM], ids=["memory", "filesystem"])


async def walk(client: Client, path: str, key: str, size: int) -> list[str]:
    found: list[str] = []
    target: str | None = f"{path}?n={size}"
    while target is not None:
        answer = (await client.get(target)).expect(200)
        page = answer.json()[key]
        assert len(page) <= size
        found += page
        target = next_page(answer.header("link"))
        assert page or target is None, "an empty page that promises more"
    return found


@BOTH
@pytest.mark.parametrize("size", [1, 2, 3, 4, 9, 10, 11])
async def test_the_catalog(open_world: OpenWorld, composition: Composition, size: int) -> None:
    place = await open_world(composition, WORLD.files)
    assert await walk(place.client, "/v2/_catalog", "repositories", size) == REPOSITORIES


@BOTH
async def test_an_empty_registry(open_world: OpenWorld, composition: Composition) -> None:
    place = await open_world(composition)
    answer = (await place.client.get("/v2/_catalog")).expect(200)
    assert answer.body == b'{"repositories":[]}\n'
    assert (await place.client.get("/v2/a/tags/list")).expect(404).codes() == ["NAME_UNKNOWN"]


components = st.sampled_from(["0", "1a", "a", "a-b", "a.b", "a_b", "b", "z9"])
names = st.lists(components, min_size=1, max_size=4).map("/".join)


@thorough(60)
@given(st.sets(names, max_size=12), st.integers(1, 4))
async def test_every_name_exactly_once(repositories: set[str], size: int) -> None:
    directory = Directory()
    for name in repositories:
        directory.manifest(name, OCI_IMAGE, "latest")
    place = await world(MEMORY, directory.files, NOWHERE)
    whole = (await place.client.get("/v2/_catalog")).json()["repositories"]
    assert sorted(whole) == sorted(repositories)
    assert whole == sorted(repositories, key=lambda name: [*name.split("/"), "_manifests"])
    assert await walk(place.client, "/v2/_catalog", "repositories", size) == whole


@thorough(60)
@given(st.sets(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,4}", fullmatch=True), max_size=12), st.integers(1, 4))
async def test_every_tag_exactly_once(tags: set[str], size: int) -> None:
    directory = Directory()
    directory.manifest("a", OCI_IMAGE, *tags)
    place = await world(MEMORY, directory.files, NOWHERE)
    assert await walk(place.client, "/v2/a/tags/list", "tags", size) == sorted(tags)
    for tag in tags:
        answer = await place.client.get(f"/v2/a/tags/list?last={tag}")
        assert answer.json()["tags"] == sorted(other for other in tags if other > tag)


async def test_limits(open_world: OpenWorld) -> None:
    directory = Directory()
    names = [f"r{number:02}" for number in range(12)]
    for name in names:
        directory.manifest(name, OCI_IMAGE, *names)
    limits = Limits(catalog_page=5, catalog_max=8, tags_max=7)
    place = await open_world(replace(MEMORY, limits=limits), directory.files)
    answer = await place.client.get("/v2/_catalog")
    assert answer.json()["repositories"] == names[:5]
    assert answer.header("link") == '</v2/_catalog?last=r04&n=5>; rel="next"'
    assert len((await place.client.get("/v2/_catalog?n=8")).json()["repositories"]) == 8
    refused = (await place.client.get("/v2/_catalog?n=9")).expect(400)
    assert refused.json()["errors"][0]["detail"] == {"n": 9}
    answer = await place.client.get("/v2/r00/tags/list?n=100")
    assert answer.json()["tags"] == names[:7]
    assert answer.header("link") == '</v2/r00/tags/list?last=r06&n=7>; rel="next"'
    assert (await place.client.get("/v2/r00/tags/list")).json()["tags"] == names
    # The default page is no larger than the largest.
    place = await open_world(replace(MEMORY, limits=Limits(catalog_max=3)), directory.files)
    answer = await place.client.get("/v2/_catalog")
    assert answer.json()["repositories"] == names[:3]


@BOTH
async def test_what_is_deleted_between_two_pages_is_not_missed_by_others(
    open_world: OpenWorld, composition: Composition
) -> None:
    tags = [f"t{number}" for number in range(9)]
    random.Random(1).shuffle(tags)
    directory = Directory()
    directory.manifest("a", OCI_IMAGE, *tags)
    place = await open_world(composition, directory.files)
    seen: list[str] = []
    target: str | None = "/v2/a/tags/list?n=2"
    while target is not None:
        answer = (await place.client.get(target)).expect(200)
        seen += answer.json()["tags"]
        for tag in answer.json()["tags"]:
            (await place.client.delete(f"/v2/a/manifests/{tag}")).expect(202)
        target = next_page(answer.header("link"))
    assert seen == sorted(tags)


@BOTH
@pytest.mark.parametrize("seed", range(5))
async def test_tags_that_come_and_go_do_not_disturb_the_others(
    open_world: OpenWorld, composition: Composition, seed: int
) -> None:
    rng = random.Random(seed)
    tags = [f"t{number:02}" for number in range(40)]
    kept = set(tags[::3])
    present = set(kept)
    directory = Directory()
    directory.manifest("a", OCI_IMAGE, *kept)
    place = await open_world(composition, directory.files)
    seen: list[str] = []
    target: str | None = "/v2/a/tags/list?n=3"
    while target is not None:
        answer = (await place.client.get(target)).expect(200)
        page = answer.json()["tags"]
        assert page == sorted(tag for tag in present if not seen or tag > seen[-1])[:3]
        seen += page
        for tag in rng.sample([tag for tag in tags if tag not in kept], 4):
            if tag in present:
                (await place.writer.delete(f"/v2/a/manifests/{tag}")).expect(202)
            else:
                link = f"{ROOT}/repositories/a/_manifests/tags/{tag}/current/link"
                await place.storage.put(link, digest(OCI_IMAGE).encode())
            present ^= {tag}
            everything = (await place.client.get("/v2/a/tags/list")).json()["tags"]
            assert everything == sorted(present)
        target = next_page(answer.header("link"))
    assert kept <= set(seen)
    assert len(seen) == len(set(seen))


@BOTH
async def test_a_tag_without_a_link_is_none(open_world: OpenWorld, composition: Composition) -> None:
    """A crash within a delete leaves such a directory; a page is filled up behind it."""
    directory = Directory()
    directory.manifest("a", OCI_IMAGE, "t1", "t2", "t3", "t4")
    place = await open_world(composition, directory.files)
    target = "/v2/a/tags/list?n=2"
    assert (await place.client.get(target)).json()["tags"] == ["t1", "t2"]
    for number in (1, 3):
        await place.storage.delete(f"{ROOT}/repositories/a/_manifests/tags/t{number}/current/link")
    answer = await place.client.get(target)
    assert answer.json()["tags"] == ["t2", "t4"]
    assert answer.header("link") == '</v2/a/tags/list?last=t4&n=2>; rel="next"'


@BOTH
async def test_repositories_come_and_go(open_world: OpenWorld, composition: Composition) -> None:
    place = await open_world(composition, WORLD.files)
    for name, where in [("a/b/c", 4), ("zz", None), ("0", 0)]:
        key = f"{ROOT}/repositories/{name}/_manifests/revisions/sha256/0/link"
        await place.storage.put(key, b"")
        catalog = (await place.client.get("/v2/_catalog")).json()["repositories"]
        expected = [*REPOSITORIES]
        expected.insert(len(expected) if where is None else where, name)
        assert catalog == expected
        await place.storage.delete(f"{ROOT}/repositories/{name}")
        assert (await place.client.get("/v2/_catalog")).json()["repositories"] == REPOSITORIES


@pytest.mark.parametrize("name", ["lost+found", "a b", "Ümlaut", "a.tmp", "@eaDir", "x" * 255])
async def test_foreign_directories_are_passed_over(open_world: OpenWorld, name: str) -> None:
    """A volume's `lost+found`, a NAS's index, an editor's leftover: nothing that the original trips over."""
    key = f"/docker/registry/v2/repositories/{name}/inside/file"
    place = await open_world(FILESYSTEM, {**WORLD.files, key: b""})
    assert (await place.client.get("/v2/_catalog")).expect(200).json()["repositories"] == REPOSITORIES


async def test_foreign_files_are_passed_over(open_world: OpenWorld) -> None:
    base = "/docker/registry/v2/repositories"
    files = {f"{base}/README": b"", f"{base}/test/.DS_Store": b"", f"{base}/test/_manifests/tags/.DS_Store": b""}
    files[f"{base}/test/_manifests/tags/asj9e.tmp"] = b""
    files[f"{base}/test/_manifests/tags/two words/current/link"] = b""
    place = await open_world(FILESYSTEM, {**WORLD.files, **files})
    assert (await place.client.get("/v2/_catalog")).expect(200).json()["repositories"] == REPOSITORIES
    tags = (await place.client.get("/v2/test/tags/list")).expect(200).json()["tags"]
    assert tags == ["2j2ar", "asj9e", "jyi7b", "kb0j5", "sb71y"]
