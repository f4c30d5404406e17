"""crane: go-containerregistry, the library under many other tools."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.servers import content, layouts
from tests.servers.content import Package
from tests.servers.peers import Peer
from tests.servers.process import Registry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]


@pytest.fixture
def crane(peer: Callable[[str], Peer]) -> Peer:
    return peer("crane")


@pytest.mark.parametrize(
    "package",
    [content.image("one"), content.multi_arch("many"), content.index([content.multi_arch("nested")])],
    ids=["image", "multi-arch", "nested"],
)
def test_push_copy_and_pull(lading: Registry, crane: Peer, tmp_path: Path, package: Package) -> None:
    layout = layouts.write(tmp_path / "in", {"1.0": package})
    index = ["--index"] if package.children else []
    pushed = f"{lading.host}/team/app:1.0"
    reference = crane("push", *index, layout, pushed).strip()
    # With --index the layout's own index.json is what is pushed.
    top = (layout / "index.json").read_bytes() if index else package.manifest.data
    assert reference == f"{lading.host}/team/app@{content.digest_of(top)}"
    expected = package.everything() | {content.digest_of(top): top}
    assert lading.client.pull("team/app", "1.0") == expected

    crane("copy", pushed, f"{lading.host}/other/team/app:copy")
    assert lading.client.pull("other/team/app", "copy") == expected

    crane("pull", "--format=oci", f"{lading.host}/other/team/app:copy", tmp_path / "out")
    assert layouts.read(tmp_path / "out") == expected


def test_pull_as_tarball_and_push_it_again(lading: Registry, crane: Peer, tmp_path: Path) -> None:
    package = content.image("docker", docker=True)
    lading.client.push("team/app", "1.0", package)
    tarball = tmp_path / "image.tar"
    crane("pull", f"{lading.host}/team/app:1.0", tarball)
    with tarfile.open(tarball) as tar:
        files = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    described = json.loads(files["manifest.json"])[0]
    assert [files[name] for name in [described["Config"], *described["Layers"]]] == [
        blob.data for blob in package.blobs
    ]

    crane("push", tarball, f"{lading.host}/team/again:1.0")
    pushed = lading.client.pull("team/again", "1.0")
    assert package.blobs[0].digest in pushed


def test_catalog_ls_manifest_digest_and_blob(lading: Registry, crane: Peer) -> None:
    package = content.image("one")
    for repository in ("b/app", "a/app", "a"):
        for tag in ("2.0", "1.0"):
            lading.client.push(repository, tag, package)
    assert crane("catalog", lading.host).split() == lading.client.catalog()
    assert sorted(lading.client.catalog()) == ["a", "a/app", "b/app"]
    assert crane("ls", f"{lading.host}/a/app").split() == ["1.0", "2.0"]
    assert crane("manifest", f"{lading.host}/a/app:1.0").encode() == package.manifest.data
    assert crane("digest", f"{lading.host}/a/app:2.0").strip() == package.manifest.digest
    config = package.blobs[0]
    assert crane("blob", f"{lading.host}/a/app@{config.digest}").encode() == config.data


def test_validate_reads_all_of_it(lading: Registry, crane: Peer) -> None:
    lading.client.push("team/app", "1.0", content.multi_arch("many"))
    assert "PASS" in crane("validate", f"--remote={lading.host}/team/app:1.0")

    broken = content.image("broken")
    lading.client.push("team/broken", "1.0", broken)
    lading.client.request("DELETE", f"/v2/team/broken/blobs/{broken.blobs[-1].digest}").expect(202)
    assert "FAIL" in crane.refused("validate", f"--remote={lading.host}/team/broken:1.0")


def test_delete_and_tag(lading: Registry, crane: Peer) -> None:
    package = content.image("one")
    lading.client.push("team/app", "1.0", package)
    crane("tag", f"{lading.host}/team/app:1.0", "2.0")
    crane("delete", f"{lading.host}/team/app:1.0")
    assert lading.client.tags("team/app") == ["2.0"]
    assert lading.client.pull("team/app", "2.0") == package.everything()

    crane("delete", f"{lading.host}/team/app@{package.manifest.digest}")
    lading.client.get("/v2/team/app/manifests/2.0").expect(404)
    assert "MANIFEST_UNKNOWN" in crane.refused("manifest", f"{lading.host}/team/app:2.0")


def test_copy_within_a_registry_mounts_blobs(lading: Registry, crane: Peer) -> None:
    """A mounted blob is not uploaded: nothing but the manifest travels."""
    package = content.image("big", layer_sizes=[3_000_000])
    lading.client.push("team/app", "1.0", package)
    said = crane.said("copy", f"{lading.host}/team/app:1.0", f"{lading.host}/team/mounted:1.0")
    assert said.count("mounted blob") == len(package.blobs), said
    assert lading.client.pull("team/mounted", "1.0") == package.everything()
