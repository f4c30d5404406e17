"""Layouts on disk: what others wrote into them stays, what is half is not believed, what was left is cleared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.client.test_hostile import Talker, artifact, layer
from tests.servers import content, layouts

from lading.client import ClientError, Descriptor, Digest, Layout, LayoutError, Platform, copy, of_bytes
from lading.client.files import pull_files
from lading.oci import building, media
from lading.oci.building import Content

MANY = content.multi_arch("many")
DIGEST = Digest(MANY.manifest.digest)

pytestmark = pytest.mark.timeout(30)


def made(folder: Path) -> Layout:
    layout = Layout(str(folder))
    layout.create()
    return layout


@pytest.fixture
def full(tmp_path: Path) -> Layout:
    return Layout(str(layouts.write(tmp_path / "full", {"1.0": MANY})))


async def test_what_others_wrote_into_the_index_stays(tmp_path: Path, full: Layout) -> None:
    layout = made(tmp_path / "out")
    index = Path(layout.path, "index.json")
    other: dict[str, Any] = {
        "mediaType": media.OCI_MANIFEST,
        "digest": Digest.of(b"other"),
        "size": 5,
        "platform": {"os": "linux", "architecture": "arm", "features": ["x"]},
        "annotations": {"org.opencontainers.image.ref.name": "other", "b": "c"},
        "x-unknown": [1],
    }
    document = {"schemaVersion": 2, "annotations": {"k": "v"}, "x-tool": {"y": 1}, "manifests": [other]}
    index.write_text(json.dumps(document))
    await copy(full, layout, "1.0", "1.0")
    await copy(full, layout, "1.0", "1.0")
    written = json.loads(index.read_text())
    assert written["manifests"][0] == other
    assert [entry["digest"] for entry in written["manifests"]] == [other["digest"], DIGEST]
    assert {**written, "manifests": [other]} == document


@pytest.mark.parametrize("lost", ["child", "layer"])
async def test_an_index_of_which_something_is_missing_is_not_there(
    tmp_path: Path, full: Layout, lost: str
) -> None:
    layout = made(tmp_path / "out")
    await copy(full, layout, "1.0", "1.0")
    assert await layout.has_manifest(DIGEST)
    child = MANY.children[1]
    digest = child.manifest.digest if lost == "child" else child.blobs[-1].digest
    Path(layout.path, "blobs", digest.replace(":", "/")).unlink()
    assert not await layout.has_manifest(DIGEST)
    await copy(full, layout, "1.0", "1.0")
    assert layouts.read(Path(layout.path)) == MANY.everything()


async def test_a_manifest_that_is_corrupt_is_not_there(tmp_path: Path, full: Layout) -> None:
    layout = made(tmp_path / "out")
    await copy(full, layout, "1.0", "1.0")
    path = Path(layout.path, "blobs", DIGEST.replace(":", "/"))
    path.write_bytes(b"{}")
    assert not await layout.has_manifest(DIGEST)
    await copy(full, layout, "1.0", "1.0")
    assert layouts.read(Path(layout.path)) == MANY.everything()


async def test_what_is_no_file_or_too_large_is_an_error(tmp_path: Path) -> None:
    layout = made(tmp_path / "out")
    digest = Digest.of(b"x")
    path = Path(layout.path, "blobs/sha256", digest.encoded)
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(LayoutError, match="no regular file"):
        await layout.manifest(digest)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(LayoutError, match="bytes"):
        await layout.manifest(digest)


KILLED = """
import os, signal, sys
from lading.client.disk import appearing
with appearing(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""


def writing(target: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    return process


def test_what_a_killed_process_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    layout = made(tmp_path / "out")
    folder = Path(layout.path, "blobs/sha256")
    with writing(folder / "a") as killed, writing(folder / "b") as alive:
        killed.send_signal(signal.SIGKILL)
        killed.wait(20)
        (folder / "mine.part").write_text("x")
        assert len(list(folder.iterdir())) == 3
        layout.create()
        assert len(list(folder.iterdir())) == 2
        assert alive.communicate(timeout=20) == (b"", None)
    assert alive.returncode == 0
    assert sorted(each.name for each in folder.iterdir()) == ["b", "mine.part"]


async def test_a_folder_of_files_is_cleared_too(tmp_path: Path) -> None:
    with writing(tmp_path / "a") as killed:
        killed.kill()
    [left] = tmp_path.iterdir()
    await pull_files(Talker(), artifact(layer("a")), str(tmp_path))
    assert left.name != "a"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


async def test_a_digest_in_an_index_that_is_none(tmp_path: Path, full: Layout) -> None:
    path = Path(full.path, "index.json")
    entry = {"mediaType": media.OCI_MANIFEST, "digest": "sha256:0", "size": 1}
    path.write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    with pytest.raises(ClientError, match="digest"):
        await copy(full, made(tmp_path / "out"), "", platform=Platform("linux", "amd64"))


class Counting(Layout):
    """How often each manifest was asked for."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.asked: Counter[str] = Counter()

    async def manifest(self, reference: str) -> Content:
        self.asked[reference] += 1
        return await super().manifest(reference)

    async def referrers(self, subject: Digest) -> list[Descriptor]:
        self.asked[f"referrers of {subject}"] += 1
        return [entry for entry in self.entries() if entry.annotations.get("subject") == subject]


async def test_what_is_shared_is_walked_once(tmp_path: Path) -> None:
    """Indexes that all name both of the next ones: by way of each there are thousands of ways to the last."""
    source = Counting(str(tmp_path / "in"))
    source.create()
    await source.put_blob(building.empty().descriptor(), of_bytes(building.EMPTY), mount=None, progress=None)
    level = [building.artifact(f"example/{side}") for side in "ab"]
    everything = list(level)
    for number in range(12):
        children = [each.descriptor() for each in level]
        level = [building.index(children, annotations={"n": f"{number}{side}"}) for side in "ab"]
        everything += level
    top = level[0]
    everything.remove(level[1])
    notes = [
        building.artifact("example/note", subject=each.descriptor(), annotations={"of": each.digest})
        for each in everything
    ]
    for content_ in [*everything, *notes]:
        await source.put_manifest(content_, root=False)
    document = json.loads(Path(source.path, "index.json").read_text())
    document["manifests"] = [
        building.fields(note.descriptor(annotations={"subject": each.digest}))
        for note, each in zip(notes, everything, strict=True)
    ]
    Path(source.path, "index.json").write_text(json.dumps(document))
    target = Counting(str(tmp_path / "out"))
    target.create()
    copied = await copy(source, target, top.digest, referrers=True)
    assert copied.referrers == len(everything)
    assert layouts.read(Path(target.path)).keys() == layouts.read(Path(source.path)).keys()
    assert max(source.asked.values()) <= 2
