"""Many clients at once: the same blob, the same tag, the same upload session."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from tests.faults import directory
from tests.faults.node import MIB, Node, StartNode, nodes, one_connection_to_each_worker
from tests.servers import content
from tests.servers.client import Answer, with_query
from tests.servers.serving import FOUR_WORKERS, HTTP2_OVER_TLS, ONE_WORKER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

T = TypeVar("T")


@pytest.fixture(
    scope="module", params=[ONE_WORKER, FOUR_WORKERS, HTTP2_OVER_TLS], ids=lambda serving: serving.name
)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One for all tests of a kind: each has a repository of its own."""
    with nodes(tmp_path_factory.mktemp("concurrency")) as start:
        yield start(serving=request.param)


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    return "of/" + re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")


def at_once(count: int, work: Callable[[int], T]) -> list[T]:
    """What `work` returns for 0, 1, …, all started at the same moment."""
    gate = threading.Barrier(count)

    def run(number: int) -> T:
        gate.wait(timeout=30)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


@pytest.mark.parametrize("clients", [2, 10])
@pytest.mark.parametrize("size", [1, 70_000, 5 * MIB])
def test_same_blob(node: Node, repository: str, clients: int, size: int) -> None:
    data = content.noise(f"blob {size}", size)
    digest = content.digest_of(data)
    at_once(clients, lambda _: node.client.push_blob(repository, digest, data))
    assert node.client.pull_blob(repository, digest) == data
    assert directory.sessions(node.root, repository) == []


@pytest.mark.parametrize("clients", [2, 10])
def test_same_blob_into_different_repositories_and_by_different_ways(
    node: Node, repository: str, clients: int
) -> None:
    data = content.noise("shared", MIB + 17)
    digest = content.digest_of(data)

    def push(number: int) -> None:
        name = f"{repository}/{number}"
        if number % 3 == 0:
            node.client.push_blob(name, digest, data)
        elif number % 3 == 1:
            target = f"/v2/{name}/blobs/uploads/?digest={digest}"
            node.client.request("POST", target, body=data).expect(201)
        else:
            location = node.client.start_upload(name).location
            node.client.finish_upload(location, digest, data).expect(201)

    at_once(clients, push)
    for number in range(clients):
        assert node.client.pull_blob(f"{repository}/{number}", digest) == data
        assert directory.sessions(node.root, f"{repository}/{number}") == []


@pytest.mark.parametrize("clients", [2, 10])
def test_same_tag_with_different_manifests(node: Node, repository: str, clients: int) -> None:
    images = [content.image(f"image {number}", layer_sizes=(300,)) for number in range(clients)]
    for image in images:
        node.client.push(repository, "before", image)
    for tag in ("one", "two", "three"):
        at_once(clients, lambda n, t=tag: node.client.push(repository, t, images[n]))  # type: ignore[misc]
        answer = node.client.get(f"/v2/{repository}/manifests/{tag}").expect(200)
        assert answer.header("Docker-Content-Digest") in {image.manifest.digest for image in images}
    for image in images:
        assert node.client.pull(repository, image.manifest.digest) == image.everything()
    assert node.client.tags(repository) == ["before", "one", "three", "two"]
    assert directory.temporary_files(node.root) == []


@pytest.mark.parametrize("clients", [2, 10])
def test_same_manifest_under_different_tags(node: Node, repository: str, clients: int) -> None:
    image = content.image("image", layer_sizes=(300,))
    tags = [f"tag-{number}" for number in range(clients)]
    at_once(clients, lambda n: node.client.push(repository, tags[n], image))
    assert node.client.tags(repository) == tags
    for tag in tags:
        assert node.client.pull(repository, tag) == image.everything()


def test_referrers_of_one_subject(node: Node, repository: str) -> None:
    image = content.image("image", layer_sizes=(300,))
    node.client.push(repository, "latest", image)
    artifacts = [content.artifact(f"note {n}", "text/plain", subject=image.manifest) for n in range(10)]
    at_once(10, lambda n: node.client.push(repository, artifacts[n].manifest.digest, artifacts[n]))
    found = {entry["digest"] for entry in node.client.referrers(repository, image.manifest.digest)}
    assert found == {artifact.manifest.digest for artifact in artifacts}


@pytest.mark.parametrize("clients", [2, 10])
@pytest.mark.parametrize("size", [300, 200_000, 5 * MIB])
def test_same_session_with_the_same_offset(node: Node, repository: str, clients: int, size: int) -> None:
    """One wins; the content is the winner's, before and after it."""
    pieces = [content.noise(f"piece {number}", size) for number in range(clients)]
    start = content.noise("start", 1000)
    location = node.client.start_upload(repository).location
    location = node.client.patch(location, start).expect(202).location
    answers = at_once(clients, lambda n: node.client.patch(location, pieces[n]))
    assert statuses(answers) == {202: 1, 416: clients - 1}
    winner = next(number for number, answer in enumerate(answers) if answer.status == 202)
    data = start + pieces[winner]
    status = node.client.get(location).expect(204)
    assert status.header("Range") == f"0-{len(data) - 1}"
    digest = content.digest_of(data)
    node.client.finish_upload(status.location, digest).expect(201)
    assert node.client.pull_blob(repository, digest) == data
    assert directory.sessions(node.root, repository) == []


@pytest.mark.parametrize("clients", [2, 10])
def test_same_session_finished_at_once(node: Node, repository: str, clients: int) -> None:
    """Whoever is told 201 finds the blob; nothing of the session is left over."""
    for attempt in range(5):
        data = content.noise(f"finish {attempt}", 150_000)
        digest = content.digest_of(data)
        location = node.client.start_upload(repository).location
        location = node.client.patch(location, data).expect(202).location
        answers = at_once(clients, lambda _, at=location, d=digest: node.client.finish_upload(at, d))  # type: ignore[misc]
        counted = statuses(answers)
        assert counted[201] >= 1, counted
        assert not set(counted) - {201, 404, 416}, "\n".join(map(str, answers))
        assert node.client.pull_blob(repository, digest) == data
    assert directory.sessions(node.root, repository) == []


def test_session_is_appended_and_finished_and_cancelled_at_once(node: Node, repository: str) -> None:
    """Whatever the order was: no 500, what was acknowledged is there, and no session is left half-removed."""
    for attempt in range(10):
        data = content.noise(f"chaos {attempt}", 150_000)
        digest = content.digest_of(data)
        location = node.client.start_upload(repository).location

        def work(number: int, at: str = location, d: str = digest, whole: bytes = data) -> Answer:
            if number % 3 == 0:
                return node.client.finish_upload(at, d, whole)
            if number % 3 == 1:
                return node.client.patch(at, b"something else")
            return node.client.request("DELETE", at)

        answers = at_once(6, work)
        assert not set(statuses(answers)) - {201, 202, 204, 400, 404, 416}, "\n".join(map(str, answers))
        if any(answer.status == 201 for answer in answers):
            assert node.client.pull_blob(repository, digest) == data
        upload_id = location.partition("?")[0].rpartition("/")[2]
        if (repository, upload_id) in directory.sessions(node.root, repository):
            status = node.client.request("GET", location)
            assert status.status == 204, f"bytes of a session that nobody can resume: {status}"
            node.client.request("DELETE", status.location).expect(204)
    assert directory.sessions(node.root, repository) == []


def test_every_request_of_a_session_goes_to_another_process(start_node: StartNode) -> None:
    """The hash that one worker keeps must not be believed when another has written meanwhile."""
    node, repository = start_node(workers=3), "team/app"
    pieces = [content.noise(f"piece {number}", size) for number, size in enumerate([70_000, 1, 4097, 2 * MIB])]
    with one_connection_to_each_worker(node) as turns:
        start = turns().exchange("POST", f"/v2/{repository}/blobs/uploads/")
        location = start.expect(202).location
        for piece in pieces:
            location = turns().exchange("PATCH", location, piece).expect(202).location
        data = b"".join(pieces)
        digest = content.digest_of(data)
        turns().exchange("PUT", with_query(location, digest=digest), b"").expect(201)
        for _ in range(3):
            assert turns().exchange("GET", f"/v2/{repository}/blobs/{digest}", b"").body == data
