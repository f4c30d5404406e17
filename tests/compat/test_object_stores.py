"""Content in an object store written by one registry is served by the other, byte for byte."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.compat.conftest import Pair
from tests.servers import content, layouts
from tests.servers.object_stores import STORES
from tests.servers.peers import Peer
from tests.servers.process import StartRegistry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]

Storage = dict[str, Any]


@pytest.fixture
def store() -> str:
    return "azure"


@pytest.fixture
def stored(store: str, tmp_path: Path) -> Iterator[Storage]:
    with STORES[store](tmp_path) as section:
        yield {"storage": {store: section, "redirect": {"disable": True}}}


@pytest.mark.parametrize("store", sorted(STORES))
def test_clients_push_and_pull(
    stored: Storage, start_lading: StartRegistry, peer: Callable[[str], Peer], tmp_path: Path
) -> None:
    """With redirects, so that the blobs come from the store itself."""
    stored["storage"]["redirect"] = {"disable": False}
    registry = start_lading(extra=stored)
    package = content.image("pushed")
    layout = layouts.write(tmp_path / "layout", {"image": package})
    skopeo, crane = peer("skopeo"), peer("crane")
    host = f"docker://{registry.host}/team/app"
    skopeo("--insecure-policy", "copy", "--dest-tls-verify=false", f"oci:{layout}:image", f"{host}:1.0")
    crane("copy", f"{registry.host}/team/app:1.0", f"{registry.host}/team/copied:2.0")
    crane("validate", "--remote", f"{registry.host}/team/copied:2.0")
    assert registry.client.catalog() == ["team/app", "team/copied"]

    blob = package.blobs[0]
    answer = registry.client.get(f"/v2/team/app/blobs/{blob.digest}").expect(307)
    with urllib.request.urlopen(answer.header("Location"), timeout=30) as response:
        assert response.read() == blob.data


def test_content_moves_from_one_to_the_other(stored: Storage, pair: Pair) -> None:
    first, second = pair.first(extra=stored).client, pair.second(extra=stored).client
    old, new = content.multi_arch("old"), content.image("new")
    first.push("team/app", "1.0", old)
    assert second.pull("team/app", "1.0") == old.everything()
    second.push("team/app", "1.0", new)
    second.push("team/other", "latest", old)
    assert first.pull("team/app", "1.0") == new.everything()
    assert first.tags("team/app") == second.tags("team/app") == ["1.0"]
    assert first.catalog() == second.catalog() == ["team/app", "team/other"]
    first.request("DELETE", "/v2/team/app/manifests/1.0").expect(202)
    assert second.request("GET", "/v2/team/app/manifests/1.0").status == 404


def test_an_upload_goes_on_in_the_other(stored: Storage, pair: Pair) -> None:
    first, second = pair.first(extra=stored).client, pair.second(extra=stored).client
    halves = content.noise("first half", 700_000), content.noise("second half", 30_000)
    location = first.patch(first.start_upload("team/app").location, halves[0]).expect(202).location
    second.finish_upload(location, content.digest_of(b"".join(halves)), halves[1]).expect(201)
    assert first.pull_blob("team/app", content.digest_of(b"".join(halves))) == b"".join(halves)


@pytest.mark.parametrize("store", ["gcs"])
def test_the_original_reads_what_is_written(
    stored: Storage, start_lading: StartRegistry, start_distribution: StartRegistry
) -> None:
    """It cannot write: where it begins a session is fixed in its source, whatever the emulator's address."""
    mine, theirs = start_lading(extra=stored).client, start_distribution(extra=stored).client
    package, large = content.multi_arch("old"), content.noise("large", 3_000_000)
    mine.push("team/app", "1.0", package)
    mine.push_blob("team/app", content.digest_of(large), large)
    assert theirs.pull("team/app", "1.0") == mine.pull("team/app", "1.0") == package.everything()
    assert theirs.pull_blob("team/app", content.digest_of(large)) == large
    assert theirs.tags("team/app") == mine.tags("team/app") == ["1.0"]
    assert theirs.catalog() == mine.catalog() == ["team/app"]
