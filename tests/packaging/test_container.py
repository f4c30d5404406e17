"""The container image: built on a real Debian, run as people run `registry:3`, pushed and pulled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.packaging.buildah import BUILD_SECONDS, Buildah, running
from tests.servers import content
from tests.servers.process import Registry

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.timeout(BUILD_SECONDS + 120),
    pytest.mark.xdist_group("container"),
    pytest.mark.skipif(os.geteuid() != 0, reason="images are built by root here"),
]


@pytest.fixture(scope="module")
def image(buildah: Buildah, debian: str) -> str:
    buildah(
        "build",
        "--isolation=chroot",
        "--network=host",
        f"--build-arg=BASE={debian}",
        f"--file={ROOT / 'packaging/container/Dockerfile'}",
        "--tag=lading",
        ROOT,
    )
    return "localhost/lading"


@pytest.mark.parametrize(
    "arguments", [(), ("/etc/distribution/config.yml",), ("serve", "/etc/distribution/config.yml")]
)
def test_it_serves_however_it_is_called(buildah: Buildah, image: str, arguments: tuple[str, ...]) -> None:
    package = content.image("in-a-container")
    with running(buildah, image, "/entrypoint.sh", *arguments) as client:
        client.push("team/app", "1.0", package)
        assert client.pull("team/app", "1.0") == package.everything()


def test_it_is_laid_out_as_the_original(buildah: Buildah, image: str) -> None:
    config = json.loads(buildah("inspect", "--type=image", image))["OCIv1"]["config"]
    assert config["ExposedPorts"] == {"5000/tcp": {}}
    assert config["Volumes"] == {"/var/lib/registry": {}}
    assert config["Entrypoint"] == ["/entrypoint.sh"]
    assert config["User"] == "65532:65532"
    container = buildah("from", image)
    said = buildah("run", "--isolation=chroot", container, "--", "/entrypoint.sh", "--version")
    assert said.startswith("registry lading ")
    buildah("rm", container)


def test_it_is_not_root(buildah: Buildah, image: str) -> None:
    """And what it stores, where the original does, is its own."""
    package = content.image("unprivileged")
    with running(buildah, image, "/entrypoint.sh") as client:
        client.push("team/app", "1.0", package)
        (container,) = buildah("containers", "--quiet").split()
        inside = ("run", "--isolation=chroot", container, "--")
        owners = buildah(*inside, "find", "/var/lib/registry", "-printf", "%u\\n")
        assert set(owners.split()) == {"lading"}
        assert buildah(*inside, "sh", "-c", "id -u; test -w /etc || echo safe").split() == ["65532", "safe"]


def test_lading_keeps_its_own_image(buildah: Buildah, image: str, lading: Registry) -> None:
    name = f"{lading.host}/lading/lading:built"
    buildah("push", "--tls-verify=false", image, f"docker://{name}")
    pulled = buildah("pull", "--tls-verify=false", name)
    assert buildah("inspect", "--type=image", "--format={{.FromImageID}}", image) == pulled
