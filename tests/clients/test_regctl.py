"""regctl: the client that follows the specification most closely."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.servers import content, layouts
from tests.servers.peers import Peer
from tests.servers.process import Registry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]


@pytest.fixture
def regctl(lading: Registry, peer: Callable[[str], Peer]) -> Peer:
    """Told once, in its own configuration, how this registry is spoken to, and to push blobs in chunks."""
    program = peer("regctl")
    chunks = ["--blob-max=50000", "--blob-chunk=30000"]
    tls = "--tls=enabled" if lading.serving.tls else "--tls=disabled"
    program("registry", "set", lading.host, tls, "--skip-check", *chunks)
    return program


def test_copy_into_within_and_out_of_a_registry(lading: Registry, regctl: Peer, tmp_path: Path) -> None:
    package = content.multi_arch("many")
    layout = layouts.write(tmp_path / "in", {"1.0": package})
    regctl("image", "copy", f"ocidir://{layout}:1.0", f"{lading.host}/team/app:1.0")
    assert lading.client.pull("team/app", "1.0") == package.everything()

    regctl("image", "copy", f"{lading.host}/team/app:1.0", f"{lading.host}/other/app:copy")
    assert lading.client.pull("other/app", "copy") == package.everything()

    regctl("image", "copy", f"{lading.host}/other/app:copy", f"ocidir://{tmp_path / 'out'}:copy")
    assert layouts.read(tmp_path / "out") == package.everything()


def test_repositories_tags_and_deletes(lading: Registry, regctl: Peer) -> None:
    package = content.image("one")
    for tag in ("1.0", "1.1"):
        lading.client.push("team/app", tag, package)
    assert regctl("repo", "ls", lading.host).split() == ["team/app"]
    assert regctl("tag", "ls", f"{lading.host}/team/app").split() == ["1.0", "1.1"]

    regctl("tag", "delete", f"{lading.host}/team/app:1.0")
    assert regctl("tag", "ls", f"{lading.host}/team/app").split() == ["1.1"]
    assert lading.client.pull("team/app", "1.1") == package.everything()

    regctl("manifest", "delete", f"{lading.host}/team/app@{package.manifest.digest}")
    lading.client.get(f"/v2/team/app/manifests/{package.manifest.digest}").expect(404)


def test_referrers_are_put_listed_filtered_and_copied(lading: Registry, regctl: Peer) -> None:
    package = content.image("subject")
    lading.client.push("team/app", "1.0", package)
    subject = f"{lading.host}/team/app:1.0"
    for kind in ("example/sbom", "example/signature"):
        regctl("artifact", "put", f"--artifact-type={kind}", f"--subject={subject}", given=f"a {kind}\n")
    assert lading.client.tags("team/app") == ["1.0"], "the tag schema was used beside the API"

    def kinds(reference: str, *options: str) -> list[str]:
        listed = json.loads(regctl("artifact", "list", reference, *options, "--format={{json .Manifest}}"))
        return sorted(each["artifactType"] for each in listed["manifests"])

    assert kinds(subject) == ["example/sbom", "example/signature"]
    assert kinds(subject, "--filter-artifact-type=example/sbom") == ["example/sbom"]

    regctl("image", "copy", "--referrers", subject, f"{lading.host}/moved/app:1.0")
    assert kinds(f"{lading.host}/moved/app:1.0") == ["example/sbom", "example/signature"]
    only = ["--filter-artifact-type=example/sbom"]
    body = regctl("artifact", "get", f"--subject={lading.host}/moved/app:1.0", *only)
    assert body == "a example/sbom\n"


def test_blob_put_in_chunks_head_and_get(lading: Registry, regctl: Peer) -> None:
    text = "a line of a blob larger than one chunk\n" * 5_000
    regctl("blob", "put", f"{lading.host}/team/blobs", given=text)
    digest = content.digest_of(text.encode())
    assert lading.client.pull_blob("team/blobs", digest) == text.encode()
    assert regctl("blob", "get", f"{lading.host}/team/blobs", digest) == text


def test_sha512_content(lading: Registry, regctl: Peer, tmp_path: Path) -> None:
    package = content.image("sha512", algorithm="sha512")
    lading.client.push("team/app", "1.0", package)
    assert regctl("image", "digest", f"{lading.host}/team/app:1.0").strip() == package.manifest.digest
    regctl("image", "copy", f"{lading.host}/team/app@{package.manifest.digest}", f"ocidir://{tmp_path / 'out'}")
    assert layouts.read(tmp_path / "out") == package.everything()
