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


def not_satisfiable(value: str, *, overlaps: bool, method: str = "GET", original: Expected | None = None) -> Case:
    """A range that is refused. The texts are not the same; where the original does not refuse, why it should."""
    headers = {"Content-Range": None if overlaps else "bytes */2048", "ETag": None, "Cache-Control": None}
    refused = Expected(416, headers=headers | {"Content-Type": "text/plain; charset=utf-8"})
    return Case(method, TARGET, {"Range": value}, differs=Difference("§1.9", original or refused, refused))


RANGES = [
    *[
        Case("GET", TARGET, {"Range": value})
        for value in (
            "bytes=500-1499", "bytes=500-", "bytes=-500", "bytes=2000-5000", "bytes=0-0", "bytes=0-",
            "bytes=-5000", "bytes=2047-2047", "bytes=0-1,", "bytes= 0-9", "bytes=0-2047,0-2047",
        )
    ],
    *[not_satisfiable(value, overlaps=False) for value in ("bytes=2048-", "bytes=5000-10000")],
    *[
        not_satisfiable(value, overlaps=True)
        for value in (
            "bytes=500-0", "bytes=abc", "bytes=-", "lines=0-1", "bytes 0-1", "bytes=99999999999999999999-",
            "bytes=1-99999999999999999999",
        )
    ],
    # RFC 9110, 14.1: an empty set and a sign are no ranges, and the last 0 bytes are nothing to send.
    not_satisfiable("bytes=", overlaps=True, original=Expected(200)),
    not_satisfiable("bytes=+1-2", overlaps=True, original=Expected(206)),
    not_satisfiable("bytes=-0", overlaps=False, original=Expected(206)),
    Case("HEAD", TARGET, {"Range": "bytes=500-1499"}),
    not_satisfiable("bytes=5000-", overlaps=False, method="HEAD"),
    not_satisfiable("bytes=x", overlaps=True, method="HEAD"),
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
        for value in (TAG, f"W/{TAG}", "*", f'"{MISSING}", {TAG}', f'"{MISSING}"')
    ],
    Case(
        "GET",
        TARGET,
        {"If-None-Match": BLOB_DIGEST},
        differs=Difference("§1.8: without quotes, too", Expected(200), Expected(304, headers={"ETag": TAG})),
    ),
    *[Case("GET", TARGET, {"If-Match": value}) for value in (TAG, "*", f'"{MISSING}", {TAG}')],
    *[
        Case(
            "GET",
            TARGET,
            {"If-Match": value},
            # The original announces the blob's length with its 412, and sends nothing.
            differs=Difference("§1.9", Expected(0), Expected(412, headers={"Content-Length": "0"})),
        )
        for value in (f'"{MISSING}"', f"W/{TAG}")
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
