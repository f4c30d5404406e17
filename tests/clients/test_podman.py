"""podman and buildah: build, push and pull as on a user's machine, each with a store of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.servers import content
from tests.servers.peers import Peer
from tests.servers.process import Registry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(110)]

PLAIN = "--tls-verify=false"


class Engine:
    """podman or buildah on a fresh image store."""

    def __init__(self, program: Peer, store: Path) -> None:
        self._program = program
        self._options = [
            f"--root={store / 'root'}",
            f"--runroot={store / 'run'}",
            "--storage-driver=vfs",
        ]

    def __call__(self, *arguments: str | Path) -> str:
        return self._program(*self._options, *arguments).strip()


@pytest.fixture
def engine(peer: Callable[[str], Peer]) -> Iterator[Callable[[str, str], Engine]]:
    """`engine("podman", "a")` is podman on the store "a"; podman wants a path shorter than pytest's."""
    with tempfile.TemporaryDirectory(prefix="lading-") as stores:
        yield lambda program, store: Engine(peer(program), Path(stores) / store)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """What `podman build` needs to make an image without any base image."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "data.bin").write_bytes(content.noise("context", 200_000))
    (folder / "Containerfile").write_text("FROM scratch\nCOPY data.bin /data.bin\nLABEL made=here\n")
    return folder


@pytest.mark.parametrize("program", ["podman", "buildah"])
@pytest.mark.parametrize("manifest_format", ["oci", "v2s2"])
def test_build_push_and_pull_elsewhere(
    lading: Registry,
    engine: Callable[[str, str], Engine],
    context: Path,
    tmp_path: Path,
    program: str,
    manifest_format: str,
) -> None:
    here, there = engine(program, "here"), engine(program, "there")
    image = f"{lading.host}/team/{program}:built"
    here("build", "--isolation=chroot", "--tag", image, context)
    digest_file = tmp_path / "digest"
    here("push", PLAIN, f"--format={manifest_format}", f"--digestfile={digest_file}", image)
    pushed = lading.client.pull(f"team/{program}", "built")
    assert digest_file.read_text() == next(iter(pushed))

    there("pull", PLAIN, image)
    pulled = json.loads(there("inspect", "--type=image", image))
    found = pulled[0] if isinstance(pulled, list) else pulled
    image_id = found["Id"] if program == "podman" else found["FromImageID"]
    manifest = json.loads(next(iter(pushed.values())))
    assert manifest["config"]["digest"] == f"sha256:{image_id}"


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_pulled_image_is_pushed_again(
    lading: Registry, engine: Callable[[str, str], Engine], docker: bool
) -> None:
    """podman asks which layers are there already: it knows under which digest it pulled them."""
    package = content.image("elsewhere", docker=docker)
    lading.client.push("team/app", "1.0", package)
    podman = engine("podman", "here")
    podman("pull", PLAIN, f"{lading.host}/team/app:1.0")
    repo_digests = json.loads(podman("image", "inspect", f"{lading.host}/team/app:1.0"))[0]["RepoDigests"]
    assert f"{lading.host}/team/app@{package.manifest.digest}" in repo_digests

    podman("push", PLAIN, f"{lading.host}/team/app:1.0", f"{lading.host}/team/app:2.0")
    pushed = lading.client.pull("team/app", "2.0")  # podman writes Docker manifests in its own spelling
    assert {blob.digest: pushed.get(blob.digest) for blob in package.blobs} == {
        blob.digest: blob.data for blob in package.blobs
    }


def test_manifest_list_push(lading: Registry, engine: Callable[[str, str], Engine]) -> None:
    images = {each: content.image("part", architecture=each) for each in ("amd64", "arm64")}
    for architecture, package in images.items():
        lading.client.push("team/part", architecture, package)
    buildah = engine("buildah", "here")
    buildah("manifest", "create", "whole")
    for architecture in images:
        buildah("manifest", "add", PLAIN, "whole", f"docker://{lading.host}/team/part:{architecture}")
    buildah("manifest", "push", "--all", PLAIN, "whole", f"docker://{lading.host}/team/whole:1.0")

    pulled = lading.client.pull("team/whole", "1.0")
    parts = images["amd64"].everything() | images["arm64"].everything()
    assert {digest: pulled.get(digest) for digest in parts} == parts
