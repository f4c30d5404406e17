"""No space left, really: a small file system in memory, mounted for the test (which only root may do)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults import directory
from tests.faults.node import MIB, Node, StartNode
from tests.faults.wire import Wire, chunk
from tests.servers import content
from tests.servers.client import Answer, Client
from tests.servers.content import Content

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

REPOSITORY = "team/app"
SIZE = 24 * MIB
SLACK = 64 * 1024
"""What directories and small files may have cost."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "lading-test", str(place)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        # Lazily: the server that has files open there is stopped by a fixture that may end after this one.
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def node(small_disk: Path, start_node: StartNode) -> Node:
    return start_node(root=small_disk)


def free(place: Path) -> int:
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize


def refused(answer: Answer) -> None:
    answer.expect(507)
    assert answer.header("Content-Type").startswith("application/json")
    assert answer.json()["errors"][0]["code"] == "UNAVAILABLE", str(answer)


def still_serves(client: Client) -> None:
    image = content.image("small", layer_sizes=(1000,))
    client.push("other/app", "latest", image)
    assert client.pull("other/app", "latest") == image.everything()


def fill(place: Path, leave: int) -> Path:
    """A file that takes all the space but `leave` bytes."""
    ballast = place / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(max(free(place) - leave, 0)))
    return ballast


TOO_MUCH = content.noise("too much", SIZE + 8 * MIB)
TOO_MUCH_DIGEST = content.digest_of(TOO_MUCH)


@pytest.mark.parametrize("way", ["patch", "chunked", "put", "post"])
def test_layer_that_does_not_fit(node: Node, way: str) -> None:
    still_serves(node.client)
    before = free(node.root)
    for _ in range(3):
        refused(push(node.client, way))
        assert before - free(node.root) <= SLACK
    assert node.client.request("HEAD", f"/v2/{REPOSITORY}/blobs/{TOO_MUCH_DIGEST}").status == 404
    assert directory.sessions(node.root) == []
    assert directory.temporary_files(node.root) == []
    still_serves(node.client)


def push(client: Client, way: str) -> Answer:
    if way == "post":
        return client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={TOO_MUCH_DIGEST}", body=TOO_MUCH)
    location = client.start_upload(REPOSITORY).location
    if way == "put":
        return client.finish_upload(location, TOO_MUCH_DIGEST, TOO_MUCH)
    if way == "patch":
        return client.patch(location, TOO_MUCH)
    with Wire(client.host) as wire:
        wire.head("PATCH", location, {"Transfer-Encoding": "chunked"})
        wire.send_until_refused(
            b"".join(chunk(TOO_MUCH[at : at + MIB]) for at in range(0, len(TOO_MUCH), MIB)) + chunk(b"")
        )
        answer = wire.answer("PATCH")
        assert answer is not None, "cut off without an answer"
        return answer


def test_layer_that_does_not_fit_in_several_requests(node: Node) -> None:
    """The session is removed with its bytes: nobody can finish it."""
    before = free(node.root)
    location = node.client.start_upload(REPOSITORY).location
    for at in range(0, len(TOO_MUCH), 5 * MIB):
        answer = node.client.patch(location, TOO_MUCH[at : at + 5 * MIB])
        if answer.status != 202:
            break
        location = answer.location
    refused(answer)
    assert before - free(node.root) <= SLACK
    assert node.client.get(location).status == 404
    still_serves(node.client)


def test_every_request_while_nothing_fits(node: Node) -> None:
    """Each is told 507, nothing half-done can be seen, and all of them work when there is space again."""
    image = content.image("image", layer_sizes=(500,))
    node.client.push(REPOSITORY, "latest", image)
    other = content.image("other", layer_sizes=(500,))
    for blob in other.blobs:
        node.client.push_blob(REPOSITORY, blob.digest, blob.data)
    session = node.client.start_upload(REPOSITORY).location
    ballast = fill(node.root, 0)
    blob = Content("", content.noise("blob", 100_000))
    refused(node.client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/"))
    refused(node.client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={blob.digest}", body=blob.data))
    refused(node.client.put_manifest(REPOSITORY, "latest", other.manifest))
    refused(node.client.put_manifest(REPOSITORY, "new", image.manifest))
    refused(
        node.client.request("POST", f"/v2/third/blobs/uploads/?mount={image.blobs[0].digest}&from={REPOSITORY}")
    )
    refused(node.client.patch(session, blob.data))
    assert node.client.tags(REPOSITORY) == ["latest"]
    assert node.client.catalog() == [REPOSITORY]
    assert node.client.pull(REPOSITORY, "latest") == image.everything()
    node.client.get(f"/v2/{REPOSITORY}/manifests/{other.manifest.digest}").expect(404)
    node.client.request("DELETE", f"/v2/{REPOSITORY}/manifests/latest").expect(202)
    ballast.unlink()
    node.client.push(REPOSITORY, "latest", other)
    assert node.client.pull(REPOSITORY, "latest") == other.everything()
    still_serves(node.client)


def test_space_that_ends_anywhere(node: Node) -> None:
    """Room for one page, two pages, … of all that a push needs: a clear answer each time, and none of it seen."""
    page = os.sysconf("SC_PAGE_SIZE")
    image = content.image("image", layer_sizes=(5000,))
    pushed = False
    for pages in range(200):
        ballast = fill(node.root, pages * page)
        repository = f"team/{pages}"
        status = try_to_push(node.client, repository, image)
        ballast.unlink()
        tags = node.client.get(f"/v2/{repository}/tags/list")
        if status == 201:
            assert node.client.pull(repository, "latest") == image.everything()
            pushed = True
            break
        assert tags.status == 404 or tags.json()["tags"] in (None, []), str(tags)
        assert directory.temporary_files(node.root) == []
    assert pushed
    directory.purge_everything(node.root)
    assert directory.sessions(node.root) == []


def try_to_push(client: Client, repository: str, image: content.Package) -> int:
    """The status of the first request that is refused, or 201."""
    for blob in image.blobs:
        answer = client.request("POST", f"/v2/{repository}/blobs/uploads/?digest={blob.digest}", body=blob.data)
        if answer.status != 201:
            refused(answer)
            return answer.status
    answer = client.put_manifest(repository, "latest", image.manifest)
    if answer.status != 201:
        refused(answer)
    return answer.status
