"""`lading repo`, `tag` and `manifest`: what a storage holds, listed, inspected and deleted without a server."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.registry.test_collect import store
from tests.servers import content
from tests.wire.compositions import dump

from lading.cli import main
from lading.oci.digest import Digest
from lading.oci.names import RepositoryName, Tag
from lading.registry import layout
from lading.registry.ports import StorageError
from lading.storage.filesystem import FilesystemStorage

APP, BELOW, OTHER = map(RepositoryName, ("team/app", "team/app/below", "other"))
ONE, TWO, MANY = content.image("one"), content.image("two"), content.multi_arch("many")


async def fill(storage: FilesystemStorage) -> None:
    await store(storage, ONE, "1.0", "1.1", "latest", name=APP)
    await store(storage, TWO, name=APP)
    await store(storage, MANY, "many", name=APP)
    await store(storage, ONE, "1.0", name=BELOW)
    await store(storage, TWO, "2.0", name=OTHER)


@pytest.fixture
def storage(tmp_path: Path) -> FilesystemStorage:
    made = FilesystemStorage(str(tmp_path / "data"))
    asyncio.run(fill(made))
    (tmp_path / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/data}}}}\nhttp: {{addr: ':5000'}}\n"
    )
    return made


class Run:
    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._config = str(config)
        self._capsys = capsys

    def __call__(self, command: str, *rest: str) -> tuple[int, str, str]:
        """The configuration comes behind the options, before the rest."""
        flags = [word for word in rest if word.startswith("--")]
        status = main([*command.split(), *flags, self._config, *(word for word in rest if word not in flags)])
        said = self._capsys.readouterr()
        return status, said.out, said.err

    def json(self, command: str, *rest: str) -> Any:
        status, out, err = self(command, "--json", *rest)
        assert status == 0, err
        return json.loads(out)


@pytest.fixture
def run(storage: FilesystemStorage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(tmp_path / "config.yml", capsys)


def keys(storage: FilesystemStorage) -> set[str]:
    return set(asyncio.run(dump(storage)))


def test_lists(run: Run) -> None:
    rows = run.json("repo list")
    assert [tuple(row.values()) for row in rows] == [
        ("other", 1, 1),
        ("team/app", 4, 2 + 1 + len(MANY.children)),
        ("team/app/below", 1, 1),
    ]
    assert [row["repository"] for row in run.json("repo list", "team/*")] == [APP, BELOW]
    assert [row["tag"] for row in run.json("tag list", APP, "1.*")] == ["1.0", "1.1"]
    by_digest = {row["digest"]: row for row in run.json("manifest list", APP)}
    assert by_digest[ONE.manifest.digest]["tags"] == ["1.0", "1.1", "latest"]
    untagged = {row["digest"] for row in run.json("manifest list", "--untagged", APP)}
    assert untagged == {TWO.manifest.digest, *(child.manifest.digest for child in MANY.children)}
    status, out, _ = run("tag list", APP)
    lines = out.splitlines()
    assert (status, lines[0].split(), len(lines)) == (0, ["tag", "digest", "mediaType", "size"], 5)
    assert lines[1].split() == ["1.0", ONE.manifest.digest, ONE.manifest.media_type, str(len(ONE.manifest.data))]


def test_inspects(run: Run) -> None:
    said = run.json("repo inspect", OTHER)
    size = sum(len(blob.data) for blob in TWO.blobs)
    assert (said["tags"], said["manifests"], said["blobs"], said["bytes"], said["uploads"]) == (
        *(1, 1, len(TWO.blobs)),
        *(size, 0),
    )
    for reference in (":1.0", f"@{ONE.manifest.digest}"):
        said = run.json("manifest inspect", f"{APP}{reference}")
        assert (said["digest"], said["tags"]) == (ONE.manifest.digest, ["1.0", "1.1", "latest"])
        assert {said["config"], *said["layers"]} == {blob.digest for blob in ONE.blobs}
    said = run.json("tag inspect", f"{APP}:many")
    assert [child.partition(" ")[0] for child in said["manifests"]] == [c.manifest.digest for c in MANY.children]
    status, out, _ = run("tag inspect", f"{APP}:many")
    assert (status, f"digest:      {MANY.manifest.digest}" in out.replace("       ", "      ")) == (0, True)


def test_tags_go_and_manifests_stay(run: Run, storage: FilesystemStorage) -> None:
    status, out, _ = run("tag delete", "--yes", f"{APP}:1.*", f"{OTHER}:2.0")
    assert (status, out.splitlines()) == (
        0,
        ["deleted team/app:1.0", "deleted team/app:1.1", "deleted other:2.0"],
    )
    assert [row["tag"] for row in run.json("tag list", APP)] == ["latest", "many"]
    assert layout.manifest_link(OTHER, Digest(TWO.manifest.digest)) in keys(storage)


def test_a_manifest_goes_with_its_tags(run: Run, storage: FilesystemStorage) -> None:
    assert run("manifest delete", "--yes", f"{APP}:1.0")[:2] == (0, f"deleted {APP}@{ONE.manifest.digest}\n")
    assert [row["tag"] for row in run.json("tag list", APP)] == ["many"]
    assert layout.manifest_link(BELOW, Digest(ONE.manifest.digest)) in keys(storage)


def test_a_repository_goes_and_those_below_stay(run: Run, storage: FilesystemStorage) -> None:
    before = keys(storage)
    assert run("repo delete", "--yes", APP)[:2] == (0, f"deleted {APP}\n")
    assert keys(storage) == {key for key in before if f"/{APP}/_" not in key}
    assert run.json("repo delete", "--yes", "*") == {"dry_run": False, "deleted": [OTHER, BELOW]}
    assert run.json("repo list") == []


def test_what_no_list_has_can_be_deleted(run: Run, storage: FilesystemStorage) -> None:
    asyncio.run(storage.put(layout.layer_link(RepositoryName("half"), Digest.of(b"x")), b""))
    assert run("repo delete", "--yes", "half")[0] == 0
    assert not [key for key in keys(storage) if "/half/" in key]


@pytest.mark.parametrize(
    "command",
    [("repo delete", APP), ("tag delete", f"{APP}:*"), ("manifest delete", f"{APP}@{TWO.manifest.digest}")],
)
def test_nothing_goes_that_was_not_confirmed(
    run: Run, storage: FilesystemStorage, command: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys(storage)
    status, out, _ = run(command[0], "--dry-run", command[1])
    assert (status, out.startswith("would delete team/app")) == (0, True)
    assert run.json(command[0], "--dry-run", command[1])["dry_run"] is True
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    status, out, err = run(*command)
    assert (status, out) == (2, "")
    assert "--yes is needed" in err

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for answer in ("n\n", "\n", ""):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        status, out, err = run(*command)
        assert (status, out, err.endswith("nothing was deleted\n")) == (1, "", True)
    assert keys(storage) == before
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert run(*command)[0] == 0
    assert keys(storage) < before


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("repo inspect", "none"), "repository name not known to registry: none"),
        (("repo delete", "--yes", "none"), "repository name not known to registry: none"),
        (("repo delete", "--yes", "no*"), "nothing matches; nothing was deleted"),
        (("repo delete", "--yes", "No:thing"), "invalid repository name"),
        (("tag list", "none"), "repository name not known to registry"),
        (("tag delete", "--yes", "team/app:none"), "manifest unknown: unknown tag=none"),
        (("tag delete", "--yes", "team/app:x*"), "nothing matches; nothing was deleted"),
        (("tag inspect", "team/app:none"), "manifest unknown: unknown tag=none"),
        (("manifest delete", "--yes", f"team/app@{Digest.of(b'x')}"), "manifest unknown"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(run: Run, command: tuple[str, ...], said: str) -> None:
    status, out, err = run(*command)
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert said in err


@pytest.mark.parametrize("arguments", [("tag delete", APP), ("tag inspect", "x"), ("repo inspect", "No:thing")])
def test_what_cannot_be_understood_is_told_with_the_usage(run: Run, arguments: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2


def test_a_tag_that_leads_nowhere_is_listed_and_can_be_deleted(run: Run, storage: FilesystemStorage) -> None:
    nowhere = Digest.of(b"nowhere")
    asyncio.run(storage.put(layout.tag_link(APP, Tag("ghost")), nowhere.encode()))
    row = {row["tag"]: row for row in run.json("tag list", APP)}["ghost"]
    assert (row["digest"], row["mediaType"]) == (nowhere, "missing")
    assert run("tag delete", "--yes", f"{APP}:ghost")[0] == 0


@pytest.mark.parametrize(
    "command",
    [
        ("tag delete", f"{APP}:1.0"),
        ("tag delete", f"{APP}:*"),
        ("manifest delete", f"{APP}@{ONE.manifest.digest}"),
        ("repo delete", APP),
        ("repo delete", "*"),
    ],
    ids=" ".join,
)
def test_what_is_immutable_goes_by_force_alone(
    run: Run, storage: FilesystemStorage, tmp_path: Path, command: tuple[str, str]
) -> None:
    with (tmp_path / "config.yml").open("a") as config:
        config.write(f"immutable: [{{repositories: [{APP}], tags: ['1.*']}}]\n")
    before = keys(storage)
    for flag in ("--yes", "--dry-run"):
        status, out, err = run(command[0], flag, command[1])
        assert (status, out, len(err.splitlines())) == (1, "", 1)
        assert "immutable" in err
        assert keys(storage) == before
    assert run(command[0], "--yes", "--force", command[1])[0] == 0
    assert keys(storage) < before


@pytest.mark.parametrize("flags", [("--yes",), ("--yes", "--json")])
def test_what_went_before_one_that_fails_is_told(
    run: Run, storage: FilesystemStorage, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    delete = FilesystemStorage.delete

    async def fails(self: FilesystemStorage, key: str, *, if_empty: bool = False) -> None:
        if key == layout.tag_link(APP, Tag("1.1")):
            raise StorageError("filesystem", "the disk is gone")
        await delete(self, key, if_empty=if_empty)

    monkeypatch.setattr(FilesystemStorage, "delete", fails)
    status, out, err = run("tag delete", *flags, f"{APP}:*")
    assert (status, err.splitlines()[-1]) == (1, "filesystem: the disk is gone")
    told = json.loads(out)["deleted"] if "--json" in flags else out.splitlines()
    assert told == ([f"{APP}:1.0"] if "--json" in flags else [f"deleted {APP}:1.0"])
