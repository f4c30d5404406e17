"""What a manifest must be to be stored (reference, 1.8 PUT, 2.1, 2.3, 2.5)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

from tests.wire.content import (
    DOCKER,
    DOCKER_LAYER,
    DOCKER_LIST,
    ELSEWHERE_LAYER,
    FOREIGN_LAYER,
    INDEX,
    OCI,
    OCI_CONFIG,
    OCI_LAYER,
    SCHEMA_1,
    ZSTD_LAYER,
    as_json,
    descriptor,
    digest,
    image,
    index,
)
from tests.wire.table import JSON, Row, Value, errors, refusal
from tests.wire.world import (
    ABSENT,
    AMD64,
    APP,
    BY_384,
    BY_512,
    BY_ALIAS,
    CONFIG,
    DOCKER_CONFIG_ITEM,
    DOCKER_IMAGE,
    LAYER,
    LAYER_ITEM,
    LIST,
    LOST,
    OCI_CONFIG_ITEM,
    OCI_IMAGE,
    OCI_INDEX,
    OTHER_IMAGE,
)

PATH = f"/v2/{APP}/manifests"
LIMIT = 4 * 1024 * 1024


def rows() -> Iterator[Row]:
    yield from _accepted()
    yield from _tags()
    yield from _types()
    yield from _documents()
    yield from _fields()
    yield from _references()
    yield from _layers_elsewhere()
    yield from _children()
    yield from _sizes()


def stored(reference: str, data: bytes, media_type: str, note: str = "", subject: str = "", tags: str = "") -> Row:
    """A push that is accepted; `tags` are asked for in the query, separated by commas."""
    algorithm = reference.partition(":")[0] if ":" in reference else "sha256"
    name = digest(data, algorithm)
    headers: dict[str, Value] = {
        "Location": f"$ROOTv2/{APP}/manifests/{name}",
        "Docker-Content-Digest": name,
        "Content-Length": "0",
    }
    if subject:
        headers["OCI-Subject"] = subject
    query = "?" + "&".join(f"tag={tag}" for tag in tags.split(",")) if tags else ""
    send = {"Content-Type": media_type}
    return Row("PUT", f"{PATH}/{reference}{query}", 201, headers, b"", send, data, kind="write", note=note)


def refused(
    data: bytes,
    detail: object,
    media_type: str = OCI,
    note: str = "",
    code: str = "MANIFEST_INVALID",
    status: int = 400,
) -> Row:
    send = {"Content-Type": media_type}
    return refusal("PUT", f"{PATH}/new", status, code, detail, send=send, data=data, kind="write", note=note)


def invalid(data: bytes, media_type: str = OCI, note: str = "") -> Row:
    """A push that is refused as MANIFEST_INVALID, in whatever words."""
    body = re.compile(
        r'\{"errors":\[\{"code":"MANIFEST_INVALID","message":"manifest invalid","detail":".+"\}\]\}\n', re.DOTALL
    )
    send = {"Content-Type": media_type}
    return Row("PUT", f"{PATH}/new", 400, {"Content-Type": JSON}, body, send, data, kind="write", note=note)


def _accepted() -> Iterator[Row]:
    new = image(OCI, OCI_CONFIG_ITEM, LAYER_ITEM, annotations={"new": "one"})
    for reference in ("new", "oci", "T" * 128, digest(new), digest(new, "sha512"), digest(new, "sha384")):
        yield stored(reference, new, OCI)
    for data, media_type in [(DOCKER_IMAGE, DOCKER), (OCI_IMAGE, OCI), (LIST, DOCKER_LIST), (OCI_INDEX, INDEX)]:
        yield stored("again", data, media_type, note="once more")
        yield stored(digest(data), data, media_type, note="once more")
        yield stored("new", data, f"{media_type}; charset=utf-8")
        yield stored("new", data, media_type.upper())
    yield stored(
        "new", as_json({"schemaVersion": 2, "config": OCI_CONFIG_ITEM, "layers": []}), OCI, "no mediaType"
    )
    yield stored("new", as_json({"schemaVersion": 2, "manifests": []}), INDEX, "no mediaType")
    yield stored("new", index(INDEX), INDEX, "empty index")
    yield stored("new", image(OCI, OCI_CONFIG_ITEM, manifests=None, artifactType="a/b", unknown={"x": [1]}), OCI)
    yield stored("new", index(INDEX, config=None, layers=None, artifactType="a/b"), INDEX, "nulls")
    layers = [descriptor(OCI_LAYER, BY_512, "sha512"), descriptor(OCI_LAYER, BY_384, "sha384")]
    yield stored("new", image(OCI, OCI_CONFIG_ITEM, *layers), OCI, "sha512 and sha384 layers")
    yield stored("new", image(OCI, OCI_CONFIG_ITEM, descriptor(OCI_LAYER, BY_ALIAS, "sha512")), OCI, "an alias")
    yield stored(
        "new", image(DOCKER, DOCKER_CONFIG_ITEM, manifests=[]), DOCKER, "Docker does not look at manifests"
    )
    yield stored("new", index(DOCKER_LIST, config={}, layers=[]), DOCKER_LIST, "Docker does not look at config")
    yield stored("new", image(OCI, OCI_CONFIG_ITEM, {**LAYER_ITEM, "data": "dGV4dA=="}), OCI, "data")
    yield stored(
        "new",
        OCI_IMAGE.replace(b'"schemaVersion": 2', b'"schemaVersion": 3, "schemaVersion": 2'),
        OCI,
        "last wins",
    )
    nested = index(INDEX, descriptor(INDEX, OCI_INDEX), descriptor(DOCKER_LIST, LIST))
    yield stored("new", nested, INDEX, "nested, without platforms")
    for subject, data in [
        (digest(OCI_IMAGE), OCI_IMAGE),
        (digest(ABSENT), ABSENT),
        (digest(ABSENT, "sha512"), ABSENT),
    ]:
        item = descriptor(OCI, data, subject.partition(":")[0])
        yield stored("new", image(OCI, OCI_CONFIG_ITEM, subject=item), OCI, "subject", subject)
        yield stored(digest(index(INDEX, subject=item)), index(INDEX, subject=item), INDEX, "subject", subject)
    yield stored("new", _of_size(LIMIT), OCI, "exactly the limit")


def _of_size(size: int) -> bytes:
    data = image(OCI, OCI_CONFIG_ITEM, annotations={"filler": ""})
    filled = data.replace(b'"filler": ""', b'"filler": "' + b"x" * (size - len(data)) + b'"')
    assert len(filled) == size
    return filled


def _tags() -> Iterator[Row]:
    name = digest(OCI_IMAGE)

    def tagged(reference: str, tags: list[str], note: str = "") -> Row:
        row = stored(reference, OCI_IMAGE, OCI, note, tags=",".join(map(quote, tags)))
        return replace(row, headers={**row.headers, "OCI-Tag": ", ".join(tags)})

    for reference in (name, digest(OCI_IMAGE, "sha512"), "new"):
        yield tagged(reference, ["one"])
        yield tagged(reference, [f"tag-{number}" for number in range(20)])
    send = {"Content-Type": OCI}
    for tag in ("-bad", "", "a/b", "t" * 129, "sha256:abc"):
        target = f"{PATH}/{name}?tag=good&tag={quote(tag, safe='')}"
        body = re.compile(
            r'\{"errors":\[\{"code":"TAG_INVALID","message":"manifest tag did not match URI","detail":".*"\}\]\}\n'
        )
        yield Row("PUT", target, 400, {"Content-Type": JSON}, body, send, OCI_IMAGE, kind="write")
    many = "&".join(f"tag=t{number}" for number in range(2000))
    body = re.compile(r'\{"errors":\[\{"code":"TAG_INVALID",.*\}\]\}\n')
    yield Row("PUT", f"{PATH}/{name}?{many}", 414, {"Content-Type": JSON}, body, send, OCI_IMAGE, kind="write")


def _types() -> Iterator[Row]:
    unsupported = "unsupported manifest media type and no default available: "
    for media_type in ("application/json", "text/plain", "application/vnd.oci.image.config.v1+json"):
        yield refused(OCI_IMAGE, f"{unsupported}{media_type}", media_type)
    yield refused(OCI_IMAGE, unsupported, "", "empty Content-Type")
    body = errors(("MANIFEST_INVALID", unsupported))
    yield Row("PUT", f"{PATH}/new", 400, {"Content-Type": JSON}, body, {}, OCI_IMAGE, kind="write", note="no type")
    for media_type in (SCHEMA_1, "application/vnd.docker.distribution.manifest.v1+prettyjws"):
        body = re.compile(r'.*"MANIFEST_INVALID".*schema 1.*[Cc]onvert.*\n')
        send = {"Content-Type": media_type}
        yield Row("PUT", f"{PATH}/new", 400, {"Content-Type": JSON}, body, send, b"{}", kind="write")
    for media_type in ("nonsense", "a/b/c", "; charset=utf-8", f"{OCI} {OCI}", "application/"):
        yield invalid(OCI_IMAGE, media_type)
    name = digest(OTHER_IMAGE)
    for algorithm in ("sha256", "sha384", "sha512"):
        target = f"{PATH}/{digest(OTHER_IMAGE, algorithm)}"
        send = {"Content-Type": OCI}
        yield refusal(
            "PUT", target, 400, "DIGEST_INVALID", send=send, data=OCI_IMAGE, kind="write", note=name[:12]
        )


def _documents() -> Iterator[Row]:
    for data, note in [
        (b"", "empty"),
        (b"{", "unfinished"),
        (b"[]", "a list"),
        (b"null", "null"),
        (b'"text"', "text"),
        (b"\xff\xfe", "no UTF-8"),
        (OCI_IMAGE + b"x", "more behind the end"),
        (b"[" * 100_000, "deep"),
        (b'{"schemaVersion":2,"a":' + b'{"a":' * 50_000, "deep"),
        (b'{"schemaVersion":2,"config":NaN}', "NaN"),
    ]:
        for media_type in (OCI, DOCKER, INDEX, DOCKER_LIST):
            yield invalid(data, media_type, note)
    for version in (1, 3, 0, -2, "2", 2.5, True, None, [2], {"a": 2}, 10**30):
        data = as_json({**json.loads(OCI_IMAGE), "schemaVersion": version})
        yield invalid(data, OCI, f"schemaVersion {version}")
        yield invalid(
            as_json({**json.loads(LIST), "schemaVersion": version}), DOCKER_LIST, f"schemaVersion {version}"
        )
    yield invalid(OCI_IMAGE.replace(b'"schemaVersion": 2', b'"schemaVersion": 2.0'), OCI, "schemaVersion 2.0")
    yield invalid(as_json({"config": OCI_CONFIG_ITEM, "layers": []}), OCI, "no schemaVersion")

    def wrong(kind: str, want: str, got: str) -> str:
        return f"{kind} should be '{want}' not '{got}'"

    as_oci = image(OCI, DOCKER_CONFIG_ITEM)
    yield refused(as_oci, wrong("mediaType in manifest", DOCKER, OCI), DOCKER)
    yield refused(
        as_json({"schemaVersion": 2, "config": DOCKER_CONFIG_ITEM}),
        wrong("mediaType in manifest", DOCKER, ""),
        DOCKER,
    )
    yield refused(DOCKER_IMAGE, wrong("if present, mediaType in manifest", OCI, DOCKER), OCI)
    yield refused(OCI_INDEX, wrong("mediaType in manifest list", DOCKER_LIST, INDEX), DOCKER_LIST)
    yield refused(LIST, wrong("if present, mediaType in image index", INDEX, DOCKER_LIST), INDEX)
    confused = as_json({"schemaVersion": 2, "config": OCI_CONFIG_ITEM, "layers": [], "manifests": []})
    yield refused(confused, "ocimanifest: expected manifest but found index", OCI)
    yield refused(confused, "index: expected index but found manifest", INDEX)
    yield refused(
        as_json({"schemaVersion": 2, "manifests": [], "layers": []}),
        "index: expected index but found manifest",
        INDEX,
    )
    too_large = re.compile(r'\{"errors":\[\{"code":"(?:MANIFEST_INVALID|SIZE_INVALID)",.*\}\]\}\n')
    for body in (_of_size(LIMIT + 1), [b"x" * 1_000_000] * 5):
        send = {"Content-Type": OCI}
        yield Row(
            "PUT",
            f"{PATH}/new",
            413,
            {"Content-Type": JSON},
            too_large,
            send,
            body,
            kind="write",
            note="too large",
        )


def _fields() -> Iterator[Row]:
    document = json.loads(OCI_IMAGE)
    listing = json.loads(OCI_INDEX)
    for name, values in {
        "mediaType": [1, [], {}],
        "config": [1, "x", [], [OCI_CONFIG_ITEM]],
        "layers": [1, "x", {}, [1], ["x"], [None], [[]]],
        "annotations": [1, "x", [], {"a": 1}, {"a": None}, {"a": {}}],
        "subject": [1, "x", [], {"digest": "nonsense"}, {}],
        "artifactType": [1, [], {}],
    }.items():
        for value in values:
            yield invalid(as_json({**document, name: value}), OCI, f"{name} {value!r}")
    for name, values in {
        "mediaType": [1, []],
        "digest": [1, []],
        "size": ["1", 1.5, -1, 2**63, 10**30, [], True],
        "urls": ["https://example.com", [1], {}],
        "annotations": [[], {"a": 1}],
        "data": [1, [], "not base64!", "dGV4dA"],
        "platform": [1, "linux", [], {"os": 1}, {"os": "linux", "os.features": "x"}],
        "artifactType": [1, {}],
    }.items():
        for value in values:
            broken = {**LAYER_ITEM, name: value}
            yield invalid(as_json({**document, "layers": [broken]}), OCI, f"layer {name} {value!r}")
            broken = {**listing["manifests"][0], name: value}
            yield invalid(as_json({**listing, "manifests": [broken]}), INDEX, f"child {name} {value!r}")


def _references() -> Iterator[Row]:
    absent, lost = descriptor(OCI_LAYER, ABSENT), descriptor(OCI_LAYER, LOST)
    unknown = "MANIFEST_BLOB_UNKNOWN"
    yield refused(image(OCI, OCI_CONFIG_ITEM, absent), digest(ABSENT), code=unknown)
    yield refused(image(DOCKER, descriptor(OCI_CONFIG, ABSENT)), digest(ABSENT), DOCKER, "config", unknown)
    yield refused(image(OCI, OCI_CONFIG_ITEM, lost), digest(LOST), note="link without data", code=unknown)
    yield refused(
        image(OCI, OCI_CONFIG_ITEM, descriptor(OCI, OCI_IMAGE)), digest(OCI_IMAGE), note="a manifest", code=unknown
    )
    yield refused(
        image(OCI, OCI_CONFIG_ITEM, descriptor("a/b", ABSENT)), digest(ABSENT), note="any type", code=unknown
    )
    yield refused(
        image(OCI, OCI_CONFIG_ITEM, descriptor(ZSTD_LAYER, ABSENT)), digest(ABSENT), note="zstd", code=unknown
    )
    yield refused(
        image(DOCKER, DOCKER_CONFIG_ITEM, descriptor(DOCKER_LAYER, ABSENT)), digest(ABSENT), DOCKER, code=unknown
    )
    several = image(OCI, descriptor(OCI_CONFIG, ABSENT), LAYER_ITEM, lost, absent)
    body = errors((unknown, digest(ABSENT)), (unknown, digest(LOST)), (unknown, digest(ABSENT)))
    send = {"Content-Type": OCI}
    yield Row("PUT", f"{PATH}/new", 400, {"Content-Type": JSON}, body, send, several, kind="write", note="several")
    target = "/v2/no/such/manifests/new"
    body = errors((unknown, digest(CONFIG)), (unknown, digest(LAYER)))
    yield Row(
        "PUT", target, 400, {"Content-Type": JSON}, body, send, OCI_IMAGE, kind="write", note="blobs elsewhere"
    )
    for bad, text in [
        ("nonsense", "invalid checksum digest format"),
        ("", "invalid checksum digest format"),
        ("sha256:abc", "invalid checksum digest length"),
        ("md5:" + "a" * 32, "unsupported digest algorithm"),
        ("sha256:../../../../etc/passwd", "invalid checksum digest length"),
    ]:
        body = errors(("DIGEST_INVALID", text), (unknown, bad))
        data = image(OCI, {**OCI_CONFIG_ITEM, "digest": bad})
        yield Row("PUT", f"{PATH}/new", 400, {"Content-Type": JSON}, body, send, data, kind="write", note=bad)


def _layers_elsewhere() -> Iterator[Row]:
    """By default no URL is allowed."""
    url = ["https://example.com/layer"]
    message = f"missing URL on layer {digest(ABSENT)}"
    foreign = descriptor(FOREIGN_LAYER, ABSENT)
    yield invalid(image(DOCKER, DOCKER_CONFIG_ITEM, foreign), DOCKER, message)
    yield invalid(image(DOCKER, DOCKER_CONFIG_ITEM, {**foreign, "urls": url}), DOCKER, "URL on a foreign layer")
    for media_type in (ELSEWHERE_LAYER, ELSEWHERE_LAYER.removesuffix("+gzip"), OCI_LAYER):
        with_url = descriptor(media_type, LAYER, urls=url)
        yield invalid(image(OCI, OCI_CONFIG_ITEM, with_url), OCI, f"URL on {media_type}")
    missing = descriptor(ELSEWHERE_LAYER, ABSENT)
    yield refused(
        image(OCI, OCI_CONFIG_ITEM, missing), digest(ABSENT), note="no URL", code="MANIFEST_BLOB_UNKNOWN"
    )
    yield stored("new", image(OCI, OCI_CONFIG_ITEM, descriptor(ELSEWHERE_LAYER, LAYER)), OCI, "present, no URL")
    yield stored(
        "new", image(OCI, OCI_CONFIG_ITEM, descriptor(ZSTD_LAYER, LAYER, urls=url)), OCI, "zstd is not checked"
    )
    yield stored("new", image(OCI, {**OCI_CONFIG_ITEM, "urls": url}), OCI, "nor is the config")


def _children() -> Iterator[Row]:
    absent = descriptor(OCI, ABSENT)
    unknown = "MANIFEST_BLOB_UNKNOWN"
    yield refused(index(INDEX, absent), digest(ABSENT), INDEX, code=unknown)
    yield refused(index(DOCKER_LIST, {**absent, "platform": AMD64}), digest(ABSENT), DOCKER_LIST, code=unknown)
    yield refused(index(INDEX, descriptor(OCI, LAYER)), digest(LAYER), INDEX, "a layer", unknown)
    body = errors((unknown, digest(ABSENT)), (unknown, digest(LAYER)))
    data = index(INDEX, absent, descriptor(OCI, OCI_IMAGE), descriptor(OCI, LAYER))
    yield Row("PUT", f"{PATH}/new", 400, {"Content-Type": JSON}, body, {"Content-Type": INDEX}, data, kind="write")


def _sizes() -> Iterator[Row]:
    for data, media_type in [
        (image(OCI, OCI_CONFIG_ITEM, {**LAYER_ITEM, "size": len(LAYER) + 1}), OCI),
        (image(OCI, {**OCI_CONFIG_ITEM, "size": 0}), OCI),
        (index(INDEX, {**descriptor(OCI, OCI_IMAGE), "size": 1}), INDEX),
    ]:
        yield invalid(data, media_type, "another size")
