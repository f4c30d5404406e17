"""A data directory written by one registry is served by the other, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.compat.conftest import Pair
from tests.servers import content, layouts
from tests.servers.client import Client
from tests.servers.content import Package
from tests.servers.peers import Peer
from tests.servers.process import Registry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(90)]

OLD, NEW = content.image("old"), content.image("new")
SHA512_BLOB = content.noise("sha512", 5_000)
HALVES = content.noise("first half", 70_000), content.noise("second half", 30_000)

TAGGED: dict[tuple[str, str], Package] = {
    ("team/app", "1.0"): OLD,
    ("team/app", "latest"): NEW,
    ("team/app", "many"): content.multi_arch("many"),
    ("team/app/inner", "1.0"): content.image("inner"),
    ("team/docker", "v2"): content.image("docker", docker=True),
    ("team/docker", "list"): content.multi_arch("docker", docker=True),
    ("team/nested", "1.0"): content.index([content.multi_arch("nested"), content.image("leaf")]),
    ("Registry.Example/app", "1.0"): content.image("under a domain"),
}


def write(registry: Registry, peer: Callable[[str], Peer], folder: Path) -> str:
    """Fill a registry, with real clients where they can; returns the location of an unfinished upload."""
    crane, skopeo = peer("crane"), peer("skopeo")
    client = registry.client
    layout = layouts.write(folder / "layout", {"old": OLD, "many": TAGGED["team/app", "many"]})
    host = f"docker://{registry.host}"
    copy = ["--insecure-policy", "copy", "--all", "--dest-tls-verify=false"]
    skopeo(*copy, f"oci:{layout}:old", f"{host}/team/app:1.0")
    skopeo(*copy, f"oci:{layout}:many", f"{host}/team/app:many")
    crane("copy", f"{registry.host}/team/app:1.0", f"{registry.host}/team/app:latest")
    for (repository, tag), package in TAGGED.items():
        client.push(repository, tag, package)  # `latest` moves here
    crane("tag", f"{registry.host}/team/app:1.0", "removed")
    client.request("DELETE", "/v2/team/app/manifests/removed").expect(202)

    client.push_blob("team/blobs", content.digest_of(SHA512_BLOB, "sha512"), SHA512_BLOB)
    location = client.start_upload("team/uploads").location
    return client.patch(location, HALVES[0]).expect(202).location


def check(client: Client) -> None:
    """All that `write` wrote is there, and nothing else."""
    for (repository, tag), package in TAGGED.items():
        assert client.pull(repository, tag) == package.everything()
        assert client.pull(repository, package.manifest.digest) == package.everything()
    assert client.catalog() == client.catalog(page_size=1)
    assert sorted(client.catalog()) == sorted({repository for repository, _ in TAGGED})
    assert client.tags("team/app") == ["1.0", "latest", "many"]
    assert client.tags("team/docker") == ["list", "v2"]
    client.get("/v2/team/app/manifests/removed").expect(404)
    client.get(f"/v2/team/app/blobs/{TAGGED['team/app/inner', '1.0'].blobs[0].digest}").expect(404)
    assert client.pull_blob("team/blobs", content.digest_of(SHA512_BLOB, "sha512")) == SHA512_BLOB


def finish(client: Client, location: str) -> None:
    """The unfinished upload goes on where it stopped; its state token is good in the other registry too."""
    status = client.request("GET", location.partition("?")[0]).expect(204)
    assert status.header("Range") == f"0-{len(HALVES[0]) - 1}"
    data = b"".join(HALVES)
    client.finish_upload(location, content.digest_of(data), HALVES[1]).expect(201)
    assert client.pull_blob("team/uploads", content.digest_of(data)) == data


def test_directory_moves_from_one_to_the_other_and_back(
    pair: Pair, peer: Callable[[str], Peer], tmp_path: Path
) -> None:
    first = pair.first(pair.root)
    location = write(first, peer, tmp_path)
    check(first.client)
    first.stop()

    second = pair.second(pair.root)
    check(second.client)
    finish(second.client, location)
    later = content.multi_arch("written later")
    second.client.push("team/later", "1.0", later)
    second.client.push("team/app", "many", later)
    second.stop()

    again = pair.first(pair.root)
    assert again.client.pull("team/later", "1.0") == later.everything()
    assert again.client.pull("team/app", "many") == later.everything()
    assert again.client.pull("team/app", "latest") == NEW.everything()


def test_both_at_once_over_one_directory(pair: Pair) -> None:
    """A registry is replaced while it runs: what one does, the other knows at once."""
    one, other = pair.first(pair.root).client, pair.second(pair.root).client
    for number in range(5):
        package = content.multi_arch(f"round {number}")
        one.push("team/app", f"{number}", package)
        assert other.pull("team/app", f"{number}") == package.everything()
        one.push("team/app", "latest", package)
        assert other.pull("team/app", "latest") == package.everything()
        one, other = other, one
    assert one.tags("team/app") == other.tags("team/app") == ["0", "1", "2", "3", "4", "latest"]
    assert one.catalog() == other.catalog() == ["team/app"]

    one.request("DELETE", "/v2/team/app/manifests/0").expect(202)
    other.get("/v2/team/app/manifests/0").expect(404)
    last = content.multi_arch("round 4").manifest.digest
    one.request("DELETE", f"/v2/team/app/manifests/{last}").expect(202)
    assert other.tags("team/app") == ["1", "2", "3"]
    gone = content.multi_arch("round 1").children[0].blobs[0].digest
    one.request("DELETE", f"/v2/team/app/blobs/{gone}").expect(202)
    other.get(f"/v2/team/app/blobs/{gone}").expect(404)
