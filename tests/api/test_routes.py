"""The pure parser of paths (reference, 1.2)."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lading.api.routes import Endpoint, Moved, Route, match

DIGEST = "sha256:" + "a" * 64
components = st.from_regex(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", fullmatch=True).filter(
    lambda text: len(text) < 30
)
names = st.lists(
    components | st.sampled_from(["tags", "list", "manifests", "blobs", "uploads", "referrers", "v2"]),
    min_size=1,
    max_size=5,
).map("/".join)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
sessions = st.from_regex(r"[a-zA-Z0-9_.=-]{1,30}", fullmatch=True).filter(lambda text: text not in {".", ".."})


@given(names)
def test_tags(name: str) -> None:
    assert match(f"/v2/{name}/tags/list") == Route(Endpoint.TAGS, name)


@given(names, tags)
def test_manifests(name: str, tag: str) -> None:
    path = f"/v2/{name}/manifests/{tag}"
    if path.endswith("/tags/list"):
        return
    assert match(path) == Route(Endpoint.MANIFEST, name, tag)


@given(names, st.sampled_from([DIGEST, "foo:bar", "a+b:C=_-", "sha512:0"]))
def test_digests(name: str, digest: str) -> None:
    assert match(f"/v2/{name}/manifests/{digest}") == Route(Endpoint.MANIFEST, name, digest)
    assert match(f"/v2/{name}/blobs/{digest}") == Route(Endpoint.BLOB, name, digest)
    assert match(f"/v2/{name}/referrers/{digest}") == Route(Endpoint.REFERRERS, name, digest)


@given(names, sessions)
def test_uploads(name: str, session: str) -> None:
    assert match(f"/v2/{name}/blobs/uploads/") == Route(Endpoint.UPLOADS, name)
    assert match(f"/v2/{name}/blobs/uploads/{session}") == Route(Endpoint.UPLOAD, name, session)


@given(names)
def test_the_slash_that_is_missing_or_too_much(name: str) -> None:
    for path in (f"/v2/{name}/tags/list", f"/v2/{name}/manifests/x", f"/v2/{name}/blobs/{DIGEST}", "/v2/_catalog"):
        assert match(f"{path}/") == Moved(path)
    assert match(f"/v2/{name}/blobs/uploads") == Moved(f"/v2/{name}/blobs/uploads/")
    assert match("/v2") == Moved("/v2/")


@given(
    st.text()
    | st.lists(st.sampled_from(["", ".", "..", "v2", "a", "tags", "list", "blobs", "uploads", DIGEST])).map(
        "/".join
    )
)
@example("/..")
@example("/v2/..")
@example("//")
def test_a_path_that_moves_moves_once(text: str) -> None:
    for path in (f"/{text}", f"/v2/{text}"):
        found = match(path)
        if not isinstance(found, Moved):
            continue
        assert found.path.startswith("/")
        assert "//" not in found.path
        assert not {".", ".."} & set(found.path.split("/"))
        again = match(found.path)
        # A clean path may still want a slash more or less.
        assert not isinstance(again, Moved) or not isinstance(match(again.path), Moved)


@given(st.text(st.sampled_from("ab._-/:[]A0"), max_size=600))
@example("a" * 300)
@example("a/" * 5000)
@example("a-" * 120 + "!")
@example(("a" * 60 + "/") * 4 + "." * 10)
@example("A.a" * 80 + "!")
def test_no_path_takes_long(name: str) -> None:
    begun = time.perf_counter()
    for path in (f"/v2/{name}/tags/list", f"/v2/x/manifests/{name}", f"/v2/x/blobs/{name}", f"/v2/{name}"):
        match(path)
    assert time.perf_counter() - begun < 0.5


@pytest.mark.parametrize(
    "path", ["", "v2", "v2/", "*", "/v2/a/tags/list\n", "/v2/a\n/tags/list", "/v2/a/manifests/b\n"]
)
def test_what_is_no_path(path: str) -> None:
    assert match(path) is None
