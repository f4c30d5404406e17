"""Uploads: the state machine, single POST, mounts (reference, 1.10-1.12)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from tests.wire.content import digest
from tests.wire.table import JSON, Row, Value, refusal
from tests.wire.world import ABSENT, APP, BY_512, BY_ALIAS, DAMAGED, EMPTY, LAYER, LOST, OCI_IMAGE

PATH = f"/v2/{APP}/blobs/uploads/"
SESSION = "0190d7a0-0000-7000-8000-000000000000"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
LOCATION = re.compile(rf"$ROOTv2/{APP}/blobs/uploads/{UUID.pattern}\?_state=[0-9A-Za-z_-]+(?:%3D)*")
OCTETS = "application/octet-stream"
PARTIAL = b"1234"


def rows() -> Iterator[Row]:
    yield from _start()
    yield from _mount()
    yield from _single_post()
    yield from _status()
    yield from _unknown()
    yield from _chunks()
    yield from _finish()
    yield Row("DELETE", "$UPLOAD", 204, {"Docker-Upload-UUID": UUID}, kind="write")
    yield Row("DELETE", "$PART", 204, {"Docker-Upload-UUID": UUID}, kind="write")


def _session(last: int) -> dict[str, Value]:
    return {"Location": LOCATION, "Range": f"0-{last}", "Docker-Upload-UUID": UUID}


def _started(target: str, note: str = "", **send: str) -> Row:
    headers = {**_session(0), "Content-Length": "0"}
    return Row("POST", target, 202, headers, send=send, kind="write", note=note)


def _created(method: str, target: str, name: str, data: bytes = b"", note: str = "", **send: str) -> Row:
    headers: dict[str, Value] = {
        "Location": f"$ROOTv2/{APP}/blobs/{name}",
        "Docker-Content-Digest": name,
        "Content-Length": "0",
    }
    return Row(method, target, 201, headers, data=data, kind="write", note=note, send=send)


def _start() -> Iterator[Row]:
    yield _started(PATH)
    yield _started(f"{PATH}?unknown=x")
    yield _started(
        f"/v2/{APP}/blobs/uploads/", "with a form", **{"Content-Type": "application/x-www-form-urlencoded"}
    )
    for algorithm in ("sha256", "sha384", "sha512"):
        yield _started(f"{PATH}?digest-algorithm={algorithm}")
    for algorithm in ("md5", "SHA256", "sha256:"):
        body = re.compile(r'\{"errors":\[\{"code":"[A-Z_]+",.*\}\]\}\n')
        target = f"{PATH}?digest-algorithm={algorithm}"
        yield Row("POST", target, 400, {"Content-Type": JSON}, body, kind="write")


def _mount() -> Iterator[Row]:
    here = f"/v2/{APP}/blobs/uploads/"
    name = digest(LAYER)
    yield _created("POST", f"{here}?mount={name}&from=layers/only", name, note="from another repository")
    yield _created("POST", f"{here}?mount={name}&from=layers%2Fonly", name)
    yield _created("POST", f"{here}?from={APP}&mount={name}", name, note="from itself")
    yield _created("POST", f"{here}?mount={name}", name, note="anonymous")
    yield _created("POST", f"{here}?mount={name}&from=", name, note="anonymous")
    by_512 = digest(BY_512, "sha512")
    yield _created("POST", f"{here}?mount={by_512}&from={APP}", by_512, note="sha512")
    yield _created("POST", f"{here}?mount={by_512}", by_512, note="sha512, anonymous")
    alias = digest(BY_ALIAS, "sha512")
    yield _created("POST", f"{here}?mount={alias}&from={APP}", alias, note="an alias")
    for query, note in [
        (f"mount={digest(ABSENT)}&from={APP}", "absent"),
        (f"mount={digest(ABSENT)}", "absent, anonymous"),
        (f"mount={digest(LOST)}&from={APP}", "link without data"),
        (f"mount={digest(DAMAGED)}&from={APP}", "damaged link"),
        (f"mount={name}&from=no/such", "no such repository"),
        (f"mount={name}&from=test", "not linked there"),
        (f"mount={digest(OCI_IMAGE)}&from={APP}", "a manifest"),
        (f"mount=nonsense&from={APP}", "no digest"),
        (f"mount={name}&from=UPPER//case", "no name"),
        (f"mount={name}&from=host:5000/app", "a port"),
        (f"mount=&from={APP}", "no mount"),
        (f"from={APP}", "no mount"),
    ]:
        yield _started(f"{here}?{query}", note)


def _single_post() -> Iterator[Row]:
    for algorithm in ("sha256", "sha384", "sha512"):
        for data in (ABSENT, LAYER):
            name = digest(data, algorithm)
            yield _created("POST", f"{PATH}?digest={name}", name, data, **{"Content-Type": OCTETS})
    name = digest(ABSENT)
    row = _created("POST", f"{PATH}?digest={name}", name, note="chunked")
    yield replace(row, data=[ABSENT[:5], ABSENT[5:]])
    yield _created("POST", f"{PATH}?digest={digest(EMPTY)}", digest(EMPTY), note="the empty blob")
    yield _started(f"{PATH}?digest={name}", "no body, Content-Length 0")
    yield _started(f"{PATH}?digest=")
    mismatch = f"invalid digest for referenced layer: {name}, content does not match digest"
    yield refusal("POST", f"{PATH}?digest={name}", 400, "DIGEST_INVALID", mismatch, data=LAYER, kind="write")
    body = re.compile(r'\{"errors":\[\{"code":"DIGEST_INVALID",.*\}\]\}\n')
    for bad in ("nonsense", "sha256:abc", "md5:" + "a" * 32):
        yield Row("POST", f"{PATH}?digest={bad}", 400, {"Content-Type": JSON}, body, data=LAYER, kind="write")


def _status() -> Iterator[Row]:
    yield Row("GET", "$UPLOAD", 204, _session(0))
    yield Row("GET", "$PART", 204, _session(3))
    yield Row("GET", "$STATUS", 204, _session(3), note="the state is not needed")
    yield Row("GET", "$STATUS?_state=nonsense", 204, _session(3), note="nor looked at")
    yield Row("GET", "$STALE", 204, _session(3))


def _unknown() -> Iterator[Row]:
    text = "blob upload unknown"
    yield refusal("GET", PATH, 404, "BLOB_UPLOAD_UNKNOWN", text)
    for method in ("PATCH", "PUT", "DELETE"):
        yield refusal(method, PATH, 404, "BLOB_UPLOAD_UNKNOWN", kind="write")
    for session in (SESSION, "nonsense", "a=b", "..-..", "0"):
        yield refusal("GET", f"{PATH}{session}", 404, "BLOB_UPLOAD_UNKNOWN", text)
    yield refusal("GET", f"/v2/no/such/blobs/uploads/{SESSION}", 404, "BLOB_UPLOAD_UNKNOWN", text)
    for method in ("PATCH", "PUT", "DELETE", "POST"):
        for target in (
            "$STATUS",
            "$STATUS?_state=",
            "$STATUS?_state=nonsense",
            "$STATUS?_state=AAAA",
            "$STATUS?_state=%FF",
        ):
            body = re.compile(
                r'\{"errors":\[\{"code":"BLOB_UPLOAD_INVALID","message":"[a-z ]+","detail":".+"\}\]\}\n'
            )
            yield Row(method, target, 404, {"Content-Type": JSON}, body, kind="write")


def _chunks() -> Iterator[Row]:
    done = {**_session(3), "Content-Length": "0"}
    octets = {"Content-Type": OCTETS}
    for note, send, data in [
        ("streamed", octets, [b"12", b"34"]),
        ("with its length", octets, PARTIAL),
        ("no type", {}, PARTIAL),
        ("with its range", {**octets, "Content-Range": "0-3"}, PARTIAL),
        ("streamed with its range", {**octets, "Content-Range": "0-3"}, [PARTIAL]),
    ]:
        yield Row("PATCH", "$UPLOAD", 202, done, send=send, data=data, kind="write", note=note)
    more = {**_session(7), "Content-Length": "0"}
    yield Row("PATCH", "$PART", 202, more, send={"Content-Range": "4-7"}, data=PARTIAL, kind="write")
    yield Row("PATCH", "$PART", 202, more, data=[PARTIAL], kind="write")
    yield Row("PATCH", "$PART", 202, {**_session(3), "Content-Length": "0"}, kind="write", note="nothing")
    yield Row(
        "PATCH", "$UPLOAD", 202, {**_session(0), "Content-Length": "0"}, data=b"1", kind="write", note="one byte"
    )
    yield from _out_of_order("PATCH", "")
    for media_type in ("text/plain", "application/octet-stream; charset=utf-8", "application/json", "nonsense"):
        body = re.compile(r'\{"errors":\[\{"code":"[A-Z_]+",.*Content-Type.*\}\]\}\n')
        send = {"Content-Type": media_type}
        yield Row("PATCH", "$PART", 415, {"Content-Type": JSON}, body, send, PARTIAL, kind="write")


def _out_of_order(method: str, query: str) -> Iterator[Row]:
    """Refused, and the session is as it was: the table's runner finishes it afterwards."""

    def refused(target: str, status: int, code: str, asked: str, data: bytes, note: str = "") -> Row:
        send = {"Content-Range": asked, "Content-Type": OCTETS}
        target = f"{target}{query}"
        return refusal(method, target, status, code, send=send, data=data, kind="write", note=note)

    for target, asked, data in [
        ("$UPLOAD", "3-22", b"x" * 20),
        ("$UPLOAD", "1-4", PARTIAL),
        ("$PART", "0-3", PARTIAL),
        ("$PART", "5-8", PARTIAL),
        ("$PART", "3-6", PARTIAL),
        ("$PART", "7-4", PARTIAL),
        ("$PART", "5-4", PARTIAL),
    ]:
        yield refused(target, 416, "RANGE_INVALID", asked, data)
    yield refused("$UPLOAD", 400, "SIZE_INVALID", "0-20", b"x" * 22)
    yield refused("$PART", 400, "SIZE_INVALID", "4-7", b"x" * 3)
    yield refused("$PART", 400, "SIZE_INVALID", "4-7", b"x" * 5)
    # The start is looked at first.
    yield refused("$UPLOAD", 416, "RANGE_INVALID", "3-22", b"x" * 5, "both wrong")
    body = re.compile(r'\{"errors":\[\{"code":"(?:RANGE_INVALID|BLOB_UPLOAD_INVALID)",.*\}\]\}\n')
    for asked in (
        "nonsense",
        "4",
        "4-",
        "-7",
        "4-7/8",
        "bytes 4-7/8",
        "bytes=4-7",
        "4-7,9-10",
        "4--7",
        "٤-٧".encode().decode("latin-1"),
        "9" * 30 + "-" + "9" * 31,
    ):
        send = {"Content-Range": asked}
        yield Row(method, f"$PART{query}", 416, {"Content-Type": JSON}, body, send, PARTIAL, kind="write")
    stale = {"send": {"Content-Type": OCTETS}, "kind": "write"}
    yield refusal(method, f"$STALE{query}", 416, "RANGE_INVALID", data=PARTIAL, **stale)
    yield refusal(method, f"$STALE{query}", 416, "RANGE_INVALID", data=[PARTIAL], note="streamed", **stale)


def _finish() -> Iterator[Row]:
    whole = PARTIAL + b"5678"
    for algorithm in ("sha256", "sha384", "sha512"):
        name, part = digest(whole, algorithm), digest(PARTIAL, algorithm)
        yield _created("PUT", f"$PART&digest={name}", name, b"5678", "the last chunk")
        yield _created("PUT", f"$PART&digest={part}", part)
        yield _created("PUT", f"$UPLOAD&digest={name}", name, whole, "all of it")
        yield _created("PUT", f"$UPLOAD&digest={digest(EMPTY, algorithm)}", digest(EMPTY, algorithm))
        yield _created("PUT", f"$PART&digest={name}", name, b"5678", "with its range", **{"Content-Range": "4-7"})
    name = digest(whole)
    yield _created("PUT", f"$PART&digest={name}", name, b"5678", "any type", **{"Content-Type": "text/plain"})
    yield _created("PUT", f"$UPLOAD&digest={digest(LAYER)}", digest(LAYER), LAYER, "stored already")
    yield refusal("PUT", "$PART", 400, "DIGEST_INVALID", "digest missing", kind="write", data=PARTIAL)
    yield refusal("PUT", "$PART&digest=", 400, "DIGEST_INVALID", "digest missing", kind="write")
    for bad in ("nonsense", "sha256:abc", "md5:" + "a" * 32, "sha256:" + "A" * 64):
        target = f"$PART&digest={bad}"
        yield refusal("PUT", target, 400, "DIGEST_INVALID", "digest parsing failed", kind="write", data=PARTIAL)
    for target in ("$PART", "$UPLOAD"):
        detail = f"invalid digest for referenced layer: {digest(ABSENT)}, content does not match digest"
        target = f"{target}&digest={digest(ABSENT)}"  # noqa: PLW2901
        yield refusal("PUT", target, 400, "DIGEST_INVALID", detail, kind="write", data=b"567", removes=True)
    yield from _out_of_order("PUT", f"&digest={name}")
