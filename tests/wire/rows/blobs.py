"""Blobs: whole, in ranges, on conditions, and their removal (reference, 1.9)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.wire.content import digest
from tests.wire.table import MAX_AGE, PLAIN, Row, Value, refusal
from tests.wire.world import (
    ABSENT,
    APP,
    BY_384,
    BY_512,
    BY_ALIAS,
    CONFIG,
    DAMAGED,
    EMPTY,
    LAYER,
    LONG,
    LOST,
    OCI_IMAGE,
)

OCTETS = "application/octet-stream"
PATH = f"/v2/{APP}/blobs"
LONG_PATH = f"{PATH}/{digest(LONG)}"


def rows() -> Iterator[Row]:
    yield from _whole()
    yield from _missing()
    yield from _conditions()
    yield from _ranges()
    yield from _several_ranges()
    yield from _deletion()


def _tagged(name: str) -> dict[str, Value]:
    return {"Docker-Content-Digest": name, "ETag": f'"{name}"', "Cache-Control": MAX_AGE}


def _full(name: str) -> dict[str, Value]:
    return {**_tagged(name), "Content-Type": OCTETS, "Accept-Ranges": "bytes"}


def _whole() -> Iterator[Row]:
    for data, algorithm in [
        (CONFIG, "sha256"),
        (LAYER, "sha256"),
        (LONG, "sha256"),
        (EMPTY, "sha256"),
        (BY_512, "sha512"),
        (BY_384, "sha384"),
        (BY_ALIAS, "sha256"),
        (BY_ALIAS, "sha512"),
    ]:
        name = digest(data, algorithm)
        headers = {**_full(name), "Content-Length": str(len(data))}
        yield Row("GET", f"{PATH}/{name}", 200, headers, data, note=str(len(data)))


def _missing() -> Iterator[Row]:
    for data, note in [
        (ABSENT, "never pushed"),
        (LOST, "link without data"),
        (DAMAGED, "damaged link"),
        (OCI_IMAGE, "a manifest is no blob"),
        (BY_512, "known by another digest"),
    ]:
        name = digest(data)
        yield refusal("GET", f"{PATH}/{name}", 404, "BLOB_UNKNOWN", name, note=note)
    yield refusal("GET", f"/v2/no/such/blobs/{digest(LAYER)}", 404, "BLOB_UNKNOWN", digest(LAYER))
    yield refusal(
        "GET", f"/v2/a/blobs/{digest(LAYER)}", 404, "BLOB_UNKNOWN", digest(LAYER), note="linked elsewhere"
    )
    for name, detail in [
        ("sha256:abc", "invalid checksum digest length"),
        ("sha512:" + "a" * 64, "invalid checksum digest length"),
        ("sha256:" + "A" * 64, "invalid checksum digest format"),
        ("sha256:" + "g" * 64, "invalid checksum digest format"),
        ("md5:" + "a" * 32, "unsupported digest algorithm"),
        ("sha256+b64:aaaa", "unsupported digest algorithm"),
    ]:
        for method in ("GET", "DELETE"):
            kind = "read" if method == "GET" else "delete"
            yield refusal(method, f"{PATH}/{name}", 400, "DIGEST_INVALID", detail, kind=kind)


def _conditions() -> Iterator[Row]:
    name = digest(LAYER)
    for value in [
        f'"{name}"',
        f'W/"{name}"',
        "*",
        f'"other", "{name}"',
        f'"other" , W/"{name}", "third"',
        name,
    ]:
        yield Row("GET", f"{PATH}/{name}", 304, _tagged(name), send={"If-None-Match": value})
    two_lines = [("If-None-Match", '"other"'), ("If-None-Match", f'"{name}"')]
    yield Row("GET", f"{PATH}/{name}", 304, _tagged(name), send=two_lines)
    for value in ['"other"', f'"{digest(CONFIG)}"', f'"{name}x"', '""']:
        yield Row("GET", f"{PATH}/{name}", 200, _full(name), LAYER, send={"If-None-Match": value})
    for value in [f'"{name}"', "*", f'"other", "{name}"']:
        yield Row("GET", f"{PATH}/{name}", 200, _full(name), LAYER, send={"If-Match": value})
    for value in ['"other"', f'W/"{name}"', '"a", "b"']:
        yield Row("GET", f"{PATH}/{name}", 412, _tagged(name), send={"If-Match": value})
    absent = digest(ABSENT)
    yield refusal("GET", f"{PATH}/{absent}", 404, "BLOB_UNKNOWN", absent, send={"If-None-Match": f'"{absent}"'})
    both = {"If-Match": '"other"', "If-None-Match": f'"{name}"'}
    yield Row("GET", f"{PATH}/{name}", 412, _tagged(name), send=both)


def _ranges() -> Iterator[Row]:
    name = digest(LONG)
    full = _full(name)

    def part(asked: str, first: int, last: int, **more: str) -> Row:
        headers = {**full, "Content-Range": f"bytes {first}-{last}/2048", "Content-Length": str(last - first + 1)}
        return Row("GET", LONG_PATH, 206, headers, LONG[first : last + 1], send={"Range": asked, **more})

    yield part("bytes=500-1499", 500, 1499)
    yield part("bytes=500-", 500, 2047)
    yield part("bytes=-500", 1548, 2047)
    yield part("bytes=2000-5000", 2000, 2047)
    yield part("bytes=0-0", 0, 0)
    yield part("bytes=2047-2047", 2047, 2047)
    yield part("bytes=-5000", 0, 2047)
    yield part("bytes=0-", 0, 2047)
    yield part("bytes= 0-1 , 9999-", 0, 1)
    yield part("bytes=0-1", 0, 1, **{"If-Range": f'"{name}"'})
    for condition in ['"other"', f'W/"{name}"', "Wed, 21 Oct 2015 07:28:00 GMT"]:
        yield Row("GET", LONG_PATH, 200, full, LONG, send={"Range": "bytes=0-1", "If-Range": condition})
    for asked in ["bytes=5000-10000", "bytes=2048-", "bytes=2048-2048,9999-", "bytes=-0"]:
        headers = {**PLAIN, "Docker-Content-Digest": name, "Content-Range": "bytes */2048"}
        yield Row("GET", LONG_PATH, 416, headers, re.compile(r".+\n"), send={"Range": asked})
    for asked in [
        "bytes=500-0",
        "bytes=a-b",
        "bytes=-",
        "bytes=",
        "bytes",
        "500-600",
        "bytes=1--2",
        "bytes=١-٢".encode().decode("latin-1"),
    ]:
        headers = {**PLAIN, "Docker-Content-Digest": name}
        yield Row("GET", LONG_PATH, 416, headers, re.compile(r".+\n"), send={"Range": asked})
    empty = digest(EMPTY)
    for asked in ["bytes=0-5", "bytes=-1", "bytes=9-"]:
        yield Row("GET", f"{PATH}/{empty}", 200, _full(empty), b"", send={"Range": asked})
    yield Row("GET", LONG_PATH, 304, _tagged(name), send={"Range": "bytes=0-1", "If-None-Match": f'"{name}"'})
    by_512 = digest(BY_512, "sha512")
    headers = {**_full(by_512), "Content-Range": f"bytes 3-6/{len(BY_512)}"}
    yield Row("GET", f"{PATH}/{by_512}", 206, headers, BY_512[3:7], send={"Range": "bytes=3-6"})


def _several_ranges() -> Iterator[Row]:
    headers = {
        **_full(digest(LONG)),
        "Content-Type": re.compile(r"multipart/byteranges; boundary=[0-9a-zA-Z]{1,70}"),
    }
    body = _multipart((0, 9), (100, 100), (2038, 2047))
    yield Row("GET", LONG_PATH, 206, headers, body, send={"Range": "bytes=0-9,100-100,-10"})
    yield Row("GET", LONG_PATH, 206, headers, _multipart((5, 6), (1, 2)), send={"Range": "bytes=5-6, 1-2,9999-"})
    # More than the whole: the whole.
    yield Row("GET", LONG_PATH, 200, _full(digest(LONG)), LONG, send={"Range": "bytes=0-2000,1000-2047"})


def _multipart(*spans: tuple[int, int]) -> re.Pattern[str]:
    parts = []
    for first, last in spans:
        content = re.escape(LONG[first : last + 1].decode("latin-1"))
        head = rf"Content-Range: bytes {first}-{last}/2048\r\nContent-Type: application/octet-stream"
        parts.append(rf"--(?:[0-9a-zA-Z]+)\r\n{head}\r\n\r\n{content}\r\n")
    return re.compile("".join(parts) + r"--(?:[0-9a-zA-Z]+)--\r\n")


def _deletion() -> Iterator[Row]:
    for data, algorithm in [(LAYER, "sha256"), (BY_512, "sha512"), (BY_ALIAS, "sha512")]:
        yield Row("DELETE", f"{PATH}/{digest(data, algorithm)}", 202, {"Content-Length": "0"}, kind="delete")
    absent = digest(ABSENT)
    yield refusal("DELETE", f"{PATH}/{absent}", 404, "BLOB_UNKNOWN", kind="delete")
    yield refusal("DELETE", f"/v2/no/such/blobs/{absent}", 404, "BLOB_UNKNOWN", kind="delete")
    yield refusal("DELETE", f"{PATH}/{digest(OCI_IMAGE)}", 404, "BLOB_UNKNOWN", kind="delete", note="a manifest")
