"""What `lading verify` finds, and what it does about it."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.registry.test_collect import store
from tests.servers import content
from tests.wire.compositions import dump

from lading.cli import main
from lading.commands import verify
from lading.oci.digest import Digest
from lading.oci.names import RepositoryName, Tag
from lading.registry import layout
from lading.registry.ports import StorageError
from lading.registry.verify import Verification
from lading.storage.filesystem import FilesystemStorage

APP, OTHER = RepositoryName("team/app"), RepositoryName("team")
NOTHING = {"faults": 0, "notes": 0, "put_away": 0, "findings": [], "quarantined": []}
ONE, TWO, MANY = content.image("one"), content.image("two"), content.multi_arch("many")


async def fill(storage: FilesystemStorage) -> None:
    await store(storage, ONE, "1.0", name=APP)
    await store(storage, MANY, "many", name=APP)
    await store(storage, TWO, "2.0", name=OTHER)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two repositories, one below the other, with all that they need."""
    storage = FilesystemStorage(str(tmp_path / "data"))
    asyncio.run(fill(storage))
    (tmp_path / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/data}}}}\nhttp: {{addr: ':5000'}}\n"
    )
    return tmp_path / "data"


def run(root: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, dict[str, Any]]:
    status = main(["verify", "--json", *flags, str(root.with_name("config.yml"))])
    return status, json.loads(capsys.readouterr().out)


def at(root: Path, key: str) -> Path:
    return root / key[1:]


def test_all_is_well(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, capsys) == (0, NOTHING)
    assert main(["verify", str(root.with_name("config.yml"))]) == 0
    assert capsys.readouterr().out == "0 faults, 0 things put into quarantine\n"


def damage(root: Path) -> dict[str, str]:
    """What is done to it: keys, and what is to be said of them."""
    flipped, cut, missing = (Digest(blob.digest) for blob in (ONE.blobs[0], ONE.blobs[1], TWO.blobs[0]))
    data = at(root, layout.blob_data(flipped)).read_bytes()
    at(root, layout.blob_data(flipped)).write_bytes(bytes([data[0] ^ 1]) + data[1:])
    at(root, layout.blob_data(cut)).write_bytes(at(root, layout.blob_data(cut)).read_bytes()[:-1])
    shutil.rmtree(at(root, layout.blob_data(missing)).parent)
    child = Digest(MANY.children[0].manifest.digest)
    at(root, layout.manifest_link(APP, child)).unlink()
    ghost = layout.tag_link(OTHER, Tag("ghost"))
    at(root, ghost).parent.mkdir(parents=True)
    at(root, ghost).write_text(str(Digest.of(b"nowhere")))
    odd = layout.layer_link(OTHER, Digest(TWO.blobs[1].digest))
    at(root, odd).write_text("no digest")
    one, two, many = (
        layout.manifest_link(name, Digest(package.manifest.digest))
        for name, package in ((APP, ONE), (OTHER, TWO), (APP, MANY))
    )
    return {
        layout.blob_data(flipped): "is something else",
        layout.blob_data(cut): "is something else",
        one: "bytes, of which there are",
        many: "which the repository does not have",
        layout.layer_link(OTHER, missing): "which is not stored",
        odd: "holds no digest",
        two: "which the repository does not have",
        ghost: "which the repository does not have",
    }


def test_what_is_wrong_is_told_and_repaired(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = damage(root)
    storage = FilesystemStorage(str(root))
    before = asyncio.run(dump(storage))
    status, said = run(root, capsys)
    assert status == 1
    assert {finding["key"] for finding in said["findings"]} == set(expected)
    for finding in said["findings"]:
        assert expected[finding["key"]] in finding["what"]
    assert [f["key"] for f in said["findings"] if not f["harmful"]] == [
        layout.manifest_link(APP, Digest(MANY.manifest.digest))
    ]
    assert asyncio.run(dump(storage)) == before, "it only looks"
    status, said = run(root, capsys, "--repair")
    assert status == 1
    # Links of content that was put away are links to nothing.
    blobs = {Digest(blob.digest) for blob in ONE.blobs[:2]}
    removable = {key for key in expected if "/revisions/" not in key} | {
        layout.layer_link(APP, digest) for digest in blobs
    }
    assert set(said["quarantined"]) == removable
    after = asyncio.run(dump(storage))
    assert sorted(after.values()) == sorted([*before.values(), b""]), "nothing is gone, and a batch was announced"
    # A push brings everything in order again.
    asyncio.run(fill(storage))
    assert run(root, capsys) == (0, NOTHING)


def test_a_tag_goes_with_its_manifest_in_one_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = Digest(TWO.manifest.digest)
    at(root, layout.blob_data(digest)).write_bytes(b"damaged")
    status, said = run(root, capsys, "--repair")
    assert status == 1
    assert said["quarantined"] == [
        layout.blob_data(digest),
        layout.manifest_link(OTHER, digest),
        layout.tag_link(OTHER, Tag("2.0")),
    ]
    assert run(root, capsys) == (0, NOTHING)


def test_links_that_only_help_to_find_are_looked_at(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, nowhere = Digest(ONE.manifest.digest), Digest.of(b"nowhere")
    history = layout.tag_history_link(APP, Tag("1.0"), one)
    referrer = layout.referrer_link(APP, one, nowhere)
    at(root, history).write_text("no digest")
    at(root, referrer).parent.mkdir(parents=True)
    at(root, referrer).write_text(str(nowhere))
    status, said = run(root, capsys, "--repair")
    assert (status, said["quarantined"]) == (0, [history, referrer])
    assert [finding["harmful"] for finding in said["findings"]] == [False, False]
    assert run(root, capsys) == (0, NOTHING)


def test_it_goes_on_where_it_stopped(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails at each place in turn; in the end it has read every blob once, and told of everything once."""
    expected = set(damage(root))
    monkeypatch.setattr(verify, "NOTED_SECONDS", 0.0)
    whole, read = Verification.units, []

    async def units(self: Verification):  # type: ignore[no-untyped-def]
        made = 0
        async for finding in whole(self):
            yield finding
            if finding is None:
                read.append(self.position)
                made += 1
            if made == 3:
                raise StorageError("test", "the disk is away")

    monkeypatch.setattr(Verification, "units", units)
    for _ in range(40):
        status = main(["verify", "--json", str(root.with_name("config.yml"))])
        text = capsys.readouterr()
        if text.out:
            break
        assert status == 1
        assert text.err.endswith("failed to verify: test: the disk is away\n")
    said = json.loads(text.out)
    told = [(finding["key"], finding["what"]) for finding in said["findings"]]
    assert ({key for key, _ in told}, len(set(told))) == (expected, len(told))
    assert len(read) == len(set(read))
    assert not at(root, verify.STATE).exists()


def stopped(root: Path, monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
    """One that has come to the last repository, and noted it."""
    whole = Verification.units

    async def units(self: Verification):  # type: ignore[no-untyped-def]
        async for finding in whole(self):
            yield finding
            if self.position == layout.repository(APP):
                raise StorageError("test", "the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr(Verification, "units", units)
        patch.setattr(verify, "NOTED_SECONDS", 0.0)
        assert main(["verify", *flags, str(root.with_name("config.yml"))]) == 1


def test_a_repair_looks_again_at_what_another_one_only_found(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have put it right since."""
    blob = at(root, layout.blob_data(Digest(ONE.blobs[0].digest)))
    tag = at(root, layout.tag_link(APP, Tag("many")))
    good, shown = blob.read_bytes(), tag.read_text()
    for broken in (blob, tag):
        broken.write_text("damaged")
    stopped(root, monkeypatch)
    tag.write_text(shown)
    blob.write_bytes(good[::-1])
    capsys.readouterr()
    status, said = run(root, capsys, "--repair")
    assert (status, said["quarantined"][:1]) == (1, [layout.blob_data(Digest(ONE.blobs[0].digest))])
    assert tag.read_text() == shown


def test_a_repair_goes_on_where_another_one_stopped(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = layout.blob_data(Digest(ONE.blobs[0].digest))
    at(root, blob).write_text("damaged")
    stopped(root, monkeypatch, "--repair")
    at(root, blob).parent.mkdir(exist_ok=True)
    at(root, blob).write_bytes(ONE.blobs[0].data)
    capsys.readouterr()
    status, said = run(root, capsys, "--repair")
    assert (status, said["quarantined"][0], said["put_away"]) == (1, blob, len(said["quarantined"]))
    assert at(root, blob).read_bytes() == ONE.blobs[0].data


def test_what_is_put_right_while_its_repository_is_read_stays(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer is missing when its link is looked at, and pushed before all of the repository has been."""
    layer = ONE.blobs[1]
    data, link = layout.blob_data(Digest(layer.digest)), layout.layer_link(APP, Digest(layer.digest))
    at(root, data).unlink()
    whole = Verification._manifest

    def pushed(self: Verification, name: RepositoryName, text: str):  # type: ignore[no-untyped-def]
        for key, written in ((data, layer.data), (link, layer.digest.encode())):
            if name == APP:
                at(root, key).parent.mkdir(parents=True, exist_ok=True)
                at(root, key).write_bytes(written)
        return whole(self, name, text)

    monkeypatch.setattr(Verification, "_manifest", pushed)
    _, said = run(root, capsys, "--repair")
    assert said["quarantined"] == [link]
    assert at(root, link).exists()


def test_of_very_many_findings_some_are_kept_and_all_are_counted(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = damage(root)
    monkeypatch.setattr(verify, "DETAILS", 3)
    status, said = run(root, capsys)
    assert (status, said["notes"], len(said["findings"])) == (1, 1, 3)
    assert main(["verify", str(root.with_name("config.yml"))]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert {line.removeprefix("note: ").partition(":")[0] for line in lines} == set(expected), "people see all"
    assert said["faults"] == len(lines) - 1 > 3
    assert last == f"{said['faults']} faults, 0 things put into quarantine"
    status, said = run(root, capsys, "--repair")
    assert said["put_away"] > len(said["quarantined"]) == 3


def test_where_it_is_cannot_be_noted(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storage that nobody may write to can be verified."""

    async def put(self: FilesystemStorage, key: str, data: bytes, *, durable: bool = True) -> None:
        raise StorageError("filesystem", f"read-only: {key}")

    monkeypatch.setattr(FilesystemStorage, "put", put)
    monkeypatch.setattr(verify, "NOTED_SECONDS", 0.0)
    status = main(["verify", str(root.with_name("config.yml"))])
    said = capsys.readouterr()
    assert (status, said.out) == (0, "0 faults, 0 things put into quarantine\n")
    assert said.err.count("cannot note") == 1


def test_an_interrupted_one_ends_with_a_line(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def units(_: Verification):  # type: ignore[no-untyped-def]
        yield None
        raise KeyboardInterrupt

    monkeypatch.setattr(Verification, "units", units)
    assert main(["verify", str(root.with_name("config.yml"))]) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_slowly(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(verify.asyncio, "sleep", sleep)
    size = sum(path.stat().st_size for path in root.rglob("data") if path.is_file())
    assert run(root, capsys, "--rate", "0.001")[0] == 0
    assert slept[-1] == pytest.approx(size / 1000, rel=0.5)
    for wrong in ("0", "-1", "inf", "fast"):
        with pytest.raises(SystemExit):
            main(["verify", "--rate", wrong, str(root.with_name("config.yml"))])
        assert "number of megabytes" in capsys.readouterr().err
