"""skopeo: the copier of the containers project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.servers import content, layouts
from tests.servers.content import Package
from tests.servers.peers import Peer
from tests.servers.process import Registry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(90)]

QUIET = ["--insecure-policy"]
TO_PLAIN = "--dest-tls-verify=false"
FROM_PLAIN = "--src-tls-verify=false"


@pytest.fixture
def skopeo(peer: Callable[[str], Peer]) -> Peer:
    return peer("skopeo")


def push(skopeo: Peer, layout: Path, tag: str, target: str) -> None:
    skopeo(*QUIET, "copy", "--all", TO_PLAIN, f"oci:{layout}:{tag}", f"docker://{target}")


@pytest.mark.parametrize(
    "package", [content.image("one"), content.multi_arch("many")], ids=["image", "multi-arch"]
)
def test_layout_comes_back_as_it_went_in(lading: Registry, skopeo: Peer, tmp_path: Path, package: Package) -> None:
    layout = layouts.write(tmp_path / "in", {"1.0": package})
    push(skopeo, layout, "1.0", f"{lading.host}/team/app:1.0")
    assert lading.client.pull("team/app", "1.0") == package.everything()

    source = f"docker://{lading.host}/team/app:1.0"
    skopeo(*QUIET, "copy", "--all", FROM_PLAIN, source, f"oci:{tmp_path / 'out'}:1.0")
    assert layouts.read(tmp_path / "out") == package.everything()


def test_docker_images_keep_their_bytes(lading: Registry, skopeo: Peer, tmp_path: Path) -> None:
    package = content.multi_arch("docker", docker=True)
    lading.client.push("team/app", "docker", package)
    copy = f"docker://{lading.host}/elsewhere/app:copy"
    source = f"docker://{lading.host}/team/app:docker"
    skopeo(*QUIET, "copy", "--all", FROM_PLAIN, TO_PLAIN, source, copy)
    assert lading.client.pull("elsewhere/app", "copy") == package.everything()

    skopeo(*QUIET, "copy", "--all", FROM_PLAIN, copy, f"dir:{tmp_path / 'out'}")
    assert layouts.read_skopeo_directory(tmp_path / "out") == package.everything()


def test_list_tags_and_delete(lading: Registry, skopeo: Peer, tmp_path: Path) -> None:
    kept, removed = content.image("kept"), content.image("removed")
    layout = layouts.write(tmp_path / "in", {"kept": kept, "removed": removed})
    for tag in ("kept", "removed"):
        push(skopeo, layout, tag, f"{lading.host}/team/app:{tag}")
    listed = skopeo("list-tags", "--tls-verify=false", f"docker://{lading.host}/team/app")
    assert '"kept"' in listed
    assert '"removed"' in listed

    skopeo("delete", "--tls-verify=false", f"docker://{lading.host}/team/app:removed")
    assert lading.client.tags("team/app") == ["kept"]
    lading.client.get(f"/v2/team/app/manifests/{removed.manifest.digest}").expect(404)
    assert lading.client.pull("team/app", "kept") == kept.everything()
    gone = skopeo.refused("inspect", "--tls-verify=false", f"docker://{lading.host}/team/app:removed")
    assert "manifest unknown" in gone


def test_sync_out_of_and_into_a_registry(lading: Registry, skopeo: Peer, tmp_path: Path) -> None:
    packages = {"1.0": content.multi_arch("first"), "2.0": content.multi_arch("second")}
    for tag, package in packages.items():
        lading.client.push("team/app", tag, package)
    sync = [*QUIET, "sync", "--all"]
    skopeo(*sync, FROM_PLAIN, "--src=docker", "--dest=dir", f"{lading.host}/team/app", tmp_path)
    for tag, package in packages.items():
        assert layouts.read_skopeo_directory(tmp_path / f"app:{tag}") == package.everything()

    # Each folder is a source of its own: skopeo names what it finds after the folder.
    for tag in packages:
        folder = tmp_path / "again" / f"app:{tag}"
        folder.parent.mkdir(exist_ok=True)
        (tmp_path / f"app:{tag}").rename(folder)
    skopeo(*sync, TO_PLAIN, "--src=dir", "--dest=docker", tmp_path / "again", f"{lading.host}/mirror")
    for tag, package in packages.items():
        assert lading.client.pull("mirror/app", tag) == package.everything()


def test_inspect_reads_the_image_for_one_platform(lading: Registry, skopeo: Peer) -> None:
    package = content.multi_arch("many")
    lading.client.push("team/app", "1.0", package)
    described = skopeo(
        "--override-arch=arm64", "inspect", "--tls-verify=false", f"docker://{lading.host}/team/app:1.0"
    )
    assert package.manifest.digest in described
    assert '"Architecture": "arm64"' in described
