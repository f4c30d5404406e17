"""The disk cache: what it keeps, what it asks, and what it survives."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from lading.oci.digest import Digest
from lading.registry import layout
from lading.registry.ports import InvalidOffsetError, PathNotFoundError, Reader, Stat, StorageError
from lading.storage.memory import MemoryStorage
from lading.storage.wrappers.diskcache import DiskCacheStorage
from lading.storage.wrappers.diskcache.index import Index
from lading.storage.wrappers.passing import PassingStorage
from lading.testing.storage.trial import noise

KIB, MIB = 1024, 1024 * 1024


class Remote(PassingStorage):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage())
        self.asked: Counter[str] = Counter()

    async def stat(self, key: str) -> Stat:
        self.asked["stat"] += 1
        return await self.inner.stat(key)

    async def open(self, key: str, offset: int = 0) -> Reader:
        self.asked["open"] += 1
        return await self.inner.open(key, offset)

    async def add(self, data: bytes, algorithm: str = "sha256") -> str:
        key = layout.blob_data(Digest.of(data, algorithm))
        await self.put(key, data)
        return key


@pytest.fixture
def remote() -> Remote:
    return Remote()


Make = Callable[..., DiskCacheStorage]


@pytest.fixture
async def make(remote: Remote, tmp_path: Path) -> AsyncIterator[Make]:
    """Each is as another process."""
    made: list[DiskCacheStorage] = []

    def another(size: int = 10 * MIB) -> DiskCacheStorage:
        made.append(DiskCacheStorage(remote, str(tmp_path / "cache"), size, layout.blob_of))
        return made[-1]

    yield another
    for cache in made:
        await cache.close()


async def read(cache: DiskCacheStorage, key: str, *, offset: int = 0, limit: int = MIB) -> bytes:
    reader = await cache.open(key, offset)
    try:
        data = b""
        while piece := await reader.read(limit):
            data += piece
        return data
    finally:
        await reader.close()


async def settled(cache: DiskCacheStorage) -> None:
    while cache._tasks:
        await asyncio.wait(list(cache._tasks))


def files(tmp_path: Path, folder: str = "blobs") -> list[Path]:
    return sorted(path for path in (tmp_path / "cache" / folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_the_second_reader_is_served_from_a_file(algorithm: str, make: Make, remote: Remote) -> None:
    data = noise(3 * MIB + 5)
    key = await remote.add(data, algorithm)
    cache = make()
    assert not cache.traits.redirects
    assert await read(cache, key) == data
    await settled(cache)
    assert remote.asked == {"open": 1}
    reader = await cache.open(key)
    assert remote.asked == {"open": 1, "stat": 1}
    assert reader.size == len(data)
    assert reader.path is not None
    assert Path(reader.path).read_bytes() == os.pread(reader.fileno(), len(data), 0) == data
    reader.seek(MIB)
    assert await reader.read(2 * MIB) == data[MIB : 3 * MIB]
    assert await reader.read(100) == data[3 * MIB :]
    assert await reader.read(100) == b""
    reader.seek(len(data) + 5)
    assert await reader.read(1) == b""
    await reader.close()
    await reader.close()
    with pytest.raises(StorageError, match="already closed"):
        await reader.read(1)
    assert await read(cache, key, offset=5) == data[5:]
    assert cache.counts == {
        "hits": 2,
        "misses": 1,
        "hit_bytes": 2 * len(data),
        "kept_bytes": len(data),
        "evictions": 0,
        "dropped": 0,
        "failures": 0,
    }
    another = make()
    assert await read(another, key) == data
    assert another.counts["hits"] == 1


async def test_what_is_not_there_is_not_served(make: Make, remote: Remote) -> None:
    key = await remote.add(b"content")
    cache = make()
    await read(cache, key)
    await settled(cache)
    await remote.delete(key)
    for _ in range(2):
        with pytest.raises(PathNotFoundError):
            await cache.open(key)
    await remote.put(key, b"content")
    assert await read(cache, key) == b"content"
    assert cache.counts["hits"] == 1


async def test_only_whole_blobs_in_order_are_kept(make: Make, remote: Remote, tmp_path: Path) -> None:
    data = noise(3 * MIB)
    key = await remote.add(data)
    cache = make()
    reader = await cache.open(key)
    reader.seek(MIB)
    assert await reader.read(100) == data[MIB : MIB + 100]
    await reader.close()
    reader = await cache.open(key)  # a client that goes away
    assert await reader.read(MIB) == data[:MIB]
    await reader.close()
    reader = await cache.open(key)  # a client that jumps
    await reader.read(MIB)
    reader.seek(2 * MIB)
    await reader.read(MIB)
    await reader.close()
    assert await read(cache, key, offset=10) == data[10:]
    await remote.put("/other/key", b"x")
    assert await read(cache, "/other/key") == b"x"
    empty = await remote.add(b"")
    assert await read(cache, empty) == b""
    with pytest.raises(InvalidOffsetError):
        await cache.open(key, -1)
    await settled(cache)
    assert files(tmp_path) == files(tmp_path, "incoming") == []
    assert await read(cache, key, limit=1000) == data
    await settled(cache)
    assert len(files(tmp_path)) == 1


async def test_two_at_once_fill_it_once(make: Make, remote: Remote, tmp_path: Path) -> None:
    data = noise(2 * MIB)
    key = await remote.add(data)
    one, other = make(), make()
    readers = [await one.open(key), await one.open(key), await other.open(key)]
    pieces = [[await reader.read(MIB), await reader.read(MIB)] for reader in readers]
    assert [b"".join(each) for each in pieces] == [data] * 3
    for reader in readers:
        await reader.close()
    await settled(one)
    await settled(other)
    assert len(files(tmp_path)) == 1
    assert files(tmp_path, "incoming") == []
    assert await read(other, key) == data


async def test_wrong_content_is_not_kept(
    make: Make, remote: Remote, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = await remote.add(b"content")
    await remote.put(key, b"CONTENT")
    cache = make()
    assert await read(cache, key) == b"CONTENT"
    await settled(cache)
    assert files(tmp_path) == files(tmp_path, "incoming") == []
    assert cache.counts["failures"] == 1
    assert "is not of this digest" in caplog.text


@pytest.mark.parametrize("harm", ["flipped", "flipped-in-secret", "shorter", "longer", "gone", "replaced"])
async def test_damaged_files_are_dropped(harm: str, make: Make, remote: Remote, tmp_path: Path) -> None:
    data = noise(300 * KIB)
    key = await remote.add(data)
    cache = make()
    await read(cache, key)
    await settled(cache)
    [file] = files(tmp_path)
    before = file.stat()
    wrong = b"\0" + data[1:]
    match harm:
        case "flipped" | "flipped-in-secret":
            with file.open("r+b") as opened:
                opened.write(wrong[:1])
        case "shorter":
            os.truncate(file, 100)
        case "longer":
            os.truncate(file, len(data) + 1)
        case "gone":
            file.unlink()
        case "replaced":
            file.with_name("new").write_bytes(wrong)
            file.with_name("new").rename(file)
    if harm == "flipped-in-secret":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    for number, each in enumerate([cache, make()]):
        assert await read(each, key) == data
        await settled(each)
        assert each.counts["dropped"] == (number == 0)
    assert files(tmp_path)[0].read_bytes() == data


async def test_files_that_are_only_moved_stay(make: Make, remote: Remote, tmp_path: Path) -> None:
    """Of a directory that was copied, and after a restart of the machine, content is verified and kept."""
    data = noise(300 * KIB)
    key = await remote.add(data)
    cache = make()
    await read(cache, key)
    await cache.close()
    [file] = files(tmp_path)
    file.rename(tmp_path / "aside")
    file.write_bytes(data)
    for _ in range(2):
        assert await read(make(), key) == data
    assert remote.asked["open"] == 1


async def test_the_least_recently_used_goes(make: Make, remote: Remote, tmp_path: Path) -> None:
    keys = [await remote.add(noise(100 * KIB, seed)) for seed in range(4)]
    cache = make(300 * KIB)
    for key in keys[:3]:
        await read(cache, key)
        await settled(cache)
    await read(cache, keys[0])
    cache._flush()
    await settled(cache)
    await read(cache, keys[3])
    await settled(cache)
    assert cache.counts["evictions"] == 1
    hits = []
    for key in keys:
        held = cache._files.look(layout.blob_of(key))
        hits.append(held is not None)
        if held is not None:
            os.close(held.descriptor)
    assert hits == [True, False, True, True]
    assert sum(file.stat().st_size for file in files(tmp_path)) == 300 * KIB
    too_large = await remote.add(noise(301 * KIB))
    await read(cache, too_large)
    await settled(cache)
    assert len(files(tmp_path)) == 3
    await cache.close()
    small = make(150 * KIB)
    await read(small, keys[3])
    assert len(files(tmp_path)) == 1


async def test_a_reader_keeps_what_is_evicted(make: Make, remote: Remote) -> None:
    first, second = noise(200 * KIB, 1), noise(200 * KIB, 2)
    keys = [await remote.add(first), await remote.add(second)]
    cache = make(200 * KIB)
    await read(cache, keys[0])
    await settled(cache)
    reader = await cache.open(keys[0])
    await read(cache, keys[1])
    await settled(cache)
    assert cache.counts["evictions"] == 1
    assert await reader.read(MIB) == first
    await reader.close()


async def test_a_full_disk_is_nobodys_error(
    make: Make,
    remote: Remote,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = noise(3 * MIB)
    key = await remote.add(data)
    cache = make()
    real = os.write

    def full(descriptor: int, piece: memoryview) -> int:
        if os.fstat(descriptor).st_size >= MIB:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, piece)

    monkeypatch.setattr(os, "write", full)
    for _ in range(2):
        assert await read(cache, key) == data
        await settled(cache)
    assert files(tmp_path) == files(tmp_path, "incoming") == []
    assert cache.counts["failures"] >= 2
    assert caplog.text.count("No space left on device") == 1
    monkeypatch.setattr(os, "write", real)
    assert await read(cache, key) == data
    await settled(cache)
    assert cache.counts["kept_bytes"] == len(data)


async def test_a_damaged_index_begins_anew(
    make: Make, remote: Remote, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = await remote.add(b"content")
    cache = make()
    await read(cache, key)
    await cache.close()
    (tmp_path / "cache/index").write_bytes(b"no index" * 1000)
    stray = files(tmp_path)[0].with_name("stray")
    stray.write_bytes(b"x")
    for _ in range(2):
        again = make()
        assert await read(again, key) == b"content"
        await settled(again)
    assert again.counts["hits"] == 1
    assert not stray.exists()
    assert "the index in" in caplog.text


async def test_a_directory_that_cannot_be_used(
    make: Make, remote: Remote, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    key = await remote.add(b"content")
    cache = make()
    for _ in range(3):
        assert await read(cache, key) == b"content"
    assert caplog.text.count("clients are served from the storage") == 1


def test_evicting_is_cheap_among_many(tmp_path: Path) -> None:
    """The steps of the query, not the time: no row is looked at but those that go."""
    index = Index(str(tmp_path / "index"))
    rows = [(f"sha256:{number:064x}", 10, float(number), "") for number in range(100_000)]
    index._writer.execute("BEGIN")
    index._writer.executemany("INSERT INTO blob VALUES (?, ?, ?, ?)", rows)
    index._writer.execute("COMMIT")
    assert index.bytes() == 1_000_000
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 100
        return 0

    index._writer.set_progress_handler(step, 100)
    removed: list[str] = []
    gone = index.keep("sha256:new", 25, 1e9, 1_000_000, lambda: "place", removed.append)
    assert (gone, removed) == (3, [row[0] for row in rows[:3]])
    assert index.bytes() == 1_000_000 - 30 + 25
    assert steps < 2000
    index.close()


PROCESS = """
import asyncio, random, sys
from lading.oci.digest import Digest
from lading.registry import layout
from lading.storage.filesystem import FilesystemStorage
from lading.storage.wrappers.diskcache import DiskCacheStorage

async def main(root, directory, rounds):
    cache = DiskCacheStorage(FilesystemStorage(root), directory, 1_000_000, layout.blob_of)
    chosen = random.Random()
    for number in range(rounds):
        data = random.Random(chosen.randrange(20)).randbytes(100_000)
        reader = await cache.open(layout.blob_data(Digest.of(data)))
        found = b""
        while piece := await reader.read(30_000):
            found += piece
        await reader.close()
        assert found == data
        if number == 5:
            print("busy", flush=True)
    await cache.close()
    print(cache.counts["hits"], cache.counts["dropped"], cache.counts["failures"], flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def test_processes_share_it_and_some_are_killed(tmp_path: Path) -> None:
    from lading.storage.filesystem import FilesystemStorage

    origin = FilesystemStorage(str(tmp_path / "data"))
    for seed in range(20):
        data = noise(100_000, seed)
        await origin.put(layout.blob_data(Digest.of(data)), data)
    place = [str(tmp_path / "data"), str(tmp_path / "cache")]

    def start(rounds: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROCESS, *place, str(rounds)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    doomed, steady = [start(1_000_000) for _ in range(2)], [start(400) for _ in range(2)]
    for process in doomed:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()
    for process in steady:
        out, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
        hits, dropped, failures = map(int, out.split()[1:])
        assert hits > 0
        assert (dropped, failures) == (0, 0), error
    last = start(50)
    out, error = last.communicate(timeout=60)
    assert last.returncode == 0, error
    assert files(tmp_path, "incoming") == []
    kept = files(tmp_path)
    index = Index(str(tmp_path / "cache/index"))
    assert index.bytes() == sum(file.stat().st_size for file in kept) <= 1_000_000
    assert {digest.replace(":", "-") for digest in index.digests()} == {file.name for file in kept}
    index.close()
