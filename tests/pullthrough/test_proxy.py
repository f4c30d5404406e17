"""One upstream for everything, as the original's `proxy`: what is asked, what is kept, what is served when."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pullthrough.conftest import NAME
from tests.pullthrough.upstream import Between, Fault
from tests.servers import content
from tests.servers.content import Package
from tests.servers.process import Config, Registry, StartRegistry
from tests.servers.serving import FOUR_WORKERS, ONE_WORKER, Serving

from lading.registry.fill import AHEAD_BYTES
from lading.registry.pullthrough import PATIENCE_SECONDS

pytestmark = [pytest.mark.peer, pytest.mark.timeout(90)]


def proxy(upstream: Between | Registry, **more: object) -> Config:
    return {"proxy": {"remoteurl": f"http://{upstream.host}", **more}}


def layer(package: Package) -> content.Content:
    return package.blobs[-1]


def stored(registry: Registry, digest: str) -> bool:
    return any(registry.root.glob(f"docker/registry/v2/blobs/sha256/*/{digest.partition(':')[2]}/data"))


def until(true: object, seconds: float = 20.0) -> None:
    """Wait for what another process does by itself."""
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_was_pulled_is_served_when_the_upstream_is_gone(
    start_lading: StartRegistry, upstream: Between, origin: Registry, package: Package
) -> None:
    cache = start_lading(extra=proxy(upstream))
    assert cache.client.pull(NAME, "1.0") == package.everything()
    assert cache.client.tags(NAME) == ["1.0"]
    assert cache.client.catalog() == [NAME]
    assert upstream.asked("/blobs/") == len(package.blobs)
    origin.stop()
    assert cache.client.pull(NAME, "1.0") == package.everything()
    assert cache.client.tags(NAME) == ["1.0"]
    assert cache.client.get(f"/v2/{NAME}/manifests/2.0").expect(503).json()["errors"][0]["code"] == "UNAVAILABLE"


def test_nothing_can_be_pushed_or_deleted(
    start_lading: StartRegistry, upstream: Between, package: Package
) -> None:
    cache = start_lading(extra=proxy(upstream))
    cache.client.pull(NAME, "1.0")
    manifest = f"/v2/{NAME}/manifests/{package.manifest.digest}"
    blob = f"/v2/{NAME}/blobs/{layer(package).digest}"
    uploads = f"/v2/{NAME}/blobs/uploads/"
    asked = [("POST", uploads), ("POST", f"{uploads}?mount={layer(package).digest}&from=a/b")]
    asked += [("DELETE", manifest), ("DELETE", f"/v2/{NAME}/manifests/1.0"), ("DELETE", blob)]
    asked += [("DELETE", f"/v2/{NAME}/_lading/repository")]
    for method, target in asked:
        assert cache.client.request(method, target).expect(405).json()["errors"][0]["code"] == "UNSUPPORTED"
    cache.client.put_manifest(NAME, "2.0", package.manifest).expect(405)
    assert cache.client.pull(NAME, "1.0") == package.everything()


def test_an_upstream_that_is_down_at_the_start_may_come_later(
    start_lading: StartRegistry, start_distribution: StartRegistry, upstream: Between, package: Package
) -> None:
    target, upstream.target = upstream.target, "127.0.0.1:1"
    cache = start_lading(extra=proxy(upstream))
    assert cache.client.get(f"/v2/{NAME}/manifests/1.0").status in {502, 503}
    upstream.target = target
    assert cache.client.pull(NAME, "1.0") == package.everything()


def test_only_what_is_asked_for_is_fetched(
    start_lading: StartRegistry, upstream: Between, origin: Registry
) -> None:
    many = content.multi_arch("many")
    origin.client.push(NAME, "many", many)
    cache = start_lading(extra=proxy(upstream))
    wanted = many.children[0]
    cache.client.get(f"/v2/{NAME}/manifests/many").expect(200)
    big = wanted.blobs[-1]
    head = cache.client.request("HEAD", f"/v2/{NAME}/blobs/{big.digest}").expect(200)
    assert head.header("Content-Length") == str(len(big.data))
    assert not stored(cache, big.digest)
    cache.client.pull(NAME, wanted.manifest.digest)
    unwanted = {blob.digest for blob in many.children[1].blobs} - {blob.digest for blob in wanted.blobs}
    assert [digest for digest in unwanted if stored(cache, digest)] == []


def test_a_tag_is_asked_about_again_after_its_interval(
    start_lading: StartRegistry, upstream: Between, origin: Registry, package: Package
) -> None:
    always = start_lading(extra=proxy(upstream))
    seldom = start_lading(extra=proxy(upstream, interval="1h"))
    for cache in (always, seldom):
        cache.client.pull(NAME, "1.0")
    newer = content.image("newer")
    origin.client.push(NAME, "1.0", newer)
    assert always.client.pull(NAME, "1.0") == newer.everything()
    assert seldom.client.pull(NAME, "1.0") == package.everything()


def test_misses_are_remembered_and_retry_after_is_obeyed(start_lading: StartRegistry, upstream: Between) -> None:
    cache = start_lading(extra=proxy(upstream, misses="1h"))
    for _ in range(12):
        cache.client.get(f"/v2/{NAME}/manifests/none").expect(404)
    workers = len(os.sched_getaffinity(0))
    assert upstream.asked("/manifests/none", "HEAD") <= workers
    cache.client.get(f"/v2/{NAME}/manifests/1.0").expect(200)
    upstream.fault("/v2/", Fault(429, {"Retry-After": "600"}))
    refused = [cache.client.get(f"/v2/{NAME}/manifests/other{n}").expect(429) for n in range(12)]
    assert all(590 <= int(answer.header("Retry-After")) <= 600 for answer in refused)
    assert upstream.asked("/manifests/other", "HEAD") <= workers
    # What is cached goes out all the same.
    cache.client.get(f"/v2/{NAME}/manifests/1.0").expect(200)


@pytest.mark.parametrize("serving", [ONE_WORKER])  # each process finds out by itself
def test_a_slow_upstream_is_not_waited_for(
    start_lading: StartRegistry, upstream: Between, package: Package
) -> None:
    """What is cached is served after some seconds; then, for a while, at once."""
    cache = start_lading(extra=proxy(upstream))
    cache.client.pull(NAME, "1.0")
    gate = threading.Event()
    upstream.fault("/manifests/", Fault(gate=gate))
    took = []
    for _ in range(2):
        begun = time.monotonic()
        answer = cache.client.get(f"/v2/{NAME}/manifests/1.0").expect(200)
        assert answer.header("Docker-Content-Digest") == package.manifest.digest
        took.append(time.monotonic() - begun)
    gate.set()
    assert max(took) < PATIENCE_SECONDS + 5
    assert min(took) < PATIENCE_SECONDS / 2


HTML = Fault(200, {"Content-Type": "text/html"}, b"<html>Sign in to the network</html>")


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        ("/blobs/", Fault(after=1000)),
        ("/blobs/", Fault(flip=True)),
        ("/blobs/", Fault(length=7)),
        ("/blobs/", Fault(length=-7)),
        ("/blobs/", HTML),
        ("/blobs/", Fault(500)),
        ("/blobs/", Fault(503, {"Retry-After": "0"})),
        ("/manifests/", HTML),
        ("/manifests/sha256", Fault(flip=True)),
        ("/manifests/", Fault(500)),
    ],
    ids=["dies", "lies", "long", "short", "html", "500", "503", "manifest-html", "manifest-lies", "manifest-500"],
)
def test_nothing_wrong_is_served_or_kept(
    start_lading: StartRegistry, upstream: Between, package: Package, part: str, fault: Fault
) -> None:
    cache = start_lading(extra=proxy(upstream))
    blob = layer(package)
    upstream.fault(part, fault)
    if part == "/blobs/":
        connection = cache.client.connect()
        connection.request("GET", f"/v2/{NAME}/blobs/{blob.digest}")
        try:
            answer = connection.getresponse()
            whole = answer.read()
        except (http.client.HTTPException, OSError):
            pass  # broken off, as it should
        else:
            assert answer.status in {502, 503}, whole[:500]
            assert json.loads(whole)["errors"][0]["code"] == "UNAVAILABLE"
        connection.close()
        assert not stored(cache, blob.digest)
    else:
        assert cache.client.get(f"/v2/{NAME}/manifests/1.0").status in {502, 503}
    upstream.well()
    assert cache.client.pull(NAME, "1.0") == package.everything()


def test_a_page_for_people_has_no_size(start_lading: StartRegistry, upstream: Between, package: Package) -> None:
    cache = start_lading(extra=proxy(upstream))
    upstream.fault("/blobs/", HTML)
    assert cache.client.request("HEAD", f"/v2/{NAME}/blobs/{layer(package).digest}").status == 502


def test_a_part_far_ahead_is_not_waited_for(
    start_lading: StartRegistry, upstream: Between, origin: Registry
) -> None:
    image = content.image("far", layer_sizes=(AHEAD_BYTES * 2,))
    origin.client.push(NAME, "far", image)
    cache, blob, gate = start_lading(extra=proxy(upstream)), layer(image), threading.Event()
    upstream.fault("/blobs/", Fault(after=1_000_000, gate=gate), times=1)
    for span, wanted in (
        ("bytes=-200000", blob.data[-200_000:]),
        ("bytes=12000000-12000099", blob.data[12_000_000:12_000_100]),
        ("bytes=10-19", blob.data[10:20]),
    ):
        got = cache.client.get(f"/v2/{NAME}/blobs/{blob.digest}", Range=span).expect(206)
        assert got.body == wanted
    assert not stored(cache, blob.digest)
    gate.set()
    assert cache.client.pull_blob(NAME, blob.digest) == blob.data


def test_a_download_that_broke_off_is_continued(
    start_lading: StartRegistry, upstream: Between, package: Package
) -> None:
    cache = start_lading(extra=proxy(upstream))
    blob = layer(package)
    upstream.fault(blob.digest, Fault(after=1_000_000), times=1)
    assert cache.client.pull_blob(NAME, blob.digest) == blob.data
    assert upstream.sent[f"/v2/{NAME}/blobs/{blob.digest}"] == len(blob.data)


class TestManyWorkers:
    @pytest.fixture
    def serving(self) -> Serving:
        return FOUR_WORKERS

    @pytest.fixture
    def stack(self) -> Iterator[contextlib.ExitStack]:
        with contextlib.ExitStack() as stack:
            yield stack

    def test_all_share_one_download_and_nobody_waits_for_its_end(
        self, start_lading: StartRegistry, upstream: Between, package: Package, stack: contextlib.ExitStack
    ) -> None:
        cache = start_lading(extra=proxy(upstream))
        blob, gate = layer(package), threading.Event()
        upstream.fault(blob.digest, Fault(after=1_500_000, gate=gate))
        target = f"/v2/{NAME}/blobs/{blob.digest}"
        answers = []
        for _ in range(12):
            connection = stack.enter_context(contextlib.closing(cache.client.connect()))
            connection.request("GET", target)
            answers.append(stack.enter_context(connection.getresponse()))
        # The upstream has sent half, and stands still: everybody has that half, late comers and ranges too.
        for answer in answers:
            assert answer.read(1_400_000) == blob.data[:1_400_000]
        part = cache.client.get(target, Range="bytes=700000-700099").expect(206)
        assert part.body == blob.data[700_000:700_100]
        for answer in answers[:6]:
            answer.close()
        gate.set()
        for answer in answers[6:]:
            assert answer.read() == blob.data[1_400_000:]
        assert upstream.sent[target] == len(blob.data)
        assert upstream.asked(target) == 1

    def test_nobody_waits_and_it_is_finished_all_the_same(
        self, start_lading: StartRegistry, upstream: Between, package: Package
    ) -> None:
        cache = start_lading(extra=proxy(upstream))
        blob, gate = layer(package), threading.Event()
        upstream.fault(blob.digest, Fault(after=100_000, gate=gate))
        connection = cache.client.connect()
        connection.request("GET", f"/v2/{NAME}/blobs/{blob.digest}")
        assert connection.getresponse().read(1000) == blob.data[:1000]
        connection.close()
        gate.set()
        until(lambda: stored(cache, blob.digest))
        assert cache.client.pull_blob(NAME, blob.digest) == blob.data

    def test_after_a_crash_it_goes_on_where_it_was(
        self, start_lading: StartRegistry, upstream: Between, package: Package
    ) -> None:
        cache = start_lading(extra=proxy(upstream))
        blob, gate = layer(package), threading.Event()
        target = f"/v2/{NAME}/blobs/{blob.digest}"
        upstream.fault(blob.digest, Fault(after=1_500_000, gate=gate))
        connection = cache.client.connect()
        connection.request("GET", target)
        assert connection.getresponse().read(1_400_000) == blob.data[:1_400_000]
        until(lambda: any(p.stat().st_size == 1_500_000 for p in cache.root.rglob("_uploads/*/data")))
        cache.kill()
        connection.close()
        upstream.well()
        upstream.sent.clear()
        again = start_lading(root=cache.root, extra=proxy(upstream))
        assert again.client.pull_blob(NAME, blob.digest) == blob.data
        assert upstream.sent[target] == len(blob.data) - 1_500_000
        until(lambda: not list(again.root.rglob("_uploads/*/data")))


def test_a_cache_of_the_original_goes_there_and_back(
    start_lading: StartRegistry,
    start_distribution: StartRegistry,
    upstream: Between,
    package: Package,
    tmp_path: Path,
) -> None:
    root = tmp_path / "cache"
    drained = {"http": {"draintimeout": "1s"}}
    theirs = start_distribution(root=root, extra={**proxy(upstream), **drained})
    theirs.client.pull(NAME, "1.0")
    state = root / "scheduler-state.json"
    theirs.stop()
    written = json.loads(state.read_text())
    upstream.requests.clear()
    ours = start_lading(root=root, extra=proxy(upstream))
    assert ours.client.pull(NAME, "1.0") == package.everything()
    assert upstream.asked("/blobs/") == 0
    ours.stop()
    rewritten = json.loads(state.read_text())
    assert {key: entry["EntryType"] for key, entry in rewritten.items()} == {
        key: entry["EntryType"] for key, entry in written.items()
    }
    assert {key: entry["Key"] for key, entry in rewritten.items()} == {key: key for key in written}
    back = start_distribution(root=root, extra={**proxy(upstream), **drained})
    upstream.requests.clear()
    assert back.client.pull(NAME, "1.0") == package.everything()
    assert upstream.asked("/blobs/") == 0


def test_what_is_too_old_goes(start_lading: StartRegistry, upstream: Between, package: Package) -> None:
    cache = start_lading(extra={**proxy(upstream, ttl="2s"), "storage": {"delete": {"enabled": False}}})
    assert cache.client.pull(NAME, "1.0") == package.everything()
    until(lambda: not any(stored(cache, digest) for digest in package.everything()), 30)
    assert cache.client.pull(NAME, "1.0") == package.everything()


def test_memory_expires_too(start_lading: StartRegistry, upstream: Between, package: Package) -> None:
    storage = {"filesystem": None, "inmemory": {}}
    cache = start_lading(extra={**proxy(upstream, ttl="1s"), "storage": storage})
    cache.client.pull(NAME, "1.0")
    target, upstream.target = upstream.target, "127.0.0.1:1"
    until(lambda: cache.client.get(f"/v2/{NAME}/manifests/{package.manifest.digest}").status != 200)
    upstream.target = target
    assert cache.client.pull(NAME, "1.0") == package.everything()


def test_chained_caches(start_lading: StartRegistry, upstream: Between, package: Package) -> None:
    near = start_lading(extra=proxy(upstream))
    far = start_lading(extra=proxy(near))
    assert far.client.pull(NAME, "1.0") == package.everything()
    assert far.client.tags(NAME) == ["1.0"]


def test_figures(start_lading: StartRegistry, upstream: Between, package: Package) -> None:
    upstream.fault("/manifests/2", Fault(429, {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "7;w=1"}))
    debug = {"addr": "127.0.0.1:0", "prometheus": {"enabled": True}}
    cache = start_lading(extra={**proxy(upstream), "http": {"debug": debug}})
    for _ in range(2):
        cache.client.pull(NAME, "1.0")
        until(lambda: all(stored(cache, blob.digest) for blob in package.blobs))
    cache.client.get(f"/v2/{NAME}/manifests/2")
    lines = cache.debug().get("/metrics").expect(200).body.decode().splitlines()
    blobs, size = len(package.blobs), sum(len(blob.data) for blob in package.blobs)
    expected = {
        'registry_proxy_requests_total{type="blob"}': 2 * blobs,
        'registry_proxy_hits_total{type="blob"}': blobs,
        'registry_proxy_misses_total{type="blob"}': blobs,
        'registry_proxy_pulled_bytes_total{type="blob"}': size,
        'registry_proxy_pushed_bytes_total{type="blob"}': 2 * size,
        'registry_proxy_misses_total{type="manifest"}': 1,
        'registry_proxy_hits_total{type="manifest"}': 1,
        f'lading_upstream_ratelimit_remaining{{upstream="{upstream.host}"}}': 7,
    }
    shown = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}
    assert {name: shown.get(name) for name in expected} == expected
