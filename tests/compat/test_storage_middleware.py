"""The same middleware in the same file: both registries send clients to the same place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.servers import content
from tests.servers.client import Client
from tests.servers.process import Registry, StartRegistry
from tests.servers.versitygw import Gateway, gateway

pytestmark = pytest.mark.peer

DATA = content.noise("layer", 300_000)
DIGEST = content.digest_of(DATA)
BLOB = f"/v2/team/app/blobs/{DIGEST}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path / "store") as running:
        yield running


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    key = rsa.generate_private_key(65537, 2048)
    kind = serialization.PrivateFormat.TraditionalOpenSSL
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))
    return path


def configured(elements: list[dict[str, Any]], store: Gateway | None = None) -> dict[str, Any]:
    extra: dict[str, Any] = {"middleware": {"storage": elements}}
    if store is not None:
        extra["storage"] = {"filesystem": None, "s3": store.parameters(rootdirectory="/registry")}
    return extra


def sent_to(registry: Registry, method: str) -> tuple[int, str]:
    """Without what depends on the second."""
    answer = registry.client.request(method, BLOB)
    location = answer.headers.get("Location", "")
    return answer.status, re.sub(r"(?<=Expires=)\d+|(?<=Signature=)[^&]+|(?<=X-Amz-Date=)\w+", "…", location)


REDIRECT = {"name": "redirect", "options": {"baseurl": "https://user@cdn.example:8443/base/%20x+//?q=1"}}
REWRITE = {"name": "rewrite", "options": {"scheme": "http", "host": "b.example", "trimpathprefix": "/base"}}


@pytest.mark.parametrize("elements", [[REDIRECT], [REDIRECT, REWRITE], [REWRITE, REDIRECT]], ids=["1", "2", "3"])
def test_over_a_directory(
    elements: list[dict[str, Any]],
    tmp_path: Path,
    start_lading: StartRegistry,
    start_distribution: StartRegistry,
) -> None:
    extra = configured(elements)
    ours, theirs = (start(tmp_path / "data", extra) for start in (start_lading, start_distribution))
    ours.client.push_blob("team/app", DIGEST, DATA)
    for method in ("GET", "HEAD"):
        found = sent_to(ours, method)
        assert found == sent_to(theirs, method)
        assert found[0] == 307


def test_over_s3(
    store: Gateway, key_file: Path, start_lading: StartRegistry, start_distribution: StartRegistry
) -> None:
    options = {"baseurl": "cdn.example/x", "privatekey": str(key_file), "keypairid": "PAIR", "duration": "10m"}
    bucket = {"name": "rewrite", "options": {"host": "bucket.example", "trimpathprefix": "/bucket"}}
    for elements in ([{"name": "cloudfront", "options": options}], [bucket]):
        extra = configured(elements, store)
        ours, theirs = (start(extra=extra) for start in (start_lading, start_distribution))
        ours.client.push_blob("team/app", DIGEST, DATA)
        found = sent_to(ours, "GET")
        theirs_sent = sent_to(theirs, "GET")
        assert found[0] == theirs_sent[0] == 307
        if elements[0] is bucket:  # the SDKs sign with other parameters
            found, theirs_sent = [(each[0], each[1].partition("?")[0]) for each in (found, theirs_sent)]
            assert found[1].startswith("http://bucket.example/registry/docker/")
        else:
            assert found[1].startswith("https://cdn.example/x/registry/docker/registry/v2/blobs/sha256/")
        assert found == theirs_sent


def test_a_client_follows_and_disable_keeps_its_meaning(
    store: Gateway, tmp_path: Path, start_lading: StartRegistry
) -> None:
    extra = configured([{"name": "redirect", "options": {"baseurl": f"http://{store.host}/public/%2e"}}])
    registry = start_lading(extra=extra)
    registry.client.push_blob("team/app", DIGEST, DATA)
    location = registry.client.get(BLOB).expect(307)
    assert location.header("Location").startswith(f"http://{store.host}/public/docker/registry/v2/blobs/")
    extra["storage"] = {"redirect": {"disable": True}}
    assert start_lading(registry.root, extra).client.pull_blob("team/app", DIGEST) == DATA

    presigned = start_lading(extra=configured([{"name": "rewrite", "options": {"scheme": "http"}}], store))
    presigned.client.push_blob("team/app", DIGEST, DATA)
    answer = presigned.client.get(BLOB).expect(307)
    assert Client(store.host).request("GET", answer.location).expect(200).body == DATA


def test_a_disk_cache_over_s3(store: Gateway, tmp_path: Path, start_lading: StartRegistry) -> None:
    """Workers share it, it survives `kill -9`, and what is deleted is not served."""
    cache = {"name": "diskcache", "options": {"directory": str(tmp_path / "cache"), "size": "1MB"}}
    extra = configured([cache], store) | {
        "http": {"debug": {"addr": "127.0.0.1:0", "prometheus": {"enabled": True}}}
    }
    extra["storage"]["delete"] = {"enabled": True}
    registry = start_lading(extra=extra)
    client = registry.client
    blobs = {content.digest_of(data): data for data in (content.noise(f"{n}", 300_000) for n in range(5))}
    for digest, data in blobs.items():
        client.push_blob("team/app", digest, data)
    for _ in range(3):
        for digest in blobs:
            client.pull_blob("team/app", digest)
    first = next(iter(blobs))
    for _ in range(3):
        client.pull_blob("team/app", first)
    part = client.get(f"/v2/team/app/blobs/{first}", Range="bytes=1000-200000").expect(206)
    assert part.body == blobs[first][1000:200_001]
    files = [path for path in (tmp_path / "cache/blobs").rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in files) <= 1_000_000
    text = registry.debug().request("GET", "/metrics").expect(200).body.decode()
    figures = dict(re.findall(r"(?m)^lading_disk_cache_(\w+)_total ([\d.]+)$", text))
    assert float(figures["hits"]) >= 1
    assert float(figures["misses"]) >= 5
    assert float(figures["evictions"]) >= 2
    assert float(figures["hit_bytes"]) >= 300_000
    assert float(figures["failures"]) == 0

    registry.kill()
    again = start_lading(extra=extra)
    assert again.client.pull_blob("team/app", first) == blobs[first]
    data_file = next((store.folder / "bucket").rglob(f"{first.partition(':')[2]}/data"))
    data_file.unlink()
    again.client.get(f"/v2/team/app/blobs/{first}").expect(404)
