"""Manifests: reading, negotiation, conditions and removal (reference, 1.8, 2.4, 2.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from tests.wire.content import DOCKER, DOCKER_LIST, EVERYTHING, INDEX, OCI, SCHEMA_1, digest
from tests.wire.table import JSON, Row, refusal
from tests.wire.world import (
    ABSENT,
    APP,
    BARE_IMAGE,
    BARE_INDEX,
    DOCKER_IMAGE,
    IMAGE_512,
    LAYER,
    LIST,
    LIST_OF_ARM,
    LIST_OF_OCI,
    LOST_IMAGE,
    OCI_IMAGE,
    OCI_INDEX,
    OTHER_IMAGE,
    SCHEMA_1_IMAGE,
)

PATH = f"/v2/{APP}/manifests"
NOT_OCI = "OCI manifest found, but accept header does not support OCI manifests"
NOT_DOCKER = "Schema 2 manifest not supported by client"

STORED = [
    ("docker", DOCKER_IMAGE, DOCKER, "sha256"),
    ("docker-too", DOCKER_IMAGE, DOCKER, "sha256"),
    ("oci", OCI_IMAGE, OCI, "sha256"),
    ("bare", BARE_IMAGE, OCI, "sha256"),
    ("long", IMAGE_512, OCI, "sha512"),
    ("list", LIST, DOCKER_LIST, "sha256"),
    ("index", OCI_INDEX, INDEX, "sha256"),
    ("index-bare", BARE_INDEX, INDEX, "sha256"),
]


def rows() -> Iterator[Row]:
    yield from _stored()
    yield from _missing()
    yield from _negotiation()
    yield from _downgrade()
    yield from _conditions()
    yield from _deletion()


def found(target: str, data: bytes, media_type: str, algorithm: str = "sha256", **send: str) -> Row:
    name = digest(data, algorithm)
    headers = {
        "Content-Type": media_type,
        "Content-Length": str(len(data)),
        "Docker-Content-Digest": name,
        "ETag": f'"{name}"',
    }
    return Row(
        "GET", target, 200, headers, data, send={key.replace("_", "-"): value for key, value in send.items()}
    )


def _stored() -> Iterator[Row]:
    for tag, data, media_type, algorithm in STORED:
        for reference in (tag, digest(data, algorithm)):
            target = f"{PATH}/{reference}"
            yield found(target, data, media_type, algorithm, Accept=EVERYTHING)
            yield found(target, data, media_type, algorithm)
            yield found(target, data, media_type, algorithm, Accept="*/*")
            yield found(target, data, media_type, algorithm, Accept="application/*;q=0.1")
            yield found(target, data, media_type, algorithm, Accept=f"text/html, {media_type};q=0.2")


def _missing() -> Iterator[Row]:
    def unknown(name: str, reference: str, note: str = "") -> Row:
        detail = f"unknown manifest name={name} revision={reference}"
        return refusal("GET", f"/v2/{name}/manifests/{reference}", 404, "MANIFEST_UNKNOWN", detail, note=note)

    yield refusal("GET", f"{PATH}/nothing", 404, "MANIFEST_UNKNOWN", "unknown tag=nothing")
    yield refusal("GET", "/v2/no/such/manifests/latest", 404, "MANIFEST_UNKNOWN", "unknown tag=latest")
    yield refusal("GET", "/v2/emptied/manifests/gone", 404, "MANIFEST_UNKNOWN", "unknown tag=gone")
    yield unknown(APP, digest(ABSENT))
    yield unknown("no/such", digest(OCI_IMAGE))
    yield unknown(APP, digest(LAYER), "a layer is no manifest")
    yield unknown(APP, digest(IMAGE_512), "known by another digest")
    yield unknown(APP, digest(LOST_IMAGE), "link without data")
    yield Row(
        "GET",
        f"{PATH}/lost",
        404,
        {"Content-Type": JSON},
        re.compile(r'\{"errors":\[\{"code":"MANIFEST_UNKNOWN".*\}\]\}\n'),
        note="the tag of a manifest whose data has vanished",
    )
    for reference, detail in [
        ("sha256:baddigeststring", "invalid checksum digest length"),
        ("sha256:" + "A" * 64, "invalid checksum digest format"),
        ("md5:" + "a" * 32, "unsupported digest algorithm"),
        ("foo:bar", "unsupported digest algorithm"),
    ]:
        for method, kind in [("GET", "read"), ("PUT", "write"), ("DELETE", "delete")]:
            yield refusal(method, f"{PATH}/{reference}", 400, "DIGEST_INVALID", detail, kind=kind)
    hint = re.compile(
        r'\{"errors":\[\{"code":"[A-Z_]+","message":"[^"]*","detail":"[^"]*schema 1[^"]*onvert[^"]*"\}\]\}\n'
    )
    for reference in ("old", digest(SCHEMA_1_IMAGE)):
        yield Row("GET", f"{PATH}/{reference}", 400, {"Content-Type": JSON}, hint, note="a leftover of schema 1")


def _negotiation() -> Iterator[Row]:
    for tag, data in [("oci", OCI_IMAGE), ("bare", BARE_IMAGE)]:
        for reference in (tag, digest(data)):
            for accept in (DOCKER, f"{DOCKER_LIST},{INDEX}", "text/*", f"{OCI}x", "application/json"):
                target = f"{PATH}/{reference}"
                yield refusal("GET", target, 404, "MANIFEST_UNKNOWN", message=NOT_OCI, send={"Accept": accept})
    lines = [("Accept", DOCKER), ("Accept", f"{INDEX} , {OCI}")]
    yield replace(found(f"{PATH}/oci", OCI_IMAGE, OCI), send=lines)
    for reference in ("index", digest(OCI_INDEX)):
        yield found(f"{PATH}/{reference}", OCI_INDEX, INDEX, Accept=DOCKER)
    for reference in ("docker", digest(DOCKER_IMAGE)):
        yield found(f"{PATH}/{reference}", DOCKER_IMAGE, DOCKER, Accept=OCI)
        yield found(f"{PATH}/{reference}", DOCKER_IMAGE, DOCKER, Accept=SCHEMA_1)


def _downgrade() -> Iterator[Row]:
    for accept in (DOCKER, f"{OCI},{DOCKER}", f"{INDEX}, {DOCKER};q=0.1"):
        yield found(f"{PATH}/list", DOCKER_IMAGE, DOCKER, Accept=accept)
        yield found(f"{PATH}/{digest(LIST)}", LIST, DOCKER_LIST, Accept=accept)
    yield refusal("GET", f"{PATH}/list", 400, "MANIFEST_INVALID", message=NOT_DOCKER, send={"Accept": OCI})
    yield found(f"{PATH}/list-oci", OCI_IMAGE, OCI, Accept=f"{DOCKER},{OCI}")
    unknown = re.compile(r'\{"errors":\[\{"code":"MANIFEST_UNKNOWN",.*\}\]\}\n')
    for tag in ("list-arm", "list-lost"):
        yield Row("GET", f"{PATH}/{tag}", 404, {"Content-Type": JSON}, unknown, send={"Accept": DOCKER})
    yield found(f"{PATH}/list-arm", LIST_OF_ARM, DOCKER_LIST, Accept=DOCKER_LIST)
    yield found(f"{PATH}/list-oci", LIST_OF_OCI, DOCKER_LIST, Accept=DOCKER_LIST)


def _conditions() -> Iterator[Row]:
    name, etag = digest(OCI_IMAGE), f'"{digest(OCI_IMAGE)}"'
    for reference in ("oci", name):
        target = f"{PATH}/{reference}"
        for value in (etag, name, f"W/{etag}", "*", f'"a", {etag}', f'"a",W/{etag} , "b"'):
            yield Row("GET", target, 304, {"ETag": etag}, send={"If-None-Match": value})
        two_lines = [("If-None-Match", '"a"'), ("If-None-Match", etag)]
        yield Row("GET", target, 304, {"ETag": etag}, send=two_lines)
        for value in ('"a"', f'"{digest(OTHER_IMAGE)}"', f'"{name[:-1]}"'):
            yield found(target, OCI_IMAGE, OCI, If_None_Match=value)
        yield found(target, OCI_IMAGE, OCI, If_Match=etag)
        yield Row("GET", target, 412, {"ETag": etag}, send={"If-Match": '"other"'})
    absent = digest(ABSENT)
    for value in (f'"{absent}"', "*"):
        detail = f"unknown manifest name={APP} revision={absent}"
        yield refusal("GET", f"{PATH}/{absent}", 404, "MANIFEST_UNKNOWN", detail, send={"If-None-Match": value})
    # The condition is on what would be sent, here one image of the list.
    child = f'"{digest(DOCKER_IMAGE)}"'
    yield Row("GET", f"{PATH}/list", 304, {"ETag": child}, send={"Accept": DOCKER, "If-None-Match": child})
    send = {"Accept": DOCKER, "If-None-Match": f'"{digest(LIST)}"'}
    yield replace(found(f"{PATH}/list", DOCKER_IMAGE, DOCKER), send=send)


def _deletion() -> Iterator[Row]:
    for reference in [tag for tag, *_ in STORED] + [digest(data, algorithm) for _, data, _, algorithm in STORED]:
        yield Row("DELETE", f"{PATH}/{reference}", 202, {"Content-Length": "0"}, kind="delete")
    for reference in (digest(ABSENT), digest(LAYER), digest(IMAGE_512)):
        yield refusal("DELETE", f"{PATH}/{reference}", 404, "MANIFEST_UNKNOWN", kind="delete")
    unknown = re.compile(r'\{"errors":\[\{"code":"MANIFEST_UNKNOWN",.*\}\]\}\n')
    for target in (f"{PATH}/nothing", "/v2/no/such/manifests/latest", "/v2/emptied/manifests/gone"):
        yield Row("DELETE", target, 404, {"Content-Type": JSON}, unknown, kind="delete")
