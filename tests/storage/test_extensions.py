"""Drivers and middleware of others: the example of docs/storage-middleware.md, installed and used."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.servers import content
from tests.servers.process import StartRegistry

from lading.compose.error import BuildError
from lading.compose.storage import storage
from lading.config.load import parse
from lading.registry.ports import Storage

PAGE = (Path(__file__).parents[2] / "docs/storage-middleware.md").read_text("utf-8")


def block(language: str, word: str) -> str:
    [found] = [body for body in re.findall(rf"(?ms)^```{language}\n(.*?)^```$", PAGE) if word in body]
    return str(found)


def install(folder: Path, name: str = "lading-example") -> None:
    """As a wheel is unpacked."""
    project = tomllib.loads(block("toml", "[project]"))["project"]
    module = name.replace("-", "_")
    points = configparser.ConfigParser()
    points.read_dict(project["entry-points"])
    metadata = folder / f"{module}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {project['version']}\n")
    with (metadata / "entry_points.txt").open("w") as file:
        points.write(file)
    text = (metadata / "entry_points.txt").read_text()
    (metadata / "entry_points.txt").write_text(text.replace("lading_example", module))
    (folder / f"{module}.py").write_text(block("python", "class Geography"))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "lading_example", raising=False)
    return tmp_path / "site"


def made(driver: str = "inmemory", parameters: object = None, *elements: dict[str, object]) -> Storage:
    document = {"version": "0.1", "storage": {driver: parameters}, "middleware": {"storage": elements}}
    return storage(parse(json.dumps(document), "test", {}).configuration)


GEOGRAPHY: dict[str, object] = {
    "name": "geography",
    "options": {"network": "192.0.2.0/24", "mirror": "https://mirror.example"},
}


async def test_the_example(installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_storage = made("journal", {"path": str(tmp_path / "data")}, GEOGRAPHY)
    await made_storage.put("/a/b", b"content")
    assert (tmp_path / "data/a/b").read_bytes() == b"content"
    assert await made_storage.redirect("/a/b", "GET", "192.0.2.7") == "https://mirror.example/a/b"
    assert await made_storage.redirect("/a/b", "GET", "198.51.100.7") is None
    await made_storage.delete("/a")
    assert capsys.readouterr().err == "deleting /a\n"


def test_the_suite_runs_on_it_as_the_page_says(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "test_journal.py").write_text(block("python", "CASES"))
    options = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", f"--rootdir={tmp_path}"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path / "test_journal.py")],
        env={**os.environ, "PYTHONPATH": str(installed), "PYTEST_ADDOPTS": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert re.search(r"\b[5-9]\d+ passed", run.stdout) or re.search(r"\b\d{3} passed", run.stdout), run.stdout


def test_served(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_lading: StartRegistry
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(installed))
    nearby = {"name": "geography", "options": {"network": "127.0.0.0/8", "mirror": "https://mirror.example"}}
    driver = {"filesystem": None, "journal": {"path": str(tmp_path / "data")}}
    client = start_lading(extra={"storage": driver, "middleware": {"storage": [nearby]}}).client
    package = content.image("app")
    client.push("team/app", "1", package)
    blob = package.blobs[0].digest
    location = client.get(f"/v2/team/app/blobs/{blob}").expect(307).header("Location")
    assert location.startswith("https://mirror.example/docker/registry/v2/blobs/sha256/")


def test_what_is_told_of_names_that_nobody_has(installed: Path) -> None:
    with pytest.raises(BuildError) as refused:
        made("swift")
    assert str(refused.value).startswith("storage: StorageDriver not registered: swift; known are filesystem,")
    for word in ("frostfs, journal;", "pip install 'lading[s3]'", "entry points of lading.storage"):
        assert word in str(refused.value)
    with pytest.raises(BuildError, match=r"known are redirect, rewrite, cloudfront, diskcache, geography; more"):
        made("inmemory", None, {"name": "nobody"})


def test_what_goes_wrong_in_them(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BuildError, match=r"^storage\.journal: path is not set$"):
        made("journal", {})
    with pytest.raises(BuildError, match=r"^middleware\.storage\[0\]\.options: 'here' does not appear to be an"):
        made("inmemory", None, {"name": "geography", "options": {"network": "here"}})
    (installed / "lading_example.py").write_text("journal = print\nimport nothing_of_this_name\n")
    sys.modules.pop("lading_example", None)
    with pytest.raises(BuildError, match=r"^storage: cannot load lading_example:journal: ModuleNotFound"):
        made("journal", {})
    (installed / "lading_example.py").write_text("journal = str\n")
    with pytest.raises(BuildError, match=r"^storage\.journal: .* has made no storage$"):
        made("journal", {})


def test_two_of_one_name(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "more", "lading-second")
    monkeypatch.syspath_prepend(str(tmp_path / "more"))
    with pytest.raises(BuildError, match="several distributions call theirs: lading_example:j"):
        made("journal", {})
