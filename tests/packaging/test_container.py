"""The container image: built on a real Debian, run as people run `registry:3`, pushed and pulled."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.servers import content, peers
from tests.servers.client import Client
from tests.servers.process import Registry

ROOT = Path(__file__).parents[2]
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BUILD_SECONDS = 600

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.timeout(BUILD_SECONDS + 120),
    pytest.mark.xdist_group("container"),
    pytest.mark.skipif(os.geteuid() != 0, reason="images are built by root here"),
]


class Buildah:
    def __init__(self, folder: Path) -> None:
        # chroot: no container runtime is asked for, only the right to change the root directory.
        self._command = [
            peers.executable("buildah"),
            "--storage-driver=vfs",
            f"--root={folder / 'storage'}",
            f"--runroot={folder / 'run'}",
        ]

    def __call__(self, *arguments: str | Path) -> str:
        run = subprocess.run(
            [*self._command, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        assert run.returncode == 0, f"buildah {arguments[0]}: {run.stdout}{run.stderr}"
        return run.stdout.strip()

    def start(self, container: str, *command: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        given = [f"--env={name}={value}" for name, value in environment.items()]
        run = ["run", "--isolation=chroot", *given, container, "--", *command]
        return subprocess.Popen([*self._command, *run], start_new_session=True)


@pytest.fixture(scope="module")
def buildah() -> Iterator[Buildah]:
    folder = Path(tempfile.mkdtemp(prefix="lading-image-", dir="/var/tmp"))
    try:
        yield Buildah(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def image(buildah: Buildah) -> str:
    root = peers.debian_root()
    base = buildah("from", "scratch")
    buildah("add", base, root, "/")
    # Where a proxy looks into what is downloaded, its certificate is among the machine's.
    buildah("copy", base, CERTIFICATES, "/usr/local/share/host.crt")
    for variable in ("SSL_CERT_FILE", "PIP_CERT"):
        buildah("config", f"--env={variable}=/usr/local/share/host.crt", base)
    buildah("commit", "--rm", base, "debian-root")
    buildah(
        "build",
        "--isolation=chroot",
        "--network=host",
        "--build-arg=BASE=localhost/debian-root",
        f"--file={ROOT / 'packaging/container/Dockerfile'}",
        "--tag=lading",
        ROOT,
    )
    return "localhost/lading"


@contextmanager
def running(buildah: Buildah, image: str, *arguments: str) -> Iterator[Client]:
    container = buildah("from", image)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    process = buildah.start(container, "/entrypoint.sh", *arguments, environment={"REGISTRY_HTTP_ADDR": host})
    client = Client(host)
    try:
        deadline = time.monotonic() + 30
        while not answers(client):
            assert process.poll() is None, "the registry in the container has ended"
            assert time.monotonic() < deadline, "the registry in the container does not answer"
            time.sleep(0.05)
        yield client
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        buildah("rm", container)


def answers(client: Client) -> bool:
    try:
        return client.request("GET", "/v2/").status == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    "arguments", [(), ("/etc/distribution/config.yml",), ("serve", "/etc/distribution/config.yml")]
)
def test_it_serves_however_it_is_called(buildah: Buildah, image: str, arguments: tuple[str, ...]) -> None:
    package = content.image("in-a-container")
    with running(buildah, image, *arguments) as client:
        client.push("team/app", "1.0", package)
        assert client.pull("team/app", "1.0") == package.everything()


def test_it_is_laid_out_as_the_original(buildah: Buildah, image: str) -> None:
    config = json.loads(buildah("inspect", "--type=image", image))["OCIv1"]["config"]
    assert config["ExposedPorts"] == {"5000/tcp": {}}
    assert config["Volumes"] == {"/var/lib/registry": {}}
    assert config["Entrypoint"] == ["/entrypoint.sh"]
    container = buildah("from", image)
    said = buildah("run", "--isolation=chroot", container, "--", "/entrypoint.sh", "--version")
    assert said.startswith("registry lading ")
    buildah("rm", container)


def test_lading_keeps_its_own_image(buildah: Buildah, image: str, lading: Registry) -> None:
    name = f"{lading.host}/lading/lading:built"
    buildah("push", "--tls-verify=false", image, f"docker://{name}")
    pulled = buildah("pull", "--tls-verify=false", name)
    assert buildah("inspect", "--type=image", "--format={{.FromImageID}}", image) == pulled
