"""containerd with a registry as its mirror: it says by `?ns=` whose image it wants."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pullthrough.conftest import NAME
from tests.pullthrough.test_upstreams import HUB, upstreams
from tests.pullthrough.upstream import Between
from tests.servers import peers
from tests.servers.content import Package
from tests.servers.process import START_SECONDS, StartRegistry

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.timeout(90),
    pytest.mark.skipif(os.geteuid() != 0, reason="containerd is run by root"),
]


@pytest.fixture
def containerd() -> Iterator[list[str]]:
    """How `ctr` talks to a containerd of the test's own."""
    program, client = peers.executable("containerd"), peers.executable("ctr")
    with tempfile.TemporaryDirectory(prefix="lading-ctd-") as folder:  # a socket's path must be short
        socket = Path(folder, "containerd.sock")
        (config := Path(folder, "config.toml")).write_text(
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper"]\n'
            f'[grpc]\naddress = "{socket}"\n[ttrpc]\naddress = "{socket}.ttrpc"\n'
        )
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen([program, "--config", str(config)], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not socket.exists():
                assert process.poll() is None, Path(folder, "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield [client, f"--address={socket}"]
        finally:
            process.terminate()
            process.wait(20)


def test_pull_by_mirror(
    start_lading: StartRegistry, upstream: Between, package: Package, containerd: list[str], tmp_path: Path
) -> None:
    registry = start_lading(extra=upstreams(upstream))
    hosts = tmp_path / HUB / "hosts.toml"
    hosts.parent.mkdir()
    hosts.write_text(
        f'server = "https://{HUB}"\n[host."http://{registry.host}"]\ncapabilities = ["pull", "resolve"]\n'
    )
    for _ in range(2):
        fetched = subprocess.run(
            [*containerd, "content", "fetch", f"--hosts-dir={tmp_path}", "--all-platforms", f"{HUB}/{NAME}:1.0"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    for blob in package.blobs:
        got = subprocess.check_output([*containerd, "content", "get", blob.digest], timeout=30)
        assert got == blob.data
    assert upstream.asked("/blobs/") == len(package.blobs)
    assert registry.client.catalog() == [f"{HUB}/{NAME}"]
