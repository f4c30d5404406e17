"""Rows for manifests: reading with every Accept and condition, writing what is right and wrong, deleting."""

from __future__ import annotations

import json
from typing import Any

from tests.compat.wire.table import Case, Difference, Expected
from tests.compat.wire.world import BLOB, BLOB_DIGEST, DOCKER_LIST, IMAGE, INDEX, MISSING
from tests.servers import content
from tests.servers.client import ACCEPT

OCI = IMAGE.manifest.digest
ANY = {"Accept": ACCEPT}
BLOB_DESCRIPTOR = {"mediaType": content.OCI_LAYER, "digest": BLOB_DIGEST, "size": len(BLOB)}
LACKING = {"mediaType": content.OCI_LAYER, "digest": MISSING, "size": 15}
MALFORMED = ["sha256:baddigest", f"md5:{'0' * 32}", f"sha256:{'A' * 64}", f"sha256:{'0' * 63}"]


def manifest(**changes: Any) -> bytes:
    """The OCI image with some fields changed; None takes a field away."""
    document = json.loads(IMAGE.manifest.data) | changes
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def put(
    body: bytes,
    reference: str = "new",
    media_type: str | None = content.OCI_IMAGE,
    differs: Difference | None = None,
    note: str = "",
) -> Case:
    headers = {} if media_type is None else {"Content-Type": media_type}
    return Case("PUT", f"/v2/{{fresh}}/manifests/{reference}", headers, body, differs, note)


def unlike(why: str, status: int, code: str, lading_status: int, lading_code: str) -> Difference:
    return Difference(why, Expected(status, code), Expected(lading_status, lading_code))


def added(why: str, header: str, value: str) -> Difference:
    """Both accept; Lading answers with one header more."""
    return Difference(why, Expected(201, headers={header: None}), Expected(201, headers={header: value}))


READING = [
    *[
        Case(method, f"/v2/{{repo}}/manifests/{reference}", ANY)
        for method in ("GET", "HEAD")
        for reference in ("1.0", "index", "docker", "list", OCI, INDEX.manifest.digest, "unknown", MISSING)
    ],
    Case("GET", "/v2/wire/unknown/manifests/1.0", ANY),
    Case("GET", f"/v2/wire/unknown/manifests/{OCI}", ANY),
    Case("GET", "/v2/{repo}/manifests/1%2E0", ANY),
    Case("GET", f"/v2/{{repo}}/manifests/{'t' * 128}", ANY),
    Case("GET", f"/v2/{{repo}}/manifests/{'t' * 129}", ANY),
    Case("GET", "/v2/{repo}/manifests/.hidden", ANY),
    Case("GET", "/v2/{repo}/manifests/a+b", ANY),
    Case("GET", "/v2/wire/tags/list/manifests/tags", ANY),
    Case("GET", f"/v2/{{repo}}/manifests/{BLOB_DIGEST}", ANY, note="a blob is no manifest"),
    Case("GET", "/v2/{repo}/manifests/1.0", ANY | {"Range": "bytes=0-9"}),
    *[
        Case(
            method,
            f"/v2/{{repo}}/manifests/{reference}",
            ANY,
            differs=Difference("2", Expected(500), Expected(400, "DIGEST_INVALID" if method == "GET" else None)),
        )
        for method in ("GET", "HEAD")
        for reference in MALFORMED
    ],
]

NEGOTIATION = [
    *[
        Case("GET", f"/v2/{{repo}}/manifests/{reference}", {"Accept": accept})
        for accept in (content.DOCKER_IMAGE, f"{content.DOCKER_IMAGE};q=0.5, text/plain")
        for reference in ("1.0", "index", "docker", "list", DOCKER_LIST.manifest.digest)
    ],
    Case(
        "GET",
        "/v2/{repo}/manifests/arm64",
        {"Accept": content.DOCKER_IMAGE},
        differs=unlike("§2.4: a detail says why", 404, "MANIFEST_UNKNOWN", 404, "MANIFEST_UNKNOWN"),
    ),
    Case("GET", "/v2/{repo}/manifests/list", {"Accept": content.DOCKER_LIST}),
    Case("GET", "/v2/{repo}/manifests/list", {"Accept": content.OCI_IMAGE}),
    Case("GET", "/v2/{repo}/manifests/list", {"Accept": ""}),
    Case("HEAD", "/v2/{repo}/manifests/list", {"Accept": content.DOCKER_IMAGE}),
    Case("GET", "/v2/{repo}/manifests/1.0", {"Accept": f"text/plain,{content.OCI_IMAGE};q=0.1"}),
    Case("GET", "/v2/{repo}/manifests/index", {"Accept": "*/*"}),
    Case("GET", "/v2/{repo}/manifests/docker", {"Accept": "*/*"}),
    *[
        Case(
            "GET",
            "/v2/{repo}/manifests/1.0",
            headers,
            differs=Difference(
                "56",
                Expected(404, "MANIFEST_UNKNOWN"),
                Expected(200, headers={"Docker-Content-Digest": OCI, "Content-Type": content.OCI_IMAGE}),
            ),
        )
        for headers in ({}, {"Accept": "*/*"})
    ],
]

NOT_MODIFIED = Difference("6", Expected(304, headers={"ETag": None}), Expected(304, headers={"ETag": f'"{OCI}"'}))
NOT_UNDERSTOOD = Difference("6", Expected(200), Expected(304, headers={"ETag": f'"{OCI}"'}))

CONDITIONS = [
    *[
        Case(
            method,
            f"/v2/{{repo}}/manifests/{reference}",
            ANY | {"If-None-Match": value},
            differs=NOT_MODIFIED,
        )
        for method in ("GET", "HEAD")
        for reference in ("1.0", OCI)
        for value in (OCI, f'"{OCI}"')
    ],
    *[
        Case("GET", "/v2/{repo}/manifests/1.0", ANY | {"If-None-Match": value}, differs=NOT_UNDERSTOOD)
        for value in ("*", f'W/"{OCI}"', f'"{MISSING}", "{OCI}"')
    ],
    Case("GET", "/v2/{repo}/manifests/1.0", ANY | {"If-None-Match": f'"{MISSING}"'}),
    Case("GET", "/v2/{repo}/manifests/unknown", ANY | {"If-None-Match": "*"}),
    Case(
        "GET",
        f"/v2/{{repo}}/manifests/{MISSING}",
        ANY | {"If-None-Match": f'"{MISSING}"'},
        differs=Difference("6", Expected(304), Expected(404, "MANIFEST_UNKNOWN")),
    ),
]

WRITING = [
    put(IMAGE.manifest.data, note="a new tag"),
    put(IMAGE.manifest.data, "1.0", note="again"),
    put(IMAGE.manifest.data, OCI, note="by digest"),
    put(INDEX.manifest.data, "1.0", content.OCI_INDEX, note="the tag moves"),
    put(manifest(annotations={"new": "content"}), note="new content"),
    put(IMAGE.manifest.data, media_type=f"{content.OCI_IMAGE}; charset=utf-8"),
    put(manifest(mediaType=None), note="without mediaType"),
    put(manifest(layers=[]), note="without layers"),
    put(IMAGE.manifest.data, MISSING, note="another digest"),
    put(IMAGE.manifest.data, "t" * 129),
    put(IMAGE.manifest.data, media_type=None),
    put(IMAGE.manifest.data, media_type="application/json"),
    *[
        put(
            IMAGE.manifest.data,
            media_type=f"application/vnd.docker.distribution.manifest.v1+{syntax}",
            differs=unlike("the detail tells how to convert", 400, "MANIFEST_INVALID", 400, "MANIFEST_INVALID"),
        )
        for syntax in ("json", "prettyjws")
    ],
    put(IMAGE.manifest.data, media_type=content.DOCKER_IMAGE),
    put(IMAGE.manifest.data, media_type=content.OCI_INDEX),
    put(INDEX.manifest.data, media_type=content.OCI_IMAGE),
    put(INDEX.manifest.data, media_type=content.DOCKER_LIST),
    put(manifest(mediaType=None), media_type=content.DOCKER_IMAGE, note="without mediaType"),
    put(manifest(mediaType=content.DOCKER_IMAGE)),
    put(manifest(manifests=[]), note="with manifests"),
    put(manifest(layers=[LACKING])),
    put(manifest(layers=[LACKING, BLOB_DESCRIPTOR, LACKING]), note="twice"),
    put(manifest(config=LACKING, layers=[LACKING]), note="config and layer"),
    put(
        json.dumps({"schemaVersion": 2, "manifests": [LACKING | {"mediaType": content.OCI_IMAGE}]}).encode(),
        media_type=content.OCI_INDEX,
    ),
    put(b'{"schemaVersion": 2, "manifests": []}', media_type=content.OCI_INDEX, note="empty"),
    put(b"", differs=unlike("Go's JSON text", 400, "MANIFEST_INVALID", 400, "MANIFEST_INVALID"), note="nothing"),
    put(b"{", differs=unlike("Go's JSON text", 400, "MANIFEST_INVALID", 400, "MANIFEST_INVALID"), note="broken"),
    put(
        manifest(layers=[BLOB_DESCRIPTOR | {"size": "2048"}]),
        differs=unlike("Go's JSON text", 400, "MANIFEST_INVALID", 400, "MANIFEST_INVALID"),
        note="size as text",
    ),
    put(
        manifest(schemaVersion=1),
        differs=unlike("8", 500, "UNKNOWN", 400, "MANIFEST_INVALID"),
        note="schema 1",
    ),
    put(
        manifest(annotations={"large": "x" * (4 << 20)}),
        differs=unlike("5", 400, "MANIFEST_INVALID", 413, "MANIFEST_INVALID"),
        note="too large",
    ),
    put(
        manifest(layers=[BLOB_DESCRIPTOR | {"urls": ["https://example.org/layer"]}]),
        differs=unlike("7", 500, "UNKNOWN", 400, "MANIFEST_INVALID"),
        note="forbidden URL",
    ),
    put(
        manifest(layers=[LACKING | {"digest": "sha256:bad"}]),
        differs=unlike("7", 500, "UNKNOWN", 400, "DIGEST_INVALID"),
        note="malformed reference",
    ),
    *[
        put(
            IMAGE.manifest.data,
            reference,
            differs=Difference("2", Expected(500, "UNKNOWN"), Expected(400, "DIGEST_INVALID")),
        )
        for reference in MALFORMED
    ],
    put(
        IMAGE.manifest.data,
        content.digest_of(IMAGE.manifest.data, "sha512"),
        differs=Difference(
            "1",
            Expected(400, "DIGEST_INVALID"),
            Expected(201, headers={"Docker-Content-Digest": content.digest_of(IMAGE.manifest.data, "sha512")}),
        ),
    ),
    put(
        IMAGE.manifest.data,
        f"{OCI}?tag=a&tag=b",
        differs=added("§9", "OCI-Tag", "a, b"),
    ),
    put(
        manifest(subject=IMAGE.manifest.descriptor()),
        differs=added("17", "OCI-Subject", OCI),
        note="with a subject",
    ),
]

DELETING = [
    Case("DELETE", "/v2/{fresh}/manifests/1.0"),
    Case("DELETE", f"/v2/{{fresh}}/manifests/{OCI}"),
    Case("DELETE", f"/v2/{{fresh}}/manifests/{MISSING}"),
    Case("DELETE", f"/v2/wire/unknown/manifests/{OCI}"),
    Case(
        "DELETE",
        "/v2/{fresh}/manifests/unknown",
        differs=unlike("61", 404, "MANIFEST_UNKNOWN", 404, "MANIFEST_UNKNOWN"),
    ),
    *[
        Case(
            "DELETE",
            f"/v2/{{fresh}}/manifests/{reference}",
            differs=unlike("2", 500, "UNKNOWN", 400, "DIGEST_INVALID"),
        )
        for reference in MALFORMED
    ],
]

METHODS = [Case(method, "/v2/{repo}/manifests/1.0") for method in ("POST", "PATCH", "OPTIONS", "TRACE")]

REFERRERS = [
    Case(
        "GET",
        f"/v2/{{repo}}/referrers/{OCI}",
        differs=Difference("17", Expected(404), Expected(200, headers={"Content-Type": content.OCI_INDEX})),
    ),
    Case(
        "GET",
        "/v2/{repo}/referrers/sha256:bad",
        differs=Difference("17", Expected(404), Expected(400, "DIGEST_INVALID")),
    ),
]

CASES = [*READING, *NEGOTIATION, *CONDITIONS, *WRITING, *DELETING, *METHODS, *REFERRERS]
