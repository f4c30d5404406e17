"""Referrers of what clients pushed to the original, which they list in a tag (reference, 9)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

from tests.wire.content import INDEX, OCI, Document, digest
from tests.wire.table import Row, Value, refusal
from tests.wire.world import ABSENT, OCI_IMAGE, OTHER_IMAGE, REFERRERS

SUBJECT = digest(OCI_IMAGE)


def rows() -> Iterator[Row]:
    path = f"/v2/signed/referrers/{SUBJECT}"
    yield page(path, REFERRERS)
    yield page(f"{path}?n=3", REFERRERS)
    yield page(f"{path}?last={REFERRERS[0]['digest']}", REFERRERS[1:])
    yield page(f"{path}?last={REFERRERS[2]['digest']}", [])
    yield page(f"{path}?n=1", REFERRERS[:1], f"last={quote(REFERRERS[0]['digest'])}&n=1")
    yield page(
        f"{path}?n=1&last={REFERRERS[0]['digest']}", REFERRERS[1:2], f"last={quote(REFERRERS[1]['digest'])}&n=1"
    )
    yield page(f"{path}?n=1&last={REFERRERS[1]['digest']}", REFERRERS[2:])
    for wanted in ("application/spdx+json", "application/vnd.example.signature.config", OCI, "no/such"):
        matching = [item for item in REFERRERS if item.get("artifactType") == wanted]
        yield page(f"{path}?artifactType={quote(wanted, safe='')}", matching, filtered=True)
        yield page(f"{path}?artifactType={quote(wanted, safe='')}&n=1", matching, filtered=True)
    yield page(f"{path}?artifactType=", REFERRERS)
    for name in ("signed", "no/such", "untagged"):
        for subject in (digest(ABSENT), digest(ABSENT, "sha384"), digest(ABSENT, "sha512")):
            yield page(f"/v2/{name}/referrers/{subject}", [])
            yield page(f"/v2/{name}/referrers/{subject}?artifactType=x", [], filtered=True)
    yield page(f"/v2/signed/referrers/{digest(OTHER_IMAGE)}", [])
    for bad, detail in [
        ("sha256:abc", "invalid checksum digest length"),
        ("md5:" + "a" * 32, "unsupported digest algorithm"),
        ("sha256:" + "A" * 64, "invalid checksum digest format"),
    ]:
        yield refusal("GET", f"/v2/signed/referrers/{bad}", 400, "DIGEST_INVALID", detail)
    for number in ("x", "-1", "1.5"):
        yield refusal("GET", f"{path}?n={number}", 400, "PAGINATION_NUMBER_INVALID", {"n": number})


def page(target: str, items: list[Document], link: str | None = None, *, filtered: bool = False) -> Row:
    headers: dict[str, Value] = {"Content-Type": INDEX}
    if filtered:
        headers["OCI-Filters-Applied"] = "artifactType"
    if link is not None:
        path = target.partition("?")[0]
        headers["Link"] = f'<$PREFIX{path}?{link}>; rel="next"'
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": items}
    return Row("GET", target, 200, headers, json.dumps(document, separators=(",", ":"), ensure_ascii=False))
