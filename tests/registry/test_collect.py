"""What garbage collection keeps and removes (reference, 4.4 and 4.5), over the layout itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from tests.servers import content
from tests.servers.content import Package
from tests.wire.compositions import dump
from tests.wire.storages import Watched

from lading.oci.digest import Digest
from lading.oci.names import RepositoryName, Tag
from lading.registry import layout
from lading.registry.collect import apply, plan
from lading.registry.garbage import Plan, Wish
from lading.registry.ports import Storage, StorageError
from lading.storage.memory import MemoryStorage

APP = RepositoryName("team/app")
LINKED, UNTAGGED = Wish(), Wish(delete_untagged=True)
ONE, TWO = content.image("one"), content.image("two")
LIST = content.multi_arch("list")


async def store(storage: Storage, package: Package, *tags: str, name: RepositoryName = APP) -> None:
    """As a push leaves it."""
    for child in package.children:
        await store(storage, child, name=name)
    for blob in package.blobs:
        digest = Digest(blob.digest)
        await storage.put(layout.blob_data(digest), blob.data)
        await storage.put(layout.layer_link(name, digest), blob.digest.encode())
    digest = Digest(package.manifest.digest)
    await storage.put(layout.blob_data(digest), package.manifest.data)
    await storage.put(layout.manifest_link(name, digest), digest.encode())
    for tag in map(Tag, tags):
        await storage.put(layout.tag_link(name, tag), digest.encode())
        await storage.put(layout.tag_history_link(name, tag, digest), digest.encode())


async def collect(storage: Storage, wish: Wish = LINKED) -> Plan:
    """Plan and apply; a second run finds nothing more."""
    made = await plan(storage, wish, lambda _: None)
    await apply(storage, made)
    again = await plan(storage, wish, lambda _: None)
    assert (again.manifests, again.blobs, again.layers, again.empty) == ([], [], [], [])
    return made


async def blobs(storage: Storage) -> set[str]:
    return {":".join((key.split("/")[5], key.split("/")[7])) for key in await dump(storage) if "/blobs/" in key}


def digests(*packages: Package) -> set[str]:
    return {digest for package in packages for digest in package.everything()}


async def check(storage: Storage, *kept: Package, name: RepositoryName = APP) -> None:
    """Exactly these are stored and linked."""
    assert await blobs(storage) == digests(*kept)
    linked = {key for key in await dump(storage) if "/_layers/" in key or "/revisions/" in key}
    expected: set[str] = set()
    for package in _all(kept):
        expected.add(layout.manifest_link(name, Digest(package.manifest.digest)))
        expected |= {layout.layer_link(name, Digest(blob.digest)) for blob in package.blobs}
    assert linked == expected


def _all(packages: Iterable[Package]) -> Iterable[Package]:
    for package in packages:
        yield package
        yield from _all(package.children)


async def test_what_manifests_refer_to_stays(storage: Storage) -> None:
    await store(storage, ONE, "1.0")
    await store(storage, TWO)
    await store(storage, LIST, "list")
    before = await dump(storage)
    made = await collect(storage)
    assert await dump(storage) == before
    assert made.bytes == 0
    assert made.marked == len(digests(ONE, TWO, LIST))


async def test_what_nothing_refers_to_goes(storage: Storage) -> None:
    await store(storage, ONE, "1.0")
    await store(storage, TWO)
    await storage.delete(layout.manifest_link(APP, Digest(TWO.manifest.digest)))
    made = await collect(storage)
    await check(storage, ONE)
    assert made.bytes == sum(map(len, TWO.everything().values()))


async def test_untagged_manifests_go_on_request(storage: Storage) -> None:
    await store(storage, ONE, "1.0")
    await store(storage, TWO)
    made = await collect(storage, UNTAGGED)
    await check(storage, ONE)
    assert [(doomed.digest, doomed.tags) for doomed in made.manifests] == [(TWO.manifest.digest, ("1.0",))]


async def test_a_tag_that_moved_keeps_what_it_shows_alone(storage: Storage) -> None:
    await store(storage, ONE, "latest")
    await store(storage, TWO, "latest")
    await collect(storage, UNTAGGED)
    await check(storage, TWO)
    assert not [key for key in await dump(storage) if "/index/" in key and ONE.manifest.digest[7:] in key]


@pytest.mark.parametrize("tagged", [True, False])
async def test_children_stay_with_their_index(storage: Storage, tagged: bool) -> None:
    await store(storage, LIST, *(["list"] if tagged else []))
    await store(storage, ONE, "1.0")
    await collect(storage, UNTAGGED)
    await check(storage, ONE, *([LIST] if tagged else []))


async def test_tagged_children_of_an_untagged_index_stay(storage: Storage) -> None:
    await store(storage, LIST)
    await store(storage, LIST.children[0], "amd64")
    await collect(storage, UNTAGGED)
    await check(storage, LIST.children[0])


async def test_children_that_are_missing_hinder_nobody(storage: Storage) -> None:
    await store(storage, LIST, "list")
    gone = LIST.children[0]
    await storage.delete(layout.manifest_link(APP, Digest(gone.manifest.digest)))
    await collect(storage)
    kept = digests(LIST) - digests(gone) | {gone.manifest.digest}
    assert await blobs(storage) == kept | (digests(gone) & digests(LIST.children[1]))


async def test_what_is_about_an_image_stays_with_it(storage: Storage) -> None:
    """Also what is about a child of an index, and about a signature."""
    about_child = content.artifact("sbom", "example/sbom", subject=LIST.children[1].manifest)
    signature = content.artifact("signature", "example/signature", subject=about_child.manifest)
    about_gone = content.artifact("old", "example/signature", subject=ONE.manifest)
    await store(storage, LIST, "list")
    for package in (about_child, signature, ONE, about_gone):
        await store(storage, package)
    await collect(storage, UNTAGGED)
    await check(storage, LIST, about_child, signature)


async def test_signatures_in_tags_stay_with_their_image(storage: Storage) -> None:
    signatures = [content.artifact(f"signature {n}", "example/signature") for n in range(3)]
    await store(storage, ONE, "1.0")
    await store(storage, TWO)
    elsewhere = f"sha256-{'e' * 64}.sig"
    for package, tag in zip(signatures, [tag_of(ONE), tag_of(TWO), elsewhere], strict=True):
        await store(storage, package, tag)
    await collect(storage, UNTAGGED)
    await check(storage, ONE, signatures[0], signatures[2])
    assert sorted(await storage.list(layout.tags(APP))) == sorted(["1.0", tag_of(ONE), elsewhere])


def tag_of(package: Package) -> str:
    return package.manifest.digest.replace(":", "-") + ".sig"


async def test_indexes_of_the_fallback_are_signatures_too(storage: Storage) -> None:
    filed = content.index([content.image("signature", subject=ONE.manifest)])
    await store(storage, ONE)
    await store(storage, filed, ONE.manifest.digest.replace(":", "-"))
    await store(storage, TWO, "2")
    await collect(storage, UNTAGGED)
    await check(storage, TWO)


async def test_content_of_other_algorithms(storage: Storage) -> None:
    """Under its own digest; and, as the original files it, under SHA-256 with a link of the other name."""
    own = content.image("own", algorithm="sha512")
    await store(storage, own, "1.0")
    filed = content.image("filed", algorithm="sha512")
    await store(storage, filed, "2.0")
    for blob in filed.blobs:
        canonical = content.digest_of(blob.data)
        await storage.delete(layout.blob_data(Digest(blob.digest)))
        await storage.put(layout.blob_data(Digest(canonical)), blob.data)
        await storage.put(layout.layer_link(APP, Digest(blob.digest)), canonical.encode())
    before = await dump(storage)
    await collect(storage)
    assert await dump(storage) == before


async def test_shared_layers_stay_as_long_as_anybody_needs_them(storage: Storage) -> None:
    other = RepositoryName("team/other")
    await store(storage, ONE, "1.0")
    await store(storage, ONE, name=other)
    made = await collect(storage, UNTAGGED)
    assert await blobs(storage) == digests(ONE)
    assert made.manifests == []  # as the original: its content stays anyway


async def test_a_child_that_another_repository_has_not_is_descended_into(storage: Storage) -> None:
    """The original passes it over here, as it was marked there (its defect 32)."""
    first = RepositoryName("a/first")
    await store(storage, LIST, "list", name=first)
    for child in LIST.children:
        await storage.delete(layout.manifest_link(first, Digest(child.manifest.digest)))
    await store(storage, LIST, "list")
    await collect(storage, UNTAGGED)
    assert await blobs(storage) == digests(LIST)


async def test_repository_without_tags(storage: Storage) -> None:
    """The original removes its content and keeps its link (its defect 30)."""
    await store(storage, ONE)
    await store(storage, TWO, "1.0", name=RepositoryName("team/other"))
    made = await collect(storage, UNTAGGED)
    await check(storage, TWO, name=RepositoryName("team/other"))
    assert made.empty == [APP]


async def test_empty_repositories_vanish_and_those_below_stay(storage: Storage) -> None:
    await store(storage, ONE, "1.0")
    await store(storage, TWO, "1.0", name=RepositoryName("team"))
    await storage.delete(layout.manifest_link(RepositoryName("team"), Digest(TWO.manifest.digest)))
    await storage.delete(layout.tag(RepositoryName("team"), Tag("1.0")))
    made = await collect(storage)
    assert made.empty == ["team"]
    assert await storage.list(layout.repository("team")) == ["app"]
    await check(storage, ONE)


async def test_a_repository_with_an_upload_is_not_empty(storage: Storage) -> None:
    await store(storage, ONE)
    await storage.put(layout.upload_data(APP, "0190d7a0-0000-7000-8000-000000000001"), b"bytes")
    made = await collect(storage, UNTAGGED)
    assert made.empty == []
    assert await storage.list(layout.uploads(APP)) != []


@pytest.mark.parametrize("link", [b"", b"nonsense"])
async def test_a_damaged_link_says_as_much_as_its_name(storage: Storage, link: bytes) -> None:
    await store(storage, ONE, "1.0")
    await storage.put(layout.manifest_link(APP, Digest(ONE.manifest.digest)), link)
    await collect(storage)
    assert await blobs(storage) == digests(ONE)


async def test_where_a_manifest_cannot_be_understood_everything_stays(storage: Storage) -> None:
    await store(storage, ONE, "1.0")
    await store(storage, TWO, "2.0")
    await storage.put(layout.blob_data(Digest(ONE.manifest.digest)), b"{damaged")
    made = await collect(storage)
    assert await blobs(storage) == digests(ONE, TWO)
    assert [warning.partition(":")[0] for warning in made.warnings] == [APP, APP]


async def test_what_vanishes_meanwhile_ends_nothing(storage: Storage) -> None:
    """The original takes it for the end of the repository (its defect 31)."""
    await store(storage, ONE, "1.0")
    await store(storage, TWO, "2.0")
    await storage.delete(layout.blob_data(min(Digest(ONE.manifest.digest), Digest(TWO.manifest.digest))))
    survivor = max(ONE, TWO, key=lambda package: package.manifest.digest)
    await collect(storage)
    assert digests(survivor) <= await blobs(storage)


async def test_what_cannot_be_read_stops_it() -> None:
    """At whichever request of the marking: nothing is removed."""
    below = MemoryStorage()
    await store(below, ONE, "1.0")
    await store(below, TWO)
    before = await dump(below)
    number = 0
    while True:
        left = iter(range(number))

        def refuse(operation: str, key: str, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise StorageError("test", f"{operation} {key} is refused")

        try:
            made = await plan(Watched(below, refuse), UNTAGGED, lambda _: None)
            break
        except StorageError:
            assert await dump(below) == before
            number += 1
    assert number > 10
    await apply(below, made)
    await check(below, ONE)


async def test_young_blobs_can_be_kept(storage: Storage) -> None:
    await store(storage, ONE)
    await storage.delete(layout.manifest_link(APP, Digest(ONE.manifest.digest)))
    made = await collect(storage, Wish(older_than=3600.0))
    assert made.blobs == []
    assert await blobs(storage) == digests(ONE)


async def test_reasons(storage: Storage) -> None:
    await store(storage, LIST, "list")
    child = LIST.children[0]
    made = await plan(storage, Wish(True, explain=Digest(child.manifest.digest)), lambda _: None)
    assert sorted(made.reasons) == [
        f"{APP}: it belongs to {LIST.manifest.digest}",
        f"{APP}: {LIST.manifest.digest} refers to it",
    ]
    layer = child.blobs[1].digest
    made = await plan(storage, Wish(True, explain=Digest(layer)), lambda _: None)
    assert made.reasons == [f"{APP}: {child.manifest.digest} refers to it"]
    made = await plan(storage, Wish(True, explain=Digest(LIST.manifest.digest)), lambda _: None)
    assert made.reasons == [f"{APP}: tag list shows it"]


async def test_nothing_at_all(storage: Storage) -> None:
    lines: list[str] = []
    assert (await plan(storage, Wish(), lines.append)).marked == 0
    assert lines == ["\n0 blobs marked, 0 blobs and 0 manifests eligible for deletion"]
