"""Plain files as an artifact: which are pushed, and what is written where."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.client.test_hostile import HELLO, Talker, artifact, layer

from lading.client import Digest, FilesError, InvalidAnswerError, Layout, Outcome, pull_files, push_files
from lading.client.download import Progress
from lading.client.upload import Source
from lading.oci.manifest import Descriptor

OTHER = {"digest": Digest.of(b"other"), "size": 5}

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(str(tmp_path / "layout"))
    made.create()
    return made


async def test_two_layers_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for one, other in (("a", "a"), ("b/a", "link/b/a"), ("a", "a/b"), ("a/b/c", "a")):
        talker = Talker()
        with pytest.raises(FilesError, match="two"):
            await pull_files(talker, artifact(layer(one), layer(other, **OTHER)), str(tmp_path))
        assert talker.taken == 0
    assert [each.name for each in tmp_path.iterdir()] == ["link"]


async def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    talker = Talker()
    with pytest.raises(FilesError, match="there already"):
        await pull_files(talker, artifact(layer("a"), layer("b")), str(tmp_path), overwrite=True)
    assert talker.taken == 0


async def test_one_layer_twice_is_one_file(tmp_path: Path) -> None:
    talker = Talker()
    assert await pull_files(talker, artifact(layer("a"), layer("a")), str(tmp_path)) == [str(tmp_path / "a")]
    assert (talker.taken, (tmp_path / "a").read_bytes()) == (1, HELLO)


@pytest.mark.parametrize("title", ["a\nb", "\x1b[2J", "a\x7f", "a\x00b", "\x85", "b/\tc"])
async def test_names_with_control_characters_are_refused(tmp_path: Path, layout: Layout, title: str) -> None:
    folder = tmp_path / "out"
    with pytest.raises(FilesError, match="control") as refused:
        await pull_files(Talker(), artifact(layer("good"), layer(title, **OTHER)), str(folder))
    assert str(refused.value).isprintable()
    assert not folder.exists()
    if "\0" not in title:
        path = tmp_path / title.rpartition("/")[2]
        path.write_bytes(HELLO)
        with pytest.raises(FilesError, match="control"):
            await push_files(layout, {str(path): ""}, "example/files")


@pytest.mark.parametrize("digest", ["sha256:0", "md5:" + "0" * 32, "", "../../etc/passwd"])
async def test_a_digest_that_is_none(tmp_path: Path, digest: str) -> None:
    talker = Talker()
    with pytest.raises(InvalidAnswerError):
        await pull_files(talker, artifact(layer("good"), layer("a", digest=digest)), str(tmp_path))
    assert talker.taken == 0
    assert list(tmp_path.iterdir()) == []


async def test_what_is_no_file_is_not_pushed(tmp_path: Path, layout: Layout) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / os.fsdecode(b"\xff")).write_bytes(HELLO)
    (tmp_path / "secret").write_bytes(HELLO)
    for name in ("fifo", "folder", "missing", os.fsdecode(b"\xff"), "/dev/zero"):
        with pytest.raises(FilesError, match="zero" if "/" in name else ascii(name)[1:-1].replace("\\", ".")):
            await push_files(layout, {str(tmp_path / name): ""}, "example/files")
    assert layout.entries() == []


class Slow(Layout):
    """Something happens to the file between the look at it and its push."""

    def __init__(self, path: str, happens: Callable[[], object]) -> None:
        super().__init__(path)
        self._happens = happens

    async def put_blob(
        self, descriptor: Descriptor, source: Source, *, mount: str | None, progress: Progress | None
    ) -> Outcome:
        if descriptor.annotations:
            self._happens()
        return await super().put_blob(descriptor, source, mount=mount, progress=progress)


async def test_a_file_that_vanishes_or_changes_meanwhile(tmp_path: Path, layout: Layout) -> None:
    file = tmp_path / "file"
    for happens in (file.unlink, lambda: file.write_bytes(b"HELLO"), lambda: file.write_bytes(b"hello!")):
        file.write_bytes(HELLO)
        with pytest.raises(FilesError, match="file: ") as failed:
            await push_files(Slow(layout.path, happens), {str(file): ""}, "example/files")
        assert str(file) in str(failed.value)
    assert layout.entries() == []


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
async def test_files_have_the_mode_of_other_files(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        await pull_files(Talker(), artifact(layer("a")), str(tmp_path))
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask
