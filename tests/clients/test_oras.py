"""oras: artifacts of any kind, and what is attached to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.servers import content, layouts
from tests.servers.peers import Peer
from tests.servers.process import Registry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]

PLAIN = "--plain-http"
BY_API = "--distribution-spec=v1.1-referrers-api"


@pytest.fixture
def oras(peer: Callable[[str], Peer]) -> Peer:
    return peer("oras")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "report.txt").write_text("all is well\n")
    (folder / "data.bin").write_bytes(content.noise("oras", 400_000))
    return folder


def test_push_and_pull_files_under_several_tags(lading: Registry, oras: Peer, files: Path, tmp_path: Path) -> None:
    target = f"{lading.host}/art/report"
    pushed = json.loads(
        oras(
            "push", PLAIN, "--format=json", "--artifact-type=application/vnd.example.report",
            f"{target}:1.0,latest", "report.txt:text/plain", "data.bin", folder=files,
        )
    )  # fmt: skip
    assert lading.client.tags("art/report") == ["1.0", "latest"]
    assert pushed["digest"] in lading.client.pull("art/report", "latest")

    oras("pull", PLAIN, f"{target}@{pushed['digest']}", f"--output={tmp_path / 'out'}")
    for name in ("report.txt", "data.bin"):
        assert (tmp_path / "out" / name).read_bytes() == (files / name).read_bytes()


def test_attach_and_discover_through_the_referrers_api(lading: Registry, oras: Peer, files: Path) -> None:
    package = content.image("subject")
    lading.client.push("team/app", "1.0", package)
    target = f"{lading.host}/team/app:1.0"

    def attach(artifact_type: str, subject: str) -> str:
        kind = f"--artifact-type={artifact_type}"
        said = oras("attach", PLAIN, BY_API, "--format=json", kind, subject, "report.txt", folder=files)
        return str(json.loads(said)["digest"])

    report = attach("example/report", target)
    licence = attach("example/licence", target)
    signature = attach("example/signature", f"{lading.host}/team/app@{report}")
    assert lading.client.tags("team/app") == ["1.0"], "the tag schema was used beside the API"

    tree = json.loads(oras("discover", PLAIN, BY_API, "--format=json", target))
    found = {each["digest"]: [inner["digest"] for inner in each["referrers"]] for each in tree["referrers"]}
    assert found == {report: [signature], licence: []}

    only = oras("discover", PLAIN, BY_API, "--format=json", "--artifact-type=example/licence", target)
    assert [each["digest"] for each in json.loads(only)["referrers"]] == [licence]

    oras("manifest", "delete", PLAIN, "--force", f"{lading.host}/team/app@{licence}")
    assert [each["digest"] for each in lading.client.referrers("team/app", package.manifest.digest)] == [report]


def test_referrers_attached_by_tag_schema_are_in_the_api(lading: Registry, oras: Peer, files: Path) -> None:
    """What clients attached while the registry was the original is found once Lading serves the API."""
    package = content.image("subject")
    lading.client.push("team/app", "1.0", package)
    said = oras(
        "attach", PLAIN, "--distribution-spec=v1.1-referrers-tag", "--format=json",
        "--artifact-type=example/old", f"{lading.host}/team/app:1.0", "report.txt", folder=files,
    )  # fmt: skip
    assert package.manifest.digest.replace(":", "-") in lading.client.tags("team/app")
    tree = json.loads(oras("discover", PLAIN, BY_API, "--format=json", f"{lading.host}/team/app:1.0"))
    assert [each["digest"] for each in tree["referrers"]] == [json.loads(said)["digest"]]


def test_recursive_copy_takes_the_referrers_along(lading: Registry, oras: Peer, tmp_path: Path) -> None:
    package = content.multi_arch("subject")
    attached = content.artifact("report", "example/report", subject=package.manifest)
    lading.client.push("team/app", "1.0", package)
    lading.client.push("team/app", attached.manifest.digest, attached)
    layout = tmp_path / "out"
    copy = ["copy", "--recursive"]
    oras(*copy, "--from-plain-http", f"{lading.host}/team/app:1.0", "--to-oci-layout", f"{layout}:1.0")
    copied = layouts.read(layout)
    expected = package.everything() | attached.everything()
    assert {digest: copied.get(digest) for digest in expected} == expected

    oras(*copy, "--to-plain-http", "--from-oci-layout", f"{layout}:1.0", f"{lading.host}/new/app:1.0")
    assert lading.client.pull("new/app", "1.0") == package.everything()
    referrers = lading.client.referrers("new/app", package.manifest.digest)
    assert [each["digest"] for each in referrers] == [attached.manifest.digest]


def test_repositories_and_tags_are_listed(lading: Registry, oras: Peer) -> None:
    lading.client.push("team/app", "1.0", content.image("one"))
    assert oras("repo", "ls", PLAIN, lading.host).split() == ["team/app"]
    assert oras("repo", "tags", PLAIN, f"{lading.host}/team/app").split() == ["1.0"]
