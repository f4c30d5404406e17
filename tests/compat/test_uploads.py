"""An upload that one registry began is carried on, finished or cancelled by the other."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compat.conftest import Pair
from tests.servers import content
from tests.servers.client import Client
from tests.servers.process import StartRegistry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]

PIECES = [content.noise(f"piece {i}", size) for i, size in enumerate([70_000, 1, 4_097, 300_000])]
WHOLE = b"".join(PIECES)
REPOSITORY = "team/app"


@pytest.fixture
def clients(pair: Pair) -> tuple[Client, Client]:
    """Both registries, running over one directory with one secret."""
    return pair.first(pair.root).client, pair.second(pair.root).client


def alternating(clients: tuple[Client, Client]) -> Iterator[Client]:
    while True:
        yield from clients


def unfinished(root: Path) -> list[Path]:
    return list((root / f"docker/registry/v2/repositories/{REPOSITORY}/_uploads").iterdir())


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_every_request_goes_to_the_other_registry(
    clients: tuple[Client, Client], pair: Pair, algorithm: str
) -> None:
    turns = alternating(clients)
    location = next(turns).start_upload(REPOSITORY).location
    for number, piece in enumerate(PIECES):
        answer = next(turns).patch(location, piece).expect(202)
        stored = sum(map(len, PIECES[: number + 1]))
        assert answer.header("Range") == f"0-{stored - 1}"
        location = answer.location
    digest = content.digest_of(WHOLE, algorithm)
    next(turns).finish_upload(location, digest).expect(201)
    for client in clients:
        assert client.pull_blob(REPOSITORY, digest) == WHOLE
    assert unfinished(pair.root) == []


def test_last_piece_travels_in_the_closing_request(clients: tuple[Client, Client]) -> None:
    one, other = clients
    location = one.start_upload(REPOSITORY).location
    location = one.patch(location, PIECES[0]).expect(202).location
    data = PIECES[0] + PIECES[3]
    other.finish_upload(location, content.digest_of(data), PIECES[3]).expect(201)
    assert one.pull_blob(REPOSITORY, content.digest_of(data)) == data


def test_status_of_the_other_registry_gives_a_location_to_go_on_with(clients: tuple[Client, Client]) -> None:
    one, other = clients
    location = one.start_upload(REPOSITORY).location
    one.patch(location, PIECES[0]).expect(202)  # and the client loses the answer
    status = other.request("GET", location.partition("?")[0]).expect(204)
    assert status.header("Range") == f"0-{len(PIECES[0]) - 1}"
    other.patch(location, PIECES[2]).expect(416)  # the old location is one piece behind
    location = one.patch(status.location, PIECES[2]).expect(202).location
    data = PIECES[0] + PIECES[2]
    other.finish_upload(location, content.digest_of(data)).expect(201)
    assert one.pull_blob(REPOSITORY, content.digest_of(data)) == data


def test_cancelled_by_one_is_gone_for_the_other(clients: tuple[Client, Client]) -> None:
    one, other = clients
    location = one.start_upload(REPOSITORY).location
    location = one.patch(location, PIECES[0]).expect(202).location
    other.request("DELETE", location).expect(204)
    one.request("GET", location.partition("?")[0]).expect(404)
    one.patch(location, PIECES[1]).expect(404)


def test_upload_of_a_killed_registry_is_finished_by_the_other(pair: Pair) -> None:
    """What was stored of a broken request is a piece of the blob, from where the upload stood on."""
    first = pair.first(pair.root)
    location = first.client.start_upload(REPOSITORY).location
    location = first.client.patch(location, PIECES[0]).expect(202).location
    connection = http.client.HTTPConnection(first.host, timeout=10)
    connection.putrequest("PATCH", location)
    connection.putheader("Content-Length", str(len(PIECES[3])))
    connection.endheaders()
    connection.send(PIECES[3][:200_000])
    first.kill()
    connection.close()

    second = pair.second(pair.root).client
    status = second.request("GET", location.partition("?")[0]).expect(204)
    stored = int(status.header("Range").removeprefix("0-")) + 1
    assert len(PIECES[0]) <= stored <= len(PIECES[0]) + 200_000
    data = PIECES[0] + PIECES[3]
    location = second.patch(status.location, data[stored:]).expect(202).location
    second.finish_upload(location, content.digest_of(data)).expect(201)
    assert second.pull_blob(REPOSITORY, content.digest_of(data)) == data


def test_another_secret_does_not_open_the_upload(
    pair: Pair, start_lading: StartRegistry, start_distribution: StartRegistry
) -> None:
    location = pair.first(pair.root).client.start_upload(REPOSITORY).location
    for start in (start_lading, start_distribution):
        stranger = start(pair.root, {"http": {"secret": "another secret"}})
        refusal = stranger.client.patch(location, PIECES[0]).expect(404)
        assert refusal.json()["errors"][0]["code"] == "BLOB_UPLOAD_INVALID"
    assert pair.second(pair.root).client.patch(location, PIECES[0]).expect(202)
