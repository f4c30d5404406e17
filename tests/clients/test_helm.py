"""helm: charts in a registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.servers.peers import Peer
from tests.servers.process import Registry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]


def test_chart_is_pushed_shown_and_pulled(lading: Registry, peer: Callable[[str], Peer], tmp_path: Path) -> None:
    helm = peer("helm")
    helm("create", "demo", folder=tmp_path)
    for version in ("0.1.0", "0.2.0+build.7"):
        helm("package", "demo", f"--version={version}", folder=tmp_path)
        archive = f"demo-{version}.tgz"
        helm("push", archive, f"oci://{lading.host}/charts", "--plain-http", folder=tmp_path)
    # A tag cannot hold the plus of a version: helm writes an underscore.
    assert lading.client.tags("charts/demo") == ["0.1.0", "0.2.0_build.7"]

    pulled = tmp_path / "pulled"
    pulled.mkdir()
    chart = f"oci://{lading.host}/charts/demo"
    assert "version: 0.2.0+build.7" in helm("show", "chart", chart, "--plain-http")
    for version in ("0.1.0", "0.2.0+build.7"):
        helm("pull", chart, f"--version={version}", "--plain-http", folder=pulled)
        name = f"demo-{version}.tgz"
        assert (pulled / name).read_bytes() == (tmp_path / name).read_bytes()

    assert "name: demo" in helm("template", chart, "--version=0.1.0", "--plain-http")
