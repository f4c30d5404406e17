"""What is made durable before what, where others change the same tree. The disk's part is noted, not simulated."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lading.oci.digest import Digest
from lading.oci.names import RepositoryName
from lading.registry import layout
from lading.registry.ports import PathNotFoundError
from lading.registry.registry import Registry
from lading.registry.uploads import Chunk
from lading.storage.filesystem import FilesystemStorage, changes

BLOB = b"content that somebody else has stored just now"
DIGEST = Digest.of(BLOB, "sha256")
SOURCE, NAME = RepositoryName.parse("team/source"), RepositoryName.parse("team/app")


class Noted(list[tuple[str, str]]):
    """`sync` and `appear`, with paths."""

    def synced(self) -> list[str]:
        return [path for what, path in self if what == "sync"]

    def before(self, appears: str) -> list[str]:
        """What was synced by then."""
        at = self.index(("appear", appears))
        return [path for what, path in self[:at] if what == "sync"]


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    found = Noted()
    fsync, replace = os.fsync, os.replace

    def noting_fsync(descriptor: int) -> None:
        fsync(descriptor)
        found.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))

    def noting_replace(source: str, target: str) -> None:
        replace(source, target)
        found.append(("appear", target))

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_replace)
    return found


def made_elsewhere(root: Path, key: str, data: bytes) -> str:
    """By another process, which has not come to sync the directories."""
    path = Path(f"{root}{key}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def folders(root: Path, path: str) -> set[str]:
    """Of the file and all above, as far as they are the storage's."""
    return {str(folder) for folder in Path(path).parents if folder.is_relative_to(root)}


async def body(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.mark.parametrize("way", ["mount", "push"])
async def test_a_link_to_what_another_process_has_just_stored(tmp_path: Path, noted: Noted, way: str) -> None:
    root = tmp_path / "data"
    registry = Registry.over(FilesystemStorage(str(root)))
    blob = made_elsewhere(root, layout.blob_data(DIGEST), BLOB)
    if way == "mount":
        made_elsewhere(root, layout.layer_link(SOURCE, DIGEST), DIGEST.encode())
        assert await registry.blobs.mount(NAME, DIGEST, SOURCE)
    else:
        upload = await registry.uploads.start(NAME)
        await registry.uploads.finish(upload, Chunk(body(BLOB)), DIGEST)
    link = f"{root}{layout.layer_link(NAME, DIGEST)}"
    assert folders(root, blob) <= set(noted.before(link))
    assert folders(root, link) <= set(noted.synced())
    assert await registry.blobs.size(NAME, DIGEST) == len(BLOB)


@pytest.mark.parametrize("how", ["put", "put_all", "move", "commit"])
async def test_directories_that_others_have_made(tmp_path: Path, noted: Noted, how: str) -> None:
    """Who finds them syncs them too, once."""
    root = tmp_path / "data"
    storage = FilesystemStorage(str(root))
    made_elsewhere(root, "/a/b/c/other", b"")

    async def put(name: str) -> str:
        key = f"/a/b/c/{name}"
        if how == "put":
            await storage.put(key, b"")
        elif how == "put_all":
            await storage.put_all({key: b""})
        else:
            writer = await storage.writer(f"/elsewhere/{name}", append=False)
            await writer.commit(key if how == "commit" else None)
            if how == "move":
                await storage.move(f"/elsewhere/{name}", key)
        return f"{root}{key}"

    path = await put("first")
    assert folders(root, path) <= set(noted.synced())
    noted.clear()
    second = await put("second")
    assert [each for each in noted.synced() if each in folders(root, second)] == [f"{root}/a/b/c"]


async def test_a_directory_that_is_made_again(tmp_path: Path, noted: Noted) -> None:
    """With the inode of the one before, perhaps."""
    storage = FilesystemStorage(str(tmp_path))
    for _ in range(3):
        noted.clear()
        await storage.put_all({"/tags/latest/link": b"digest"})
        assert f"{tmp_path}/tags" in noted.synced()
        await storage.delete("/tags/latest")


def test_what_is_known_of_directories_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_MAX_SETTLED", 8)
    for number in range(30):
        changes.put(f"{tmp_path}/{number}/file", hashlib.sha256().digest(), durable=True)
    assert len(changes._settled) <= 8 + len(tmp_path.parents) + 2


async def test_what_is_not_there_is_not_built_upon(tmp_path: Path) -> None:
    registry: Any = Registry.over(FilesystemStorage(str(tmp_path)))
    made_elsewhere(tmp_path, layout.layer_link(SOURCE, DIGEST), DIGEST.encode())
    assert not await registry.blobs.mount(NAME, DIGEST, SOURCE)
    assert not Path(f"{tmp_path}{layout.layer_link(NAME, DIGEST)}").exists()


async def test_a_file_that_was_deleted_and_made_anew_by_another_is_not_taken(tmp_path: Path) -> None:
    """What is committed is what was written by this writer, or nothing."""
    storage = FilesystemStorage(str(tmp_path))
    for end in ("commit", "cancel"):
        first = await storage.writer("/session/data", append=True)
        await first.write([b"of the first"])
        await storage.delete("/session")
        second = await storage.writer("/session/data", append=True)
        if end == "commit":
            with pytest.raises(PathNotFoundError):
                await first.commit("/blob/data")
            with pytest.raises(PathNotFoundError):
                await storage.stat("/blob/data")
        else:
            await first.cancel()
        await second.write([b"of the second"])
        await second.commit("/blob/data")
        assert await storage.get("/blob/data") == b"of the second"
        await storage.delete("/blob")
