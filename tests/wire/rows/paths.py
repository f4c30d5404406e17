"""The base endpoint, paths that lead nowhere or elsewhere, and methods (reference, 1.2, 1.5, 1.14)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.wire.compositions import Composition
from tests.wire.content import digest
from tests.wire.table import JSON, METHOD_NOT_ALLOWED, PLAIN, Row, refusal
from tests.wire.world import APP, LAYER

NOWHERE = "404 page not found\n"
SESSION = "0190d7a0-0000-7000-8000-000000000000"
LONGEST = "/".join(["component" * 5] * 6)[:255].rstrip("/")


def rows() -> Iterator[Row]:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "FROBNICATE"):
        yield Row(method, "/", 200, {"Cache-Control": "no-cache"}, kind="any", routed=False, absolute=True)
        yield Row(method, "/v2/", 200, {"Content-Type": JSON, "Content-Length": "2"}, b"{}", kind="any")
    yield from _nowhere()
    yield from _moved()
    yield from _names()
    yield from _greedy()
    yield from _methods()


def _nowhere() -> Iterator[Row]:
    for path in [
        "/v1/",
        "/v3/",
        "/v2/a",
        "/v22/",
        "/favicon.ico",
        "/v2/_catalogue",
        "/v2/_oci/ext/discover",
        "/v2/a/tags",
        "/v2/a/tags/list/more",
        "/v2/a/manifests/",
        "/v2/a/manifests/-dash",
        "/v2/a/manifests/.dot",
        "/v2/a/manifests/" + "t" * 129,
        "/v2/a/manifests/sha256:",
        "/v2/a/manifests/UPPER:00",
        "/v2/a/manifests/two:co:lons",
        "/v2/a/manifests/t%C3%A4g",
        "/v2/a/manifests/line%0A",
        "/v2/a/blobs/",
        "/v2/a/blobs/latest",
        "/v2/a/blobs/sha256:%0A",
        "/v2/a/referrers/latest",
        "/v2/a/blobs/uploads/%24",
        "/v2/blobs/uploads/",
        "/v2/manifests/latest",
        "/v2/tags/list",
        "/v2/_a/tags/list",
        "/v2/a_/tags/list",
        "/v2/a/_b/tags/list",
        "/v2/a/B/tags/list",
        "/v2/a..b/tags/list",
        "/v2/a___b/tags/list",
        "/v2/a._b/tags/list",
        "/v2/-a/tags/list",
        "/v2/%C3%A4/tags/list",
        "/v2/a%20b/tags/list",
        "/v2/a%0A/tags/list",
        "/v2/a%00/tags/list",
    ]:
        yield Row("GET", path, 404, PLAIN, NOWHERE, kind="any", routed=False)
    yield Row("DELETE", "/v2/nothing", 404, PLAIN, NOWHERE, kind="any", routed=False)


def _moved() -> Iterator[Row]:
    for path, location in [
        ("/v2", "/v2/"),
        ("/v2/_catalog/", "/v2/_catalog"),
        ("/v2/_catalog/?n=1&last=a%2F1", "/v2/_catalog?n=1&last=a%2F1"),
        (f"/v2/{APP}/tags/list/", f"/v2/{APP}/tags/list"),
        (f"/v2/{APP}/manifests/oci/", f"/v2/{APP}/manifests/oci"),
        (f"/v2/{APP}/blobs/{digest(LAYER)}/", f"/v2/{APP}/blobs/{digest(LAYER)}"),
        (f"/v2/{APP}/referrers/{digest(LAYER)}/", f"/v2/{APP}/referrers/{digest(LAYER)}"),
        (f"/v2/{APP}/blobs/uploads", f"/v2/{APP}/blobs/uploads/"),
        (f"/v2/{APP}/blobs/uploads/{SESSION}/", f"/v2/{APP}/blobs/uploads/{SESSION}"),
        ("/v2//a/tags/list", "/v2/a/tags/list"),
        ("/v2/a//tags///list", "/v2/a/tags/list"),
        ("/v2/./a/tags/list", "/v2/a/tags/list"),
        ("/v2/x/../a/tags/list?n=2", "/v2/a/tags/list?n=2"),
        ("/v2/a/tags/list/.", "/v2/a/tags/list"),
        ("/v2//", "/v2/"),
        ("/v2/x/%2E%2E/%2E%2E/v2/", "/v2/"),
    ]:
        yield Row("GET", path, 301, {"Location": f"$PREFIX{location}"}, kind="any", routed=False)
    yield Row(
        "POST", "/v2/a/blobs/uploads", 301, {"Location": "$PREFIX/v2/a/blobs/uploads/"}, kind="any", routed=False
    )
    yield Row("PUT", "/v2//a/manifests/b", 301, {"Location": "$PREFIX/v2/a/manifests/b"}, kind="any", routed=False)


def _names() -> Iterator[Row]:
    def invalid(name: str, note: str = "") -> Row:
        body = re.compile(
            r'\{"errors":\[\{"code":"NAME_INVALID","message":"invalid repository name","detail":".*"\}\]\}\n'
        )
        return Row("GET", f"/v2/{name}/tags/list", 400, {"Content-Type": JSON}, body, note=note)

    def unknown(name: str) -> Row:
        return refusal("GET", f"/v2/{name}/tags/list", 404, "NAME_UNKNOWN", {"name": name})

    yield invalid("a" * 256, "256 characters")
    yield invalid("a/" * 200 + "a", "401 characters")
    yield invalid("localhost:5000/foo")
    yield invalid("[::1]/foo")
    yield invalid("[::1]:5000/foo")
    yield unknown("a" * 255)
    yield unknown(LONGEST)
    # The limit is on what follows the optional domain.
    yield unknown("registry.example/" + "b" * 255)
    yield unknown("Upper/case")
    yield unknown("Registry.Example/a__b/c--d/e.f")
    yield Row(
        "GET",
        "/v2/Mixed.Case%2Fapp/tags/list",
        200,
        {"Content-Type": JSON},
        '{"name":"Mixed.Case/app","tags":["latest"]}\n',
    )


def _greedy() -> Iterator[Row]:
    yield refusal("GET", "/v2/foo/bar/manifests/tags/list", 404, "NAME_UNKNOWN", {"name": "foo/bar/manifests"})
    yield refusal("GET", "/v2/foo/bar/manifests/manifests/tags", 404, "MANIFEST_UNKNOWN", "unknown tag=tags")
    yield refusal("GET", "/v2/a/blobs/uploads/tags/list", 404, "NAME_UNKNOWN", {"name": "a/blobs/uploads"})


def _methods() -> Iterator[Row]:
    reads = "GET, HEAD"
    uploads = "DELETE, GET, HEAD, PATCH, POST, PUT"
    for path, allowed in [
        ("/v2/_catalog", reads),
        (f"/v2/{APP}/tags/list", reads),
        (f"/v2/{APP}/referrers/{digest(LAYER)}", reads),
        (f"/v2/{APP}/manifests/oci", "DELETE, GET, HEAD, PUT"),
        (f"/v2/{APP}/blobs/{digest(LAYER)}", "DELETE, GET, HEAD"),
        (f"/v2/{APP}/blobs/uploads/", uploads),
        (f"/v2/{APP}/blobs/uploads/{SESSION}", uploads),
    ]:

        def allow(composition: Composition, allowed: str = allowed) -> str:
            return reads if composition.read_only else allowed

        for method in ("POST", "TRACE", "get", "COPY"):
            if method not in allowed.split(", "):
                yield Row(method, path, 405, {**PLAIN, "Allow": allow}, METHOD_NOT_ALLOWED, kind="any")
        yield Row("OPTIONS", path, 200, {"Allow": allow}, kind="any")
