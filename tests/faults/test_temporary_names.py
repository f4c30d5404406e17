"""Files under a temporary name: what a crash leaves is never shown, and what a client has named so is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.directory import REPOSITORIES
from tests.faults.inprocess import InProcess, in_process
from tests.servers import content

SUFFIX = f"{'0123456789abcdef' * 2}.tmp"
IMAGE = content.image("image", layer_sizes=(100,))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[InProcess]:
    with in_process(tmp_path) as made:
        yield made


def test_what_a_crash_has_left_is_not_listed(client: InProcess, tmp_path: Path) -> None:
    client.push("team/app", "latest", IMAGE)
    note = content.artifact("note", "text/plain", subject=IMAGE.manifest)
    client.push("team/app", note.manifest.digest, note)
    before = client.catalog(), client.tags("team/app"), client.referrers("team/app", IMAGE.manifest.digest)
    for directory in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
        for name in ("link", "data", "startedat"):
            (directory / f"{name}.{SUFFIX}").write_bytes(b"half")
    after = client.catalog(), client.tags("team/app"), client.referrers("team/app", IMAGE.manifest.digest)
    assert after == before


def test_tag_with_such_a_name(client: InProcess) -> None:
    client.push("team/app", f"v1.{SUFFIX}", IMAGE)
    assert client.tags("team/app") == [f"v1.{SUFFIX}"]
    client.request("DELETE", f"/v2/team/app/manifests/{IMAGE.manifest.digest}").expect(202)
    assert client.get(f"/v2/team/app/manifests/v1.{SUFFIX}").status == 404


def test_repository_with_such_a_name(client: InProcess, tmp_path: Path) -> None:
    name = f"team/v1.{SUFFIX}"
    client.push(name, "latest", IMAGE)
    assert (tmp_path / REPOSITORIES / name).is_dir()
    assert client.catalog() == [name]
