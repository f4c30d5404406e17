"""Rows for blobs: reading whole, in ranges and on conditions; deleting."""

from __future__ import annotations

from tests.compat.wire.table import Case, Difference, Expected
from tests.compat.wire.world import BLOB_DIGEST, EMPTY_DIGEST, IMAGE, MISSING, SHA512_DIGEST

TARGET = f"/v2/{{repo}}/blobs/{BLOB_DIGEST}"
TAG = f'"{BLOB_DIGEST}"'
MALFORMED = [
    "sha256:baddigest", f"md5:{'0' * 32}", f"sha256:{'A' * 64}", f"sha256:{'0' * 63}", f"sha1:{'0' * 40}", "blob",
    "sha256:", f"sha384:{'0' * 64}",
]  # fmt: skip

READING = [
    *[
        Case(method, f"/v2/{{repo}}/blobs/{digest}")
        for method in ("GET", "HEAD")
        for digest in (BLOB_DIGEST, EMPTY_DIGEST, MISSING, IMAGE.manifest.digest, IMAGE.blobs[0].digest)
    ],
    *[Case(method, f"/v2/{{repo}}/blobs/{each}") for method in ("GET", "HEAD", "DELETE") for each in MALFORMED],
    Case("GET", f"/v2/wire/unknown/blobs/{BLOB_DIGEST}"),
    Case("GET", f"/v2/wire/untagged/blobs/{BLOB_DIGEST}", note="linked elsewhere"),
    Case("GET", TARGET, {"Accept": "text/plain"}),
    *[
        Case(
            method,
            f"/v2/{{repo}}/blobs/{SHA512_DIGEST}",
            differs=Difference(
                "1",
                Expected(200, headers={"Docker-Content-Digest": BLOB_DIGEST, "Content-Length": "2048"}),
                Expected(200, headers={"Docker-Content-Digest": SHA512_DIGEST, "Content-Length": "2048"}),
            ),
        )
        for method in ("GET", "HEAD")
    ],
]

RANGES = [
    *[
        Case("GET", TARGET, {"Range": value})
        for value in (
            "bytes=500-1499", "bytes=500-", "bytes=-500", "bytes=2000-5000", "bytes=0-0", "bytes=0-", "bytes=-5000",
            "bytes=2047-2047", "bytes=2048-", "bytes=5000-10000", "bytes=500-0", "bytes=abc", "bytes=", "bytes=-",
            "bytes=-0", "lines=0-1", "bytes 0-1", "bytes=0-1,", "bytes= 0-9", "bytes=0-2047,0-2047",
            "bytes=+1-2", "bytes=99999999999999999999-", "bytes=1-99999999999999999999",
        )
    ],
    *[Case("HEAD", TARGET, {"Range": value}) for value in ("bytes=500-1499", "bytes=5000-", "bytes=x")],
    Case("GET", f"/v2/{{repo}}/blobs/{EMPTY_DIGEST}", {"Range": "bytes=0-0"}),
    Case("GET", f"/v2/{{repo}}/blobs/{MISSING}", {"Range": "bytes=0-0"}),
    Case("GET", TARGET, {"Range": "bytes=0-9", "If-Range": TAG}),
    Case("GET", TARGET, {"Range": "bytes=0-9", "If-Range": f'"{MISSING}"'}),
    Case("GET", TARGET, {"Range": "bytes=0-9", "If-Range": f"W/{TAG}"}),
]  # fmt: skip

CONDITIONS = [
    *[
        Case(method, TARGET, {"If-None-Match": value})
        for method in ("GET", "HEAD")
        for value in (TAG, f"W/{TAG}", "*", f'"{MISSING}", {TAG}', f'"{MISSING}"', BLOB_DIGEST)
    ],
    *[
        Case("GET", TARGET, {"If-Match": value})
        for value in (TAG, "*", f'"{MISSING}"', f'"{MISSING}", {TAG}', f"W/{TAG}")
    ],
    Case("GET", f"/v2/{{repo}}/blobs/{MISSING}", {"If-None-Match": "*"}),
    Case("GET", TARGET, {"If-None-Match": TAG, "Range": "bytes=0-9"}),
]

WRITING = [
    Case("DELETE", f"/v2/{{fresh}}/blobs/{BLOB_DIGEST}"),
    Case("DELETE", f"/v2/{{fresh}}/blobs/{MISSING}"),
    Case("DELETE", f"/v2/wire/unknown/blobs/{BLOB_DIGEST}"),
    *[Case(method, TARGET) for method in ("POST", "PUT", "PATCH", "OPTIONS")],
]

CASES = [*READING, *RANGES, *CONDITIONS, *WRITING]
