"""Both collectors over copies of one directory: the same lines and the same files, but for what is named here."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.servers import content
from tests.servers.process import Program, Registry, StartRegistry, distribution, lading

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(90)]

REPOSITORIES = "docker/registry/v2/repositories"
LIST = content.multi_arch("list")
LOOSE = content.multi_arch("loose")
ORPHAN = content.image("orphan")


def fill(registry: Registry) -> None:
    """The scenarios of the original's own tests, as clients bring them about."""
    client = registry.client
    for tag, name in (("1.0", "one"), ("2.0", "two"), ("2.0", "three")):
        client.push("team/app", tag, content.image(name))
    client.push("team/app", LOOSE.manifest.digest, LOOSE)
    client.push("team/app", "loose-amd64", LOOSE.children[0])
    client.push("team/list", "list", LIST)
    client.request("DELETE", f"/v2/team/list/manifests/{LIST.children[0].manifest.digest}").expect(202)
    client.push("team/app", "deleted", content.image("deleted"))
    client.request("DELETE", f"/v2/team/app/manifests/{content.image('deleted').manifest.digest}").expect(202)
    for blob in ORPHAN.blobs:
        client.push_blob("team/app", blob.digest, blob.data)


def run(program: Program, config: Path, *flags: str) -> list[str]:
    done = subprocess.run(
        [program.executable, "garbage-collect", *flags, str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("flags", [(), ("-d",), ("-m",), ("--delete-untagged", "--dry-run")], ids=" ".join)
def test_the_same_goes(start_distribution: StartRegistry, tmp_path: Path, flags: Sequence[str]) -> None:
    original = start_distribution(tmp_path / "original")
    fill(original)
    original.stop()
    before = files(tmp_path / "original")
    shutil.copytree(tmp_path / "original", tmp_path / "ours")
    config = tmp_path / "ours.yml"
    config.write_text(original.config.read_text().replace(str(tmp_path / "original"), str(tmp_path / "ours")))
    theirs, ours = run(distribution(), original.config, *flags), run(lading(), config, *flags)
    assert sorted(ours) == sorted(theirs)
    assert [line for line in ours if "marked" in line] == [line for line in theirs if "marked" in line]
    after = files(tmp_path / "ours")
    assert after == files(tmp_path / "original")
    assert (after == before) == bool({"-d", "--dry-run"} & set(flags))


def test_quiet(start_distribution: StartRegistry, tmp_path: Path) -> None:
    original = start_distribution(tmp_path / "original")
    fill(original)
    original.stop()
    assert run(lading(), original.config, "-q") == []


def test_pulls_whole_afterwards(start_lading: StartRegistry, tmp_path: Path) -> None:
    registry = start_lading(tmp_path / "ours")
    fill(registry)
    registry.stop()
    run(lading(), registry.config, "-m")
    again = start_lading(tmp_path / "ours")
    for tag, name in (("1.0", "one"), ("2.0", "three")):
        assert again.client.pull("team/app", tag) == content.image(name).everything()
    assert again.client.pull("team/app", "loose-amd64") == LOOSE.children[0].everything()
    again.client.get(f"/v2/team/app/manifests/{LOOSE.manifest.digest}").expect(404)
    again.client.get(f"/v2/team/app/blobs/{ORPHAN.blobs[0].digest}").expect(404)
