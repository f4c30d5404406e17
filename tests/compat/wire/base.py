"""Rows for what lies around repositories: base, catalog, tags, names, unknown paths, methods, slashes."""

from __future__ import annotations

from tests.compat.wire.table import Case, Difference, Expected
from tests.compat.wire.world import BLOB_DIGEST

PAGE_NOT_FOUND = "404 page not found\n"
LONG_NAME = "a" * 256


def moved(target: str, location: str, method: str = "GET") -> Case:
    """A redirect to the path without, or with, its trailing slash: Go adds a little page for browsers."""
    wanted = Expected(301, headers={"Location": location})
    ours = Expected(301, headers={"Location": location, "Content-Length": "0"})
    return Case(method, target, differs=Difference("§1.2", wanted, ours))


def no_head(method: str, target: str) -> Case:
    """A refusal that tells the methods there are, which in Lading HEAD is one of."""
    status = 200 if method == "OPTIONS" else 405
    wanted = Expected(status, headers={"Allow": "GET"})
    return Case(method, target, differs=Difference("57", wanted, Expected(status, headers={"Allow": "GET, HEAD"})))


def no_tags(repository: str, query: str = "") -> Case:
    """An empty list: v3.1.1 says null, later versions of the original do not."""
    sides = [f'{{"name":"{repository}","tags":{empty}}}\n' for empty in ("null", "[]")]
    difference = Difference("§1.7", *[Expected(200, body=body, headers={"Link": None}) for body in sides])
    return Case("GET", f"/v2/{repository}/tags/list{query}", differs=difference)


LIVE = Expected(200, headers={"Cache-Control": "no-cache"})

BASE = [
    *[Case(method, "/v2/") for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")],
    Case("GET", "/v2/?anything=1"),
    *[Case(method, "/") for method in ("GET", "POST")],
    Case("HEAD", "/", differs=Difference("§1.1: a Content-Length", LIVE, LIVE)),
]

PATHS = [
    *[moved("/v2", "/v2/", method) for method in ("GET", "HEAD")],
    *[Case(method, "/v2") for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")],
    moved("/v2?a=b", "/v2/?a=b"),
    Case("GET", "//v2/"),
    Case("GET", "/v2//"),
    Case("GET", "/v2/./"),
    Case("GET", "/v2/{repo}/../_catalog?n=1"),
    Case("GET", "/v2//{repo}/tags/list?n=1&last=x"),
    Case("PUT", "/v2/{repo}//manifests/1.0"),
    Case("GET", "/v2/{repo}/manifests//1.0"),
    Case("POST", "/v2/{repo}/blobs/uploads"),
    Case("POST", "/v2/{repo}/blobs/uploads?mount=x"),
    moved("/v2/wire/app/manifests/1.0/", "/v2/wire/app/manifests/1.0"),
    moved(f"/v2/wire/app/blobs/{BLOB_DIGEST}/", f"/v2/wire/app/blobs/{BLOB_DIGEST}"),
    moved("/v2/wire/app/tags/list/?n=1", "/v2/wire/app/tags/list?n=1"),
    moved("/v2/_catalog/", "/v2/_catalog"),
    moved("/v2/_catalog/?n=1", "/v2/_catalog?n=1"),
    Case("PUT", "/v2/{repo}/manifests/1.0/"),
    Case("POST", "/v2/_catalog/"),
    *[Case(method, "/unknown") for method in ("GET", "HEAD", "POST")],
    Case("GET", "/v1/"),
    Case("GET", "/v2/wire"),
    Case("GET", "/v2/wire/app"),
    Case("GET", "/v2/{repo}/tags"),
    Case("GET", "/v2/{repo}/tags/lists"),
    Case("GET", "/v2/{repo}/manifests"),
    Case("GET", "/v2/{repo}/manifests/"),
    Case("GET", "/v2/{repo}/blobs/"),
    Case("GET", "/v2/{repo}/_layers/"),
    Case("GET", "/v2/_catalog/tags/list"),
    Case("GET", "/V2/"),
]

NAMES = [
    Case("GET", "/v2/Wire.Example/app/tags/list", note="a domain may have capitals"),
    Case("GET", "/v2/wire/App/tags/list"),
    Case("GET", "/v2/wire/a__b/tags/list"),
    Case("GET", "/v2/wire/a___b/tags/list"),
    Case("GET", "/v2/wire/a--b/tags/list"),
    Case("GET", "/v2/wire/-a/tags/list"),
    Case("GET", "/v2/wire/a./tags/list"),
    Case("GET", "/v2/wire/_a/tags/list"),
    Case("GET", "/v2/wire%2Fapp/tags/list"),
    Case("GET", "/v2/wire/%61pp/tags/list"),
    Case("GET", "/v2/wire/a%20b/tags/list"),
    Case("GET", "/v2/wire/%00/tags/list"),
    Case("GET", "/v2/wire/%C3%A4/tags/list"),
    Case("GET", f"/v2/{LONG_NAME[:255]}/tags/list", note="255 letters"),
    Case(
        "GET",
        f"/v2/{LONG_NAME}/tags/list",
        differs=Difference("9", Expected(500), Expected(400, "NAME_INVALID")),
        note="256 letters",
    ),
    *[
        Case(
            "GET",
            f"/v2/{name}/app/{path}",
            differs=Difference("10", Expected(500, "UNKNOWN"), Expected(400, "NAME_INVALID")),
        )
        for name in ("host:5000", "[::1]")
        for path in ("manifests/1.0", "tags/list?n=1")
    ],
]

CATALOG = [
    Case("GET", "/v2/_catalog"),
    Case("GET", "/v2/_catalog?n=3"),
    Case("GET", "/v2/_catalog?n=2&last=wire/app"),
    Case("GET", "/v2/_catalog?n=1&last=wire%2Fapp"),
    Case("GET", "/v2/_catalog?last=wire/app"),
    Case("GET", "/v2/_catalog?last=wire/nothing-here&n=1"),
    Case("GET", "/v2/_catalog?last=zzz"),
    Case("GET", "/v2/_catalog?n=3&other=dropped&n=1"),
    Case("GET", "/v2/_catalog?n=0"),
    Case("GET", "/v2/_catalog?n="),
    Case("GET", "/v2/_catalog?n=1000"),
    Case("GET", "/v2/_catalog?n=1001"),
    Case("GET", "/v2/_catalog?n=-1"),
    Case("GET", "/v2/_catalog?n=two"),
    Case("GET", "/v2/_catalog?n=%2B3"),
    Case("GET", "/v2/_catalog?n=2", differs=Difference("28", Expected(0), Expected(200))),
    Case("GET", "/v2/_catalog?n=1.5"),
    Case("GET", "/v2/_catalog?n=%203"),
    Case("GET", "/v2/_catalog?n=1_0"),
    Case("GET", "/v2/_catalog?n=99999999999999999999"),
    *[no_head(method, "/v2/_catalog") for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")],
    Case("HEAD", "/v2/_catalog", differs=Difference("57", Expected(405), Expected(200))),
]

TAGS = [
    Case("GET", "/v2/wire/tags/tags/list"),
    Case("GET", "/v2/wire/tags/tags/list?n=2"),
    Case("GET", "/v2/wire/tags/tags/list?last=jyi7b&n=3"),
    no_tags("wire/tags", "?last=sb71y&n=1"),
    Case("GET", "/v2/wire/tags/tags/list?last=does-not-exist&n=3"),
    Case("GET", "/v2/wire/tags/tags/list?last=asj9e"),
    Case("GET", "/v2/wire/tags/tags/list?n=5"),
    Case("GET", "/v2/wire/tags/tags/list?n=100"),
    Case("GET", "/v2/wire/tags/tags/list?n=0"),
    Case("GET", "/v2/wire/tags/tags/list?n="),
    Case("GET", "/v2/wire/tags/tags/list?n=-1"),
    Case("GET", "/v2/wire/tags/tags/list?n=two"),
    Case("GET", "/v2/wire/tags/tags/list?n=1001"),
    Case("GET", "/v2/wire/tags/tags/list?n=99999999999999999999"),
    Case("GET", "/v2/wire/tags/list/tags/list"),
    Case("GET", "/v2/wire/tags/list", note="wire"),
    no_tags("wire/emptied"),
    Case("GET", "/v2/wire/unknown/tags/list"),
    Case("GET", "/v2/wire/unknown/tags/list?n=1"),
    Case("GET", "/v2/wire/unknown/tags/list?n=0"),
    Case(
        "GET",
        "/v2/wire/unknown/tags/list?last=a",
        differs=Difference("15", Expected(200), Expected(404, "NAME_UNKNOWN")),
    ),
    Case(
        "GET",
        "/v2/wire/untagged/tags/list",
        differs=Difference(
            "14",
            Expected(404, "NAME_UNKNOWN"),
            Expected(200, body='{"name":"wire/untagged","tags":[]}\n'),
        ),
    ),
    Case("GET", "/v2/wire/blobs-only/tags/list"),
    *[no_head(method, "/v2/wire/tags/tags/list") for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")],
    Case("HEAD", "/v2/wire/tags/tags/list", differs=Difference("57", Expected(405), Expected(200))),
]

CASES = [*BASE, *PATHS, *NAMES, *CATALOG, *TAGS]
