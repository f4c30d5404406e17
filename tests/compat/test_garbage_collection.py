"""The original's garbage collector, run over directories that Lading has written: nothing tagged is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.servers import content
from tests.servers.content import Package
from tests.servers.process import Registry, StartRegistry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(90)]

MIXED = content.index([content.image("of sha512", algorithm="sha512"), content.image("of sha256")])

TAGGED: dict[tuple[str, str], Package] = {
    ("team/app", "1.0"): content.image("one"),
    ("team/app", "many"): content.multi_arch("many"),
    ("team/app/inner", "1.0"): content.image("inner", docker=True),
    ("team/sha512", "image"): content.image("all sha512", algorithm="sha512"),
    ("team/sha512", "index"): content.index([content.image("child", algorithm="sha512")], algorithm="sha512"),
    ("team/sha512", "mixed"): MIXED,
    # The same bytes, known by sha256 here and by sha512 there: the layers of one must not go with the other.
    ("team/sha256", "same-layers"): content.image("all sha512"),
}
SIGNATURE = content.artifact("signature", "example/signature", subject=TAGGED["team/app", "1.0"].manifest)
REMOVED = content.image("removed")


def fill(registry: Registry) -> None:
    for (repository, tag), package in TAGGED.items():
        registry.client.push(repository, tag, package)
    registry.client.push("team/app", SIGNATURE.manifest.digest, SIGNATURE)
    registry.client.push("team/app", "removed", REMOVED)
    registry.client.request("DELETE", f"/v2/team/app/manifests/{REMOVED.manifest.digest}").expect(202)


def check(registry: Registry) -> None:
    client = registry.client
    for (repository, tag), package in TAGGED.items():
        assert client.pull(repository, tag) == package.everything(), f"{repository}:{tag}"
    referrers = client.referrers("team/app", TAGGED["team/app", "1.0"].manifest.digest)
    assert [each["digest"] for each in referrers] == [SIGNATURE.manifest.digest]
    assert client.pull("team/app", SIGNATURE.manifest.digest) == SIGNATURE.everything()


def stored(root: Path) -> set[str]:
    """The digests of all blobs on disk."""
    blobs = root / "docker/registry/v2/blobs"
    return {f"{data.parent.parent.parent.name}:{data.parent.name}" for data in blobs.glob("*/*/*/data")}


def collect(start_distribution: StartRegistry, root: Path) -> str:
    original = start_distribution(root)
    original.stop()
    return original.collect_garbage()


def test_tagged_content_and_referrers_survive(
    start_lading: StartRegistry, start_distribution: StartRegistry, tmp_path: Path
) -> None:
    root = tmp_path / "shared"
    lading = start_lading(root)
    fill(lading)
    check(lading)
    removed = {blob.digest for blob in REMOVED.blobs} | {REMOVED.manifest.digest}
    assert removed <= stored(root)
    lading.stop()

    collect(start_distribution, root)
    assert not removed & stored(root), "the collector did not run over what Lading deleted"
    lading = start_lading(root)
    check(lading)
    lading.client.get(f"/v2/team/app/blobs/{REMOVED.blobs[0].digest}").expect(404)


def test_directory_of_the_original_that_lading_went_on_with(
    start_lading: StartRegistry, start_distribution: StartRegistry, tmp_path: Path
) -> None:
    root = tmp_path / "shared"
    original = start_distribution(root)
    before = {"old": content.image("one"), "before": content.multi_arch("before")}
    for tag, package in before.items():
        original.client.push("team/app", tag, package)
    original.stop()

    lading = start_lading(root)
    fill(lading)
    lading.stop()
    collect(start_distribution, root)

    lading = start_lading(root)
    check(lading)
    original = start_distribution(root)
    for tag, package in before.items():
        assert lading.client.pull("team/app", tag) == package.everything()
        assert original.client.pull("team/app", tag) == package.everything()
