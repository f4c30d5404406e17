"""What the tests of images and packages start from."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.packaging.buildah import Buildah
from tests.servers import peers

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@pytest.fixture(scope="session")
def buildah() -> Iterator[Buildah]:
    folder = Path(tempfile.mkdtemp(prefix="lading-image-", dir="/var/tmp"))
    try:
        yield Buildah(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def debian(buildah: Buildah) -> str:
    """An image of the machine's own release."""
    root = peers.debian_root()
    base = buildah("from", "scratch")
    buildah("add", base, root, "/")
    # Where a proxy looks into what is downloaded, its certificate is among the machine's.
    buildah("copy", base, CERTIFICATES, "/usr/local/share/host.crt")
    for variable in ("SSL_CERT_FILE", "PIP_CERT"):
        buildah("config", f"--env={variable}=/usr/local/share/host.crt", base)
    buildah("commit", "--rm", base, "debian-root")
    return "localhost/debian-root"
