"""The URLs the registry calls itself by (reference, 1.3)."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from tests.wire.asgi import Client
from tests.wire.compositions import MEMORY, Composition, World
from tests.wire.conftest import OpenWorld
from tests.wire.content import digest
from tests.wire.world import APP, LAYER, WORLD

START = "/v2/app/blobs/uploads/"

VECTORS = [
    ({"X-Forwarded-Proto": "https"}, "https://example.com"),
    ({"X-Forwarded-Host": "first.example.com, proxy1"}, "http://first.example.com"),
    ({"X-Forwarded-Host": "  spaced.example.com  ,x"}, "http://spaced.example.com"),
    ({"X-Forwarded-Host": "h.example:8443", "X-Forwarded-Proto": "https"}, "https://h.example:8443"),
    ({"X-Forwarded-Port": "8443"}, "http://example.com"),
    ({"Forwarded": "for=127.0.0.1", "X-Forwarded-Proto": "https"}, "http://example.com"),
    ({"Forwarded": "for=127.0.0.1", "X-Forwarded-Host": "x.example"}, "http://example.com"),
    ({"Forwarded": 'proto=https;host="192.168.22.30:80"'}, "https://192.168.22.30:80"),
    ({"Forwarded": 'host="[2607:f0d0:1002:51::4]:4000"'}, "http://[2607:f0d0:1002:51::4]:4000"),
    ({"Forwarded": "PROTO=https; Host=a.example"}, "https://a.example"),
    ({"Forwarded": "for=a;proto=https;host=one.example, host=two.example"}, "https://one.example"),
    ({"Forwarded": "for=a, proto=https;host=two.example"}, "http://example.com"),
    ({"Forwarded": r'host="quo\ted.example"'}, "http://quoted.example"),
    # What is malformed is ignored, and so are the other headers then.
    ({"Forwarded": "proto=https;proto=http", "X-Forwarded-Proto": "ftp"}, "http://example.com"),
    ({"Forwarded": "proto", "X-Forwarded-Proto": "https"}, "http://example.com"),
    ({"Forwarded": 'host="unfinished'}, "http://example.com"),
    ({"Forwarded": "=https"}, "http://example.com"),
    ({"Forwarded": ""}, "http://example.com"),
    # What cannot stand in a URL is not put there.
    ({"X-Forwarded-Host": "evil.example/path?"}, "http://example.com"),
    ({"X-Forwarded-Host": "user@evil.example"}, "http://example.com"),
    ({"X-Forwarded-Proto": "java script"}, "http://example.com"),
    ({"Forwarded": 'host="a b"'}, "http://example.com"),
]


@pytest.mark.parametrize(("headers", "origin"), VECTORS, ids=[str(headers) for headers, _ in VECTORS])
async def test_vectors(empty: World, headers: dict[str, str], origin: str) -> None:
    answer = await empty.client.post(START, {"Host": "example.com", **headers})
    assert answer.expect(202).location.startswith(f"{origin}{START}")


async def test_only_the_first_line_of_forwarded_counts(empty: World) -> None:
    lines = [("Host", "example.com"), ("Forwarded", "proto=https"), ("Forwarded", "host=other.example")]
    answer = await empty.client.post(START, lines)
    assert answer.location.startswith(f"https://example.com{START}")


async def test_the_scheme_is_that_of_the_connection(empty: World) -> None:
    client = Client(empty.client.app, scheme="https")
    assert (await client.post(START, {"Host": "h:5000"})).location.startswith(f"https://h:5000{START}")


@pytest.mark.parametrize("headers", [{"X-Forwarded-Proto": "ftp"}, {"Forwarded": "host=x.example"}], ids=str)
@pytest.mark.parametrize(
    ("composition", "root"),
    [
        (replace(MEMORY, relative=True), "/v2/"),
        (replace(MEMORY, relative=True, prefix="/p"), "/p/v2/"),
        (replace(MEMORY, host="https://cdn.example"), "https://cdn.example/v2/"),
        (replace(MEMORY, host="https://cdn.example/dir/"), "https://cdn.example/dir/v2/"),
        (replace(MEMORY, host="https://cdn.example/dir/x"), "https://cdn.example/dir/v2/"),
        (replace(MEMORY, host="https://cdn.example/p/", prefix="/p"), "https://cdn.example/p/v2/"),
        (replace(MEMORY, host="https://cdn.example/", relative=True), "https://cdn.example/v2/"),
    ],
)
async def test_configured(
    open_world: OpenWorld, composition: Composition, root: str, headers: dict[str, str]
) -> None:
    place = await open_world(composition)
    answer = await place.client.post(f"{composition.prefix}{START}", headers)
    assert answer.location.startswith(f"{root}app/blobs/uploads/")


async def test_a_host_without_a_scheme_is_of_no_effect(open_world: OpenWorld) -> None:
    place = await open_world(replace(MEMORY, host="registry.example:5000"))
    answer = await place.client.post(START, {"Host": "example.com"})
    assert answer.location.startswith(f"http://example.com{START}")


async def test_outside_the_prefix_is_nothing(open_world: OpenWorld) -> None:
    place = await open_world(replace(MEMORY, prefix="/team"))
    for path in ("/v2/", "/team", "/teamv2/", "/team/v1/", "/teams/v2/", "/other/team/v2/"):
        answer = await place.client.get(path)
        assert (answer.status, answer.body) == (404, b"404 page not found\n"), path
    (await place.client.get("/")).expect(200)
    (await place.client.get("/team/v2/")).expect(200)


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/team//v2/", "/team/v2/"),
        ("//team/v2/", "/team/v2/"),
        ("/x/../team/v2/", "/team/v2/"),
        ("/team/../v2/", "/v2/"),
    ],
)
async def test_the_whole_path_is_cleaned(open_world: OpenWorld, path: str, location: str) -> None:
    place = await open_world(replace(MEMORY, prefix="/team"))
    assert (await place.client.get(path)).expect(301).location == location


async def test_a_redirect_stays_on_this_host(empty: World) -> None:
    for path in ("//evil.example/v2/", "///evil.example//v2/", "/v2/..//evil.example/v2/"):
        location = (await empty.client.send("GET", path)).expect(301).location
        assert location.startswith("/")
        assert not location.startswith("//")


@pytest.mark.parametrize(
    "header", ["Forwarded", "If-None-Match", "If-Match", "Accept", "Range", "If-Range", "X-Forwarded-Host"]
)
@pytest.mark.parametrize(
    "value", ["x" + " " * 700 + '"', "a=" + '"\\' * 3000, ",;=" * 4000, '"' * 8000, "bytes=" + "," * 8000]
)
async def test_no_header_takes_long(open_world: OpenWorld, header: str, value: str) -> None:
    """Some of these patterns are tried at each place of a header: their time must not grow with its cube."""
    place = await open_world(MEMORY, WORLD.files)
    begun = time.perf_counter()
    for target in (f"/v2/{APP}/blobs/{digest(LAYER)}", f"/v2/{APP}/manifests/oci"):
        answer = await place.client.get(target, {header: value})
        assert answer.status < 500
    assert time.perf_counter() - begun < 1.0
