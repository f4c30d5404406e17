"""Directories whose names are remembered (decision 0006)."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.storage.filesystem.listings import LOCAL, SETTLED_NANOSECONDS, Listing, Listings, page, read

HOUR = 3600 * 10**9

names = st.lists(st.text("aB0._-", min_size=1, max_size=5), max_size=40, unique=True).map(sorted)


@given(names, st.text("aB0._-/~", max_size=4), st.none() | st.integers(0, 45))
def test_a_page_is_a_slice_of_the_sorted_names(found: list[str], after: str, limit: int | None) -> None:
    listing = Listing("".join(f"{name}/" for name in found))
    expected = [name for name in found if name > after]
    assert listing.page(after, limit) == expected[: len(expected) if limit is None else limit]
    assert listing.names() == found


def test_long_names_in_a_page() -> None:
    found = sorted(f"{number:03}{'x' * (number * 37 % 250)}" for number in range(300))
    listing = Listing("".join(f"{name}/" for name in found))
    for start in range(0, 300, 7):
        assert listing.page(found[start], 20) == found[start + 1 : start + 21]


def later() -> int:
    """As if an hour had passed since the last change."""
    return time.time_ns() + HOUR


def next_tick(path: str) -> None:
    """From now on a change of the directory has another stamp than its last one."""
    probe = Path(f"{path}.probe")
    probe.touch()
    while probe.stat().st_ctime_ns <= os.stat(path).st_ctime_ns:
        probe.chmod(0o644)


def directory(place: Path, *entries: str) -> str:
    place.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        (place / entry).touch()
    return str(place)


def everywhere(limit: int = 10**6) -> Listings:
    """Whatever file system the tests run on."""
    return Listings(limit, _Any(LOCAL), later)


class _Any(frozenset[str]):
    def __contains__(self, item: object) -> bool:
        return True


def test_what_has_settled_is_remembered(tmp_path: Path) -> None:
    path, listings = directory(tmp_path / "d", "b", "a"), everywhere()
    assert listings.remembered(path) is None
    listing = listings.get(path)
    assert listing.names() == ["a", "b"]
    assert listings.remembered(path) is listings.get(path) is listing


def test_what_was_just_changed_is_not_remembered(tmp_path: Path) -> None:
    path = directory(tmp_path / "d", "a")
    changed = os.stat(path).st_ctime_ns
    for age, kept in [(-HOUR, False), (0, False), (SETTLED_NANOSECONDS, False), (SETTLED_NANOSECONDS + 1, True)]:
        listings = Listings(local=_Any(LOCAL), clock=lambda age=age: changed + age)  # type: ignore[misc]
        assert listings.get(path).names() == ["a"]
        assert (listings.remembered(path) is not None) == kept, age


def test_changes_within_a_tick_are_seen(tmp_path: Path) -> None:
    path, listings, expected = directory(tmp_path / "d"), Listings(local=_Any(LOCAL)), set()
    for number in range(500):
        name = f"{number * 7 % 20}"
        if name in expected:
            os.unlink(os.path.join(path, name))
        else:
            directory(Path(path), name)
        expected ^= {name}
        assert listings.get(path).names() == sorted(expected)


@pytest.mark.parametrize("change", ["add", "remove", "rename", "add, and set the time back", "replace"])
def test_a_change_is_seen(tmp_path: Path, change: str) -> None:
    path, listings = directory(tmp_path / "d", "a", "b"), everywhere()
    before = os.stat(path)
    assert listings.get(path).names() == ["a", "b"]
    next_tick(path)
    if change == "remove":
        os.unlink(f"{path}/a")
    elif change == "rename":
        os.rename(f"{path}/a", f"{path}/c")
    elif change == "replace":
        shutil.rmtree(path)
        directory(tmp_path / "d", "c")
    else:
        directory(tmp_path / "d", "c")
    if change.endswith("back"):
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert listings.remembered(path) is None
    assert listings.get(path).names() == sorted(os.listdir(path))
    assert listings.get(path) is listings.remembered(path)


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    path, listings = directory(tmp_path / "d", "a"), everywhere()
    listings.get(path)
    shutil.rmtree(path)
    with pytest.raises(FileNotFoundError):
        listings.remembered(path)
    with pytest.raises(FileNotFoundError):
        listings.get(path)
    (tmp_path / "d").touch()
    with pytest.raises(NotADirectoryError):
        listings.get(path)
    assert listings.size == 0


def test_only_where_the_file_system_is_known(tmp_path: Path) -> None:
    path, listings = directory(tmp_path / "d", "a"), Listings(local=frozenset({"nfs4"}), clock=later)
    assert listings.get(path).names() == ["a"]
    assert listings.remembered(path) is None


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no tmpfs at a known place")
def test_the_file_system_is_found_out() -> None:
    assert Listings(clock=later, local=frozenset({"tmpfs"})).remembered("/dev/shm") is None
    for local, kept in [(frozenset({"tmpfs"}), True), (LOCAL - {"tmpfs"}, False)]:
        listings = Listings(clock=later, local=local)
        listings.get("/dev/shm")
        assert (listings.size > 0) == kept
    listings = Listings(clock=later)
    listings.get("/proc/self/task")
    assert listings.size == 0


def test_memory_is_bounded(tmp_path: Path) -> None:
    listings = everywhere(10_000)
    paths = [directory(tmp_path / f"{number:02}", *(f"{n}" for n in range(number))) for number in range(40)]
    for path in paths:
        listings.get(path)
        listings.get(paths[0])
        assert 0 < listings.size <= 10_000
    kept = [path for path in paths if listings.remembered(path) is not None]
    # The most recently used ones, and the one that was used all the time.
    assert kept == [paths[0], *paths[-len(kept) + 1 :]]
    assert 5 < len(kept) < 15


def test_one_directory_does_not_push_out_all_others(tmp_path: Path) -> None:
    listings = everywhere(4_000)
    small, large = directory(tmp_path / "s", "a"), directory(tmp_path / "l", *(f"{n:0100}" for n in range(30)))
    listings.get(small)
    assert len(listings.get(large).names()) == 30
    assert listings.remembered(large) is None
    assert listings.remembered(small) is not None


def test_what_is_forgotten_is_not_counted(tmp_path: Path) -> None:
    listings = everywhere()
    path = directory(tmp_path / "d", "a")
    listings.get(path)
    size = listings.size
    for _ in range(5):
        next_tick(path)
        (tmp_path / "d/b").touch()
        listings.get(path)
        next_tick(path)
        (tmp_path / "d/b").unlink()
        listings.get(path)
    assert listings.size == size


def test_threads_may_share_it(tmp_path: Path) -> None:
    listings = everywhere(6_000)
    paths = [directory(tmp_path / f"{number}", *"abc"[: number % 4]) for number in range(12)]
    wrong: list[str] = []

    def ask(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(300):
            number = rng.randrange(12)
            if listings.get(paths[number]).names() != list("abc"[: number % 4]):
                wrong.append(paths[number])

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 0 < listings.size <= 6_000


def test_foreign_names_are_left_out(tmp_path: Path) -> None:
    temporary = f"link.{'0' * 32}.tmp"
    path = directory(tmp_path / "d", "b", "a", "two words", "Ümlaut", "x\ny", "a.tmp", temporary)
    (tmp_path / "d" / f"v1.{'f' * 32}.tmp").mkdir()
    assert read(path) == ["a", "a.tmp", "b", f"v1.{'f' * 32}.tmp"]
    assert read(directory(tmp_path / "empty")) == []


def test_what_is_inside_is_looked_for_each_time(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        directory(tmp_path / "d" / name / "inner", "object")
    path, listings = str(tmp_path / "d"), everywhere()
    listing = listings.get(path)
    assert page(path, listing, "", 2, "inner/object") == ["a", "b"]
    (tmp_path / "d/a/inner/object").unlink()
    assert listings.get(path) is listing, "the directory itself has not changed"
    assert page(path, listing, "", 2, "inner/object") == ["b", "c"]
    assert page(path, listing, "", None, "inner/object") == ["b", "c"]
