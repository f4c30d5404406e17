"""Rows for registries that are configured otherwise: what is switched off, and how URLs are made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.compat.wire.table import Case, Difference, Expected
from tests.compat.wire.uploads import OCTETS, finish
from tests.compat.wire.world import BLOB, BLOB_DIGEST, IMAGE, MISSING
from tests.servers import content
from tests.servers.client import ACCEPT, with_query

MANIFEST = "/v2/{repo}/manifests/1.0"
UPLOADS = "/v2/{repo}/blobs/uploads/"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
TYPED = {"Content-Type": content.OCI_IMAGE}
MOUNT = with_query("/v2/wire/tags/blobs/uploads/", mount=BLOB_DIGEST, **{"from": "wire/app"})


@dataclass(frozen=True)
class Mode:
    """A configuration, and the requests to compare under it."""

    name: str
    extra: dict[str, Any]
    cases: list[Case]


DELETE_OFF = Mode(
    "delete off",
    {"storage": {"delete": {"enabled": False}}},
    [
        Case("DELETE", MANIFEST),
        Case("DELETE", f"/v2/{{repo}}/manifests/{IMAGE.manifest.digest}"),
        Case("DELETE", f"/v2/{{repo}}/manifests/{MISSING}"),
        Case("DELETE", "/v2/{repo}/manifests/unknown"),
        Case("DELETE", f"/v2/{{repo}}/blobs/{BLOB_DIGEST}"),
        Case("DELETE", f"/v2/{{repo}}/blobs/{MISSING}"),
        Case("OPTIONS", MANIFEST),
        Case("OPTIONS", f"/v2/{{repo}}/blobs/{BLOB_DIGEST}"),
    ],
)

READ_ONLY = Mode(
    "read-only",
    {"storage": {"maintenance": {"readonly": {"enabled": True}}}},
    [
        Case("GET", MANIFEST, {"Accept": ACCEPT}),
        Case("GET", f"/v2/{{repo}}/blobs/{BLOB_DIGEST}"),
        Case("PUT", MANIFEST, TYPED, IMAGE.manifest.data),
        Case("DELETE", MANIFEST),
        Case("DELETE", f"/v2/{{repo}}/blobs/{BLOB_DIGEST}"),
        Case("POST", UPLOADS),
        Case("POST", MOUNT),
        *[Case("OPTIONS", target) for target in (MANIFEST, UPLOADS, f"/v2/{{repo}}/blobs/{BLOB_DIGEST}")],
    ],
)

HEADERS = Mode(
    "configured headers",
    {"http": {"headers": {"X-Of-The-Test": ["one", "two"], "X-Content-Type-Options": ["nosniff"]}}},
    [
        Case("GET", "/"),
        Case("GET", "/v2/"),
        Case("GET", "/v2//"),
        Case("GET", "/unknown"),
        Case("GET", MANIFEST, {"Accept": ACCEPT}),
        Case("GET", "/v2/{repo}/manifests/unknown"),
        Case("GET", f"/v2/{{repo}}/blobs/{BLOB_DIGEST}"),
        Case("GET", f"/v2/{{repo}}/blobs/{BLOB_DIGEST}", {"Range": "bytes=0-9"}),
        Case("POST", UPLOADS),
        Case("POST", MANIFEST),
    ],
)

RELATIVE = Mode(
    "relative URLs",
    {"http": {"relativeurls": True}},
    [
        Case("POST", UPLOADS),
        Case("POST", UPLOADS, {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "elsewhere"}),
        Case("GET", "{partial_status}"),
        Case("PATCH", "{upload}", OCTETS, b"1234"),
        Case("PUT", finish("{upload}", BLOB_DIGEST), OCTETS, BLOB),
        Case("PUT", MANIFEST, TYPED, IMAGE.manifest.data),
        Case("POST", MOUNT),
        Case("GET", "/v2/wire/tags/tags/list?n=1"),
    ],
)

HOST = Mode(
    "fixed host",
    {"http": {"host": "https://registry.example.org/base/", "relativeurls": True}},
    [
        Case("POST", UPLOADS),
        Case("POST", UPLOADS, {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "elsewhere"}),
        Case("PUT", MANIFEST, TYPED, IMAGE.manifest.data),
        Case("GET", "/v2/_catalog?n=1"),
    ],
)

PREFIX = Mode(
    "prefix",
    {"http": {"prefix": "/some/place/"}},
    [
        Case("GET", "/"),
        Case("GET", "/v2/"),
        Case("GET", "/some/place/v2/"),
        Case("GET", "/some/place/v2/_catalog?n=1"),
        Case("GET", "/some/place/v2/wire/tags/tags/list?n=1"),
        Case("POST", "/some/place/v2/{repo}/blobs/uploads/"),
        Case("POST", "/some/place/v2/{repo}/blobs/uploads"),
        Case("PUT", "/some/place/v2/{repo}/manifests/1.0", TYPED, IMAGE.manifest.data),
    ],
)

PREFIX_RELATIVE = Mode(
    "prefix and relative URLs",
    {"http": {"prefix": "/some/place/", "relativeurls": True}},
    [
        Case(
            "PUT",
            "/some/place/v2/{repo}/manifests/1.0",
            TYPED,
            IMAGE.manifest.data,
            Difference(
                "12",
                Expected(201, headers={"Location": f"/v2/wire/app/manifests/{IMAGE.manifest.digest}"}),
                Expected(201, headers={"Location": f"/some/place/v2/wire/app/manifests/{IMAGE.manifest.digest}"}),
            ),
        ),
    ],
)

LIMITS = Mode(
    "page sizes",
    {"catalog": {"maxentries": 3}, "tags": {"maxtags": 2}},
    [
        Case("GET", "/v2/_catalog"),
        Case("GET", "/v2/_catalog?n=3"),
        Case("GET", "/v2/_catalog?n=4"),
        Case("GET", "/v2/wire/tags/tags/list"),
        Case("GET", "/v2/wire/tags/tags/list?n=1"),
        Case("GET", "/v2/wire/tags/tags/list?n=3"),
    ],
)


def index_of(*platforms: str) -> bytes:
    """An index whose children nobody has pushed, one for each `os/architecture`."""
    children = []
    for number, platform in enumerate(platforms):
        missing = content.Content(content.OCI_IMAGE, f"nobody has child {number}".encode())
        system, architecture = platform.split("/")
        children.append(missing.descriptor(platform={"os": system, "architecture": architecture}))
    document = {"schemaVersion": 2, "mediaType": content.OCI_INDEX, "manifests": children}
    return json.dumps(document).encode()


def image_with(*urls: str) -> bytes:
    """An image with one layer that is not here but at these addresses."""
    document = json.loads(IMAGE.manifest.data)
    layer = content.Content(FOREIGN, b"nobody has this layer").descriptor(urls=list(urls))
    return json.dumps(document | {"layers": [layer]}).encode()


def put_index(*platforms: str) -> Case:
    return Case("PUT", MANIFEST, {"Content-Type": content.OCI_INDEX}, index_of(*platforms), note=str(platforms))


def put_urls(*urls: str, refused: bool = False) -> Case:
    differs = Difference("7", Expected(500), Expected(400, "MANIFEST_INVALID")) if refused else None
    return Case("PUT", MANIFEST, TYPED, image_with(*urls), differs, note=" ".join(urls))


def validation(name: str, manifests: dict[str, Any], *cases: Case) -> Mode:
    return Mode(name, {"validation": {"manifests": manifests}}, list(cases))


VALIDATION = [
    validation(
        "indexes none",
        {"indexes": {"platforms": "None"}},
        put_index("linux/amd64"),
        put_urls(refused=False),
    ),
    validation("indexes all", {"indexes": {"platforms": "all"}}, put_index("linux/amd64", "linux/arm64")),
    validation(
        "indexes list",
        {"indexes": {"platforms": "list", "platformlist": [{"os": "linux", "architecture": "arm64"}]}},
        put_index("linux/amd64", "windows/arm64"),
        put_index("linux/amd64", "linux/arm64"),
        put_index(),
    ),
    validation(
        "urls allow",
        {"urls": {"allow": ["^https://ours\\.example/", "second"]}},
        put_urls("https://ours.example/layer"),
        put_urls("http://second.example/layer", "https://ours.example/layer"),
        put_urls("https://theirs.example/layer", refused=True),
        put_urls("https://ours.example/layer", "https://theirs.example/layer", refused=True),
        put_urls("https://ours.example/layer#fragment", refused=True),
        put_urls("ftp://second.example/layer", refused=True),
    ),
    validation(
        "urls deny",
        {"urls": {"deny": ["theirs"]}},
        put_urls("https://ours.example/layer"),
        put_urls("https://theirs.example/layer", refused=True),
    ),
    Mode(
        "validation off",
        {"validation": {"disabled": True}},
        [
            put_index("linux/amd64"),
            put_urls("https://theirs.example/layer"),
            put_urls("not a url", refused=True),
            Case("PUT", MANIFEST, TYPED, image_with(), note="still, layers must be there"),
        ],
    ),
]

MODES = [DELETE_OFF, READ_ONLY, HEADERS, RELATIVE, HOST, PREFIX, PREFIX_RELATIVE, LIMITS, *VALIDATION]
