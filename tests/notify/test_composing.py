"""What of the configuration of notifications stops the start, and where the journal is."""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from pathlib import Path

import pytest

from lading.compose import journal, notify
from lading.compose.error import BuildError
from lading.config.load import load
from lading.config.models.configuration import Configuration

ENDPOINT = "{name: a, url: 'http://a'}"


@pytest.fixture(autouse=True)
def _own(tmp_path, monkeypatch):
    """Locks are given up again, and what is temporary is of this test alone."""
    held: list[int] = []
    monkeypatch.setattr(journal, "_locks", held)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    yield
    for descriptor in held:
        os.close(descriptor)


def read(folder: Path, text: str, storage: str = "inmemory") -> Configuration:
    file = folder / "c.yml"
    file.write_text(f"version: 0.1\nstorage: {storage}\nhttp: {{addr: ':1'}}\n{text}")
    return load(str(file)).configuration


def filesystem(root: Path) -> str:
    return json.dumps({"filesystem": {"rootdirectory": str(root)}})


def test_the_journal_is_beside_the_data(tmp_path):
    configuration = read(tmp_path, f"notifications: {{endpoints: [{ENDPOINT}]}}", filesystem(tmp_path / "data"))
    notify.prepare(configuration)
    directory = tmp_path / "data/lading/notifications"
    assert journal.unusable(directory) == ""
    assert directory.stat().st_mode & 0o777 == 0o700


def test_or_where_it_is_said(tmp_path):
    section = f"notifications: {{endpoints: [{ENDPOINT}], journal: {{directory: {tmp_path}/j}}}}"
    notify.prepare(read(tmp_path, section, filesystem(tmp_path / "data")))
    assert journal.unusable(tmp_path / "j") == ""


def test_or_in_a_temporary_directory_that_is_found_again(tmp_path, caplog):
    configuration = read(tmp_path, f"notifications: {{endpoints: [{ENDPOINT}]}}")
    notify.prepare(configuration)
    assert "notifications.journal.directory: is not set, events wait in" in caplog.text
    place = journal.place(read(tmp_path, f"notifications: {{endpoints: [{ENDPOINT}]}}"))
    assert place == journal.place(configuration)
    assert journal.unusable(place) == ""
    assert place.parent == Path(tempfile.gettempdir())


@pytest.mark.parametrize(
    "make", [lambda place: place.mkdir(0o777) or place.chmod(0o777), lambda p: p.symlink_to("/")]
)
def test_which_must_be_its_own(tmp_path, make):
    configuration = read(tmp_path, f"notifications: {{endpoints: [{ENDPOINT}]}}")
    make(journal.place(configuration))
    with pytest.raises(BuildError, match="belongs to somebody else"):
        notify.prepare(configuration)


def test_a_directory_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    section = f"notifications: {{endpoints: [{ENDPOINT}], journal: {{directory: {tmp_path}/file/j}}}}"
    with pytest.raises(BuildError, match=r"notifications\.journal\.directory: .*/file/j: Not a directory"):
        notify.prepare(read(tmp_path, section))


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "ceph"])
def test_a_disk_of_another_machine(tmp_path, monkeypatch, kind):
    device = tmp_path.stat().st_dev
    mount = f"36 35 {os.major(device)}:{os.minor(device)} / /mnt rw shared:1 - {kind} server:/x rw"
    monkeypatch.setattr(journal, "_mounts", lambda: [mount.split()])
    section = f"notifications: {{endpoints: [{ENDPOINT}], journal: {{directory: {tmp_path}/j}}}}"
    with pytest.raises(BuildError, match=f"/j: must be on a disk of this machine, not on {kind}"):
        notify.prepare(read(tmp_path, section))


def test_mounts_are_read():
    assert all("-" in fields for fields in journal._mounts())
    assert journal._mounts()


def test_two_registries(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "LOCK_SECONDS", 0.2)
    section = f"notifications: {{endpoints: [{ENDPOINT}], journal: {{directory: {tmp_path}/j}}}}"
    notify.prepare(read(tmp_path, section))
    with pytest.raises(BuildError, match="/j: another registry keeps its events there"):
        notify.prepare(read(tmp_path, section))


def test_a_stream_needs_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    section = "redis: {addrs: ['r:1']}\nnotifications: {endpoints: [{name: a, redis: {stream: s}}]}"
    with pytest.raises(BuildError, match=r"redis needs an extra: pip install 'lading\[redis\]'"):
        notify.prepare(read(tmp_path, section))


def test_endpoints(tmp_path):
    text = (
        "{url: 'http://u:p@a/x?y', ignoredmediatypes: [m], ignore: {mediatypes: [n], actions: [pull]}},"
        "{name: b, disabled: true}, {name: c, redis: {stream: s}}, {name: d, url: 'http://d', batch: {events: 7}}"
    )
    sections = notify.sections(
        read(tmp_path, f"redis: {{addrs: ['r:1']}}\nnotifications: {{endpoints: [{text}]}}")
    )
    first, stream, batch = map(notify.endpoint, sections)
    assert first.name == "http://***@a/x?***"
    assert (first.interest.ignored, first.interest.deaf) == ({"m", "n"}, {"pull"})
    assert [first.together, stream.together, batch.together] == [1, 100, 7]
