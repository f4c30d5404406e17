"""Registries that share a bucket: Lading and the Go original, and two Ladings, one of which is killed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.servers import content
from tests.servers.client import Client
from tests.servers.process import Registry, StartRegistry
from tests.servers.versitygw import BUCKET, Gateway, gateway

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]

REPOSITORY = "team/app"
MIB = 1024 * 1024
PIECES = [content.noise(f"piece {i}", size) for i, size in enumerate([6 * MIB, 70_000, 1, 5 * MIB + 7, 11 * MIB])]
WHOLE = b"".join(PIECES)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path / "store") as running:
        yield running


def on(store: Gateway) -> dict[str, Any]:
    """The one difference to other tests: the storage."""
    parameters = store.parameters(rootdirectory="/registry", chunksize=5 * MIB)
    return {
        "storage": {
            "filesystem": None,
            "s3": parameters,
            "delete": {"enabled": True},
            "redirect": {"disable": True},
        }
    }


def left(store: Gateway) -> list[str]:
    """Objects and parts of unfinished uploads."""
    found = [path for path in (store.folder / BUCKET).rglob("*") if path.is_file()]
    return [str(path) for path in found if "_uploads" in str(path) or ".sgwtmp" in str(path)]


@pytest.mark.parametrize("first", ["lading", "distribution"])
def test_images_and_uploads_of_the_other(
    first: str, store: Gateway, start_lading: StartRegistry, start_distribution: StartRegistry
) -> None:
    nodes = [start_lading(extra=on(store)), start_distribution(extra=on(store))]
    one, other = (node.client for node in (nodes if first == "lading" else nodes[::-1]))
    package = content.multi_arch("app")
    one.push(REPOSITORY, "1.0", package)
    assert other.pull(REPOSITORY, "1.0") == package.everything()
    assert other.tags(REPOSITORY) == ["1.0"]
    assert other.catalog() == [REPOSITORY]

    # A session without a byte has no upload in the store yet: only Lading continues one of Lading's.
    turns = itertools.cycle([one, other])
    location = one.start_upload(REPOSITORY).location
    for number, piece in enumerate(PIECES):
        answer = next(turns).patch(location, piece).expect(202)
        assert answer.header("Range") == f"0-{sum(map(len, PIECES[: number + 1])) - 1}"
        location = answer.location
    digest = content.digest_of(WHOLE)
    next(turns).finish_upload(location, digest).expect(201)
    for client in (one, other):
        assert client.pull_blob(REPOSITORY, digest) == WHOLE


def test_two_nodes_of_which_one_is_killed(store: Gateway, start_lading: StartRegistry) -> None:
    """Every request goes to the other node; what the dead one held is free when its lease has run out."""
    nodes = [start_lading(extra=on(store)) for _ in range(3)]
    turns = itertools.cycle(node.client for node in nodes[:2])
    for name in ("one", "two"):
        package = content.image(name)
        next(turns).push(REPOSITORY, name, package)
        assert next(turns).pull(REPOSITORY, name) == package.everything()
        next(turns)
    location = next(turns).start_upload(REPOSITORY).location
    for piece in PIECES:
        location = next(turns).patch(location, piece).expect(202).location

    dying, living = nodes[2], nodes[0]
    _break_off(dying, location, store)
    status = living.client.request("GET", location.partition("?")[0]).expect(204)
    kept = int(status.header("Range").partition("-")[2]) + 1
    assert kept >= len(WHOLE)
    data = WHOLE + b"x" * (kept - len(WHOLE))
    deadline = time.monotonic() + 30
    while (answer := living.client.finish_upload(status.location, content.digest_of(data))).status == 416:
        assert time.monotonic() < deadline, "the lease of the dead node does not end"
    answer.expect(201)
    assert next(turns).pull_blob(REPOSITORY, content.digest_of(data)) == data
    assert left(store) == []


@pytest.mark.parametrize("size", [0, 1, 6 * MIB])
def test_clients_are_sent_to_the_store_and_find_there_what_they_asked_for(
    size: int, store: Gateway, start_lading: StartRegistry
) -> None:
    settings = on(store)
    settings["storage"]["redirect"]["disable"] = False
    client, data = start_lading(extra=settings).client, content.noise("redirected", size)
    digest = content.digest_of(data)
    client.push_blob(REPOSITORY, digest, data)
    blob = f"/v2/{REPOSITORY}/blobs/{digest}"

    url = urlsplit(client.get(blob).expect(307).header("Location"))
    assert url.netloc == store.host
    presigned = Client(url.netloc)
    whole = presigned.request("GET", f"{url.path}?{url.query}").expect(200)
    assert whole.body == data
    assert whole.header("Content-Type") == "application/octet-stream"
    assert whole.header("Content-Length") == str(size)
    if size > 1:
        part = presigned.request("GET", f"{url.path}?{url.query}", {"Range": "bytes=3-5"}).expect(206)
        assert (part.body, part.header("Content-Range")) == (data[3:6], f"bytes 3-5/{size}")

    url = urlsplit(client.request("HEAD", blob).expect(307).header("Location"))
    head = presigned.request("HEAD", f"{url.path}?{url.query}").expect(200)
    assert (head.body, head.header("Content-Length")) == (b"", str(size))
    # What is signed for one request is good for no other.
    presigned.request("DELETE", f"{url.path}?{url.query}").expect(403)
    assert client.request("GET", blob.replace(digest, content.digest_of(b"never pushed"))).status == 404


def _break_off(node: Registry, location: str, store: Gateway) -> None:
    """Kill the node in the midst of a request, when it has the lease of the session."""
    connection = node.client.connect()
    connection.putrequest("PATCH", location)
    connection.putheader("Content-Length", str(8 * MIB))
    connection.putheader("Content-Type", "application/octet-stream")
    connection.endheaders()
    connection.send(b"x" * MIB)
    deadline = time.monotonic() + 20
    while not any(path.endswith("~lock") for path in left(store)):
        assert time.monotonic() < deadline, "no lease was taken"
        time.sleep(0.01)
    node.kill()
    connection.close()
