"""Rows for uploads: starting, mounting, status, chunks, finishing, cancelling."""

from __future__ import annotations

from tests.compat.wire.table import Case, Difference, Expected
from tests.compat.wire.world import BLOB, BLOB_DIGEST, MISSING, SHA512_DIGEST
from tests.servers.client import with_query
from tests.servers.content import digest_of

UPLOADS = "/v2/{bare}/blobs/uploads/"
OCTETS = {"Content-Type": "application/octet-stream"}
NOWHERE = f"{UPLOADS}01a209cd-9926-7a27-9b2c-b8bcdbfeaef0"
FOUR = digest_of(b"1234")


def finish(session: str, digest: str) -> str:
    """The closing target; a session's location has a query already."""
    return f"{session}&digest={digest}"


FORWARDED: list[dict[str, str]] = [
    {"Host": "other.example:8443"},
    {"X-Forwarded-Proto": "https"},
    {"X-Forwarded-Host": "first.example.com, proxy1"},
    {"X-Forwarded-Host": "first.example.com:8443", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "1"},
    {"Forwarded": "for=127.0.0.1", "X-Forwarded-Proto": "https"},
    {"Forwarded": 'proto=https;host="192.168.22.30:80"'},
    {"Forwarded": 'for=10.0.0.1; PROTO=https;Host="[2607:f0d0:1002:51::4]:4000", proto=http'},
    {"Forwarded": 'host="unterminated', "X-Forwarded-Proto": "https"},
    {"Forwarded": "host=a;host=b"},
]

STARTING = [
    Case("POST", UPLOADS),
    *[Case("POST", UPLOADS, headers) for headers in FORWARDED],
    Case("POST", "/v2/brand/new/blobs/uploads/"),
    Case("POST", UPLOADS, body=b"ignored"),
    Case("POST", with_query(UPLOADS, mount=SHA512_DIGEST, **{"from": "wire/unknown"})),
    Case("POST", with_query(UPLOADS, mount=MISSING, **{"from": "wire/app"})),
    Case("POST", with_query(UPLOADS, mount="sha256:bad", **{"from": "wire/app"})),
    Case("POST", with_query(UPLOADS, mount=BLOB_DIGEST, **{"from": "Not A Name"})),
    Case("POST", with_query(UPLOADS, mount=BLOB_DIGEST, **{"from": "wire/app"})),
    *[
        Case(
            "POST",
            with_query(UPLOADS, mount=BLOB_DIGEST, **nowhere),
            differs=Difference(
                "§1.11: anonymous mount",
                Expected(202),
                Expected(201, headers={"Docker-Content-Digest": BLOB_DIGEST}),
            ),
        )
        for nowhere in ({}, {"from": ""})
    ],
    Case(
        "POST",
        with_query(UPLOADS, digest=digest_of(b"all at once")),
        OCTETS,
        b"all at once",
        differs=Difference(
            "3",
            Expected(202),
            Expected(201, headers={"Docker-Content-Digest": digest_of(b"all at once"), "Content-Length": "0"}),
        ),
    ),
    Case(
        "POST",
        with_query(UPLOADS, digest=MISSING),
        OCTETS,
        b"all at once",
        differs=Difference("3", Expected(202), Expected(400, "DIGEST_INVALID")),
        note="another digest",
    ),
    Case("POST", with_query(UPLOADS, **{"digest-algorithm": "sha512"})),
    Case(
        "POST",
        with_query(UPLOADS, **{"digest-algorithm": "md5"}),
        differs=Difference("3", Expected(202), Expected(400, "DIGEST_INVALID")),
    ),
    *[Case(method, UPLOADS) for method in ("GET", "HEAD", "PATCH", "PUT", "DELETE", "OPTIONS", "TRACE")],
    Case("POST", NOWHERE),
]

STATUS = [
    *[Case(method, f"{{{name}_status}}") for method in ("GET", "HEAD") for name in ("one", "partial")],
    Case("GET", "{upload}"),
    Case("GET", "{stale}"),
    *[Case(method, NOWHERE) for method in ("GET", "HEAD", "PATCH", "PUT", "DELETE")],
    Case("OPTIONS", NOWHERE, differs=Difference("§1.14", Expected(404), Expected(200))),
    Case("GET", f"{UPLOADS}not-a-uuid"),
    Case("GET", f"{UPLOADS}what%20is%20this"),
    Case("GET", "/v2/wire/elsewhere/blobs/uploads/01a209cd-9926-7a27-9b2c-b8bcdbfeaef0"),
]

CHUNKS = [
    Case("PATCH", "{upload}", OCTETS, b"1234"),
    Case("PATCH", "{upload}", {}, b"1234", note="without Content-Type"),
    Case("PATCH", "{upload}", OCTETS, b"", note="nothing"),
    Case("PATCH", "{upload}", OCTETS, (b"12", b"34"), note="streamed"),
    Case("PATCH", "{partial}", OCTETS | {"Content-Range": "4-7"}, (b"56", b"78"), note="streamed"),
    Case(
        "PATCH",
        "{partial}",
        OCTETS | {"Content-Range": "9-12"},
        (b"56", b"78"),
        # The original looks at the range only beside a Content-Length; the specification wants 416.
        Difference("§1.10", Expected(202), Expected(416, "RANGE_INVALID")),
        note="streamed",
    ),
    Case("PATCH", "{partial}", OCTETS, b"5678"),
    Case("PATCH", "{stale}", OCTETS, b"5678"),
    Case("PATCH", "{partial_status}", OCTETS, b"5678", note="without a token"),
    Case("PATCH", "{partial_status}?_state=AAAA", OCTETS, b"5678"),
    Case(
        "PATCH",
        "{partial_status}?_state=%21",
        OCTETS,
        b"5678",
        differs=Difference(
            "Go's base64 text", Expected(404, "BLOB_UPLOAD_INVALID"), Expected(404, "BLOB_UPLOAD_INVALID")
        ),
    ),
    Case("PATCH", "{upload}", OCTETS | {"Content-Range": "0-3"}, b"1234"),
    Case("PATCH", "{partial}", OCTETS | {"Content-Range": "4-7"}, b"5678"),
    Case("PATCH", "{partial}", OCTETS | {"Content-Range": "5-8"}, b"5678"),
    Case("PATCH", "{partial}", OCTETS | {"Content-Range": "0-3"}, b"1234"),
    Case("PATCH", "{upload}", OCTETS | {"Content-Range": "3-22"}, b"1234"),
    Case("PATCH", "{upload}", OCTETS | {"Content-Range": "3-0"}, b"1234"),
    Case("PATCH", "{upload}", OCTETS | {"Content-Range": "0-20"}, b"1234"),
    *[
        Case(
            "PATCH",
            "{upload}",
            OCTETS | {"Content-Range": value},
            b"1234",
            differs=Difference("11", Expected(500, "UNKNOWN"), Expected(status, code)),
        )
        for value, status, code in [("x-y", 416, "RANGE_INVALID"), ("0", 416, "RANGE_INVALID")]
    ],
    Case(
        "PATCH",
        "{upload}",
        {"Content-Type": "text/plain"},
        b"1234",
        differs=Difference("11", Expected(500, "UNKNOWN"), Expected(415, "BLOB_UPLOAD_INVALID")),
    ),
]

FINISHING = [
    Case("PUT", finish("{partial}", digest=FOUR)),
    Case("PUT", finish("{upload}", digest=FOUR), OCTETS, b"1234"),
    Case("PUT", finish("{partial}", digest=digest_of(b"12345678")), OCTETS, b"5678"),
    Case("PUT", finish("{partial}", digest=digest_of(b"12345678")), OCTETS, (b"5", b"678"), note="streamed"),
    Case("PUT", finish("{upload}", digest=BLOB_DIGEST), OCTETS, BLOB, note="known elsewhere"),
    Case("PUT", finish("{upload}", digest=digest_of(b"")), note="the empty blob"),
    Case("PUT", "{partial}", note="without digest"),
    Case("PUT", finish("{partial}", digest="")),
    Case("PUT", finish("{partial}", digest="sha256:bad")),
    Case("PUT", finish("{partial}", digest=f"md5:{'0' * 32}")),
    Case("PUT", finish("{partial}", digest=MISSING)),
    Case("PUT", finish("{stale}", digest=FOUR)),
    Case("PUT", with_query("{partial_status}", digest=FOUR), note="without a token"),
    Case(
        "PUT",
        finish("{partial}", digest=digest_of(b"1234", "sha512")),
        differs=Difference(
            "1",
            Expected(201, headers={"Docker-Content-Digest": FOUR}),
            Expected(201, headers={"Docker-Content-Digest": digest_of(b"1234", "sha512")}),
        ),
    ),
    Case(
        "PUT",
        finish("{partial}", digest=digest_of(b"12345678")),
        OCTETS | {"Content-Range": "5-8"},
        b"5678",
        differs=Difference("4", Expected(201), Expected(416, "RANGE_INVALID")),
        note="out of order",
    ),
    Case(
        "PUT",
        finish("{upload}", digest=FOUR),
        {"Content-Type": "application/x-www-form-urlencoded"},
        b"1234",
        differs=Difference("39", Expected(400, "DIGEST_INVALID"), Expected(201)),
    ),
]

CANCELLING = [
    Case("DELETE", "{upload}"),
    Case("DELETE", "{partial}"),
    Case("DELETE", "{stale}"),
    Case("DELETE", "{partial_status}"),
]

CASES = [*STARTING, *STATUS, *CHUNKS, *FINISHING, *CANCELLING]
