"""The Debian package: built, installed by apt on a real Debian, and run as the user it makes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.packaging.buildah import BUILD_SECONDS, Buildah, running
from tests.servers import content, peers

BUILD = Path(__file__).parents[2] / "packaging/debian/build"

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.timeout(BUILD_SECONDS),
    pytest.mark.xdist_group("container"),
    pytest.mark.skipif(os.geteuid() != 0, reason="packages are installed by root here"),
]


@pytest.fixture(scope="module")
def installed(buildah: Buildah, debian: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image where the package is installed."""
    peers.executable("dpkg-deb")
    folder = tmp_path_factory.mktemp("package")
    built = subprocess.run([BUILD, folder], capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (package,) = folder.iterdir()
    container = buildah("from", debian)
    depends = subprocess.check_output(["dpkg-deb", "--field", package, "Depends"], text=True)
    release = buildah.run(container, "apt-cache", "show", "python3").split("Version: ")[1].split(".")[1]
    if f"python3 (>= 3.{release})" not in depends:
        pytest.skip(f"this machine's Python is not that of the Debian to install on: {depends}")
    buildah("copy", container, package, "/lading.deb")
    buildah.run(container, "apt-get", "update", "-qq")
    buildah.run(container, "apt-get", "install", "--yes", "-qq", "--no-install-recommends", "/lading.deb")
    buildah("commit", "--rm", container, "installed")
    yield "localhost/installed"
    buildah("rmi", "installed")


def test_it_serves_as_its_own_user(buildah: Buildah, installed: str) -> None:
    package = content.image("in-a-package")
    command = ("setpriv", "--reuid=lading", "--regid=lading", "--clear-groups")
    with running(buildah, installed, *command, "lading", "serve", "/etc/distribution/config.yml") as client:
        client.push("team/app", "1.0", package)
        assert client.pull("team/app", "1.0") == package.everything()


def test_what_is_installed(buildah: Buildah, installed: str) -> None:
    container = buildah("from", installed)
    said = buildah.run(container, "dpkg", "--verify", "lading")
    assert said == ""
    page = buildah.run(container, "zcat", "/usr/share/man/man1/lading.1.gz")
    assert "token\\-server" in page
    assert "http.addr" in buildah.run(container, "zcat", "/usr/share/man/man5/lading-config.5.gz")
    completion = buildah.run(container, "cat", "/usr/share/bash-completion/completions/lading")
    assert "_shtab_lading" in completion
    buildah("rm", container)


LEFT = "/var/lib/registry/data /opt/lading /usr/bin/lading /etc/distribution"


def test_removal_keeps_the_images(buildah: Buildah, installed: str) -> None:
    container = buildah("from", installed)
    compiled = buildah.run(container, "find", "/opt/lading/lib", "-name", "cli.*.pyc")
    assert "/lading/__pycache__/" in compiled
    buildah.run(container, "touch", "/var/lib/registry/data")
    wanted = "/etc/systemd/system/multi-user.target.wants"
    buildah.run(container, "mkdir", "-p", wanted)
    buildah.run(container, "ln", "-s", "/lib/systemd/system/lading.service", wanted)
    buildah.run(container, "apt-get", "purge", "--yes", "-qq", "lading")
    left = buildah.run(container, "sh", "-c", f"ls -d {LEFT} {wanted}/lading.service; true")
    assert left == "/var/lib/registry/data"
    buildah("rm", container)
