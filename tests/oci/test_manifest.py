from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lading.oci import errors, manifest, media
from lading.oci.errors import RegistryError
from lading.oci.manifest import Descriptor, Manifest, Platform

DIGEST = "sha256:" + "a" * 64
CONFIG = {"mediaType": media.OCI_IMAGE_CONFIG, "digest": DIGEST, "size": 7}
IMAGE: dict[str, Any] = {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": CONFIG, "layers": []}
INDEX: dict[str, Any] = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []}
KINDS = [media.OCI_MANIFEST, media.OCI_INDEX, media.DOCKER_MANIFEST, media.DOCKER_LIST]


def written(document: object) -> bytes:
    return json.dumps(document).encode()


def refused(data: bytes, content_type: str = media.OCI_MANIFEST) -> str:
    with pytest.raises(RegistryError) as caught:
        manifest.parse(data, content_type)
    (entry,) = caught.value.entries
    assert entry.code is errors.MANIFEST_INVALID
    assert isinstance(entry.detail, str)
    return entry.detail


def test_the_view_of_an_image() -> None:
    layer = {
        "mediaType": "a/b",
        "digest": "as written",
        "size": 3,
        "urls": ["https://x"],
        "platform": {"os": "linux"},
    }
    subject = {"mediaType": "c/d", "digest": DIGEST, "size": 0}
    document = {**IMAGE, "layers": [layer], "subject": subject, "artifactType": "e/f", "annotations": {"k": "v"}}
    view = manifest.parse(written(document), media.OCI_MANIFEST)
    assert view.config == Descriptor(media.OCI_IMAGE_CONFIG, DIGEST, 7)
    assert view.layers == (Descriptor("a/b", "as written", 3, ("https://x",), Platform("linux", "")),)
    assert view.blobs == (view.config, *view.layers)
    assert view.subject == Descriptor("c/d", DIGEST, 0)
    assert view.children == ()
    assert not view.is_index
    assert (view.artifact_type, view.annotations) == ("e/f", {"k": "v"})


@pytest.mark.parametrize("kind", [media.OCI_INDEX, media.DOCKER_LIST])
def test_the_view_of_an_index(kind: str) -> None:
    child = {
        "mediaType": "a/b",
        "digest": "x",
        "size": 1,
        "platform": {"os": "o", "architecture": "p", "variant": "v"},
    }
    view = manifest.parse(written({**INDEX, "mediaType": kind, "manifests": [child]}), kind)
    assert view.is_index
    assert view.children == (Descriptor("a/b", "x", 1, (), Platform("o", "p", "v")),)
    assert view.config is None
    assert view.blobs == ()


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({}, media.OCI_IMAGE_CONFIG),
        ({"artifactType": ""}, media.OCI_IMAGE_CONFIG),
        ({"artifactType": "a/b"}, "a/b"),
        ({"artifactType": None}, media.OCI_IMAGE_CONFIG),
    ],
)
def test_what_referrers_show_of_an_image(more: dict[str, Any], shown: str) -> None:
    assert manifest.parse(written({**IMAGE, **more}), media.OCI_MANIFEST).referrer_type == shown


def test_what_referrers_show_of_an_index() -> None:
    assert manifest.parse(written(INDEX), media.OCI_INDEX).referrer_type == ""
    assert manifest.parse(written({**INDEX, "artifactType": "a/b"}), media.OCI_INDEX).referrer_type == "a/b"


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"schemaVersion": 2, "config": CONFIG}, media.OCI_MANIFEST),
        ({"schemaVersion": 2}, media.OCI_MANIFEST),
        ({"schemaVersion": 2, "manifests": []}, media.OCI_INDEX),
        ({"schemaVersion": 2, "manifests": None}, media.OCI_MANIFEST),
        ({"schemaVersion": 2, "mediaType": "", "manifests": []}, media.OCI_INDEX),
        ({"schemaVersion": 2, "mediaType": None}, media.OCI_MANIFEST),
        *[({"schemaVersion": 2, "mediaType": kind}, kind) for kind in KINDS],
    ],
)
def test_a_stored_manifest_is_told_by_what_it_says(document: object, kind: str) -> None:
    assert manifest.media_type_of(written(document)) == kind


@pytest.mark.parametrize("document", [{}, [], {"schemaVersion": 2, "mediaType": "a/b"}, {"schemaVersion": 1}])
def test_what_is_stored_may_be_none(document: object) -> None:
    for reading in (manifest.media_type_of, manifest.read):
        with pytest.raises(RegistryError):
            reading(written(document))


@pytest.mark.parametrize("kind", KINDS)
def test_the_content_type_may_have_parameters_and_capitals(kind: str) -> None:
    document = {**(INDEX if kind in media.INDEXES else IMAGE), "mediaType": kind}
    for content_type in (kind, f"{kind};charset=utf-8", f" {kind} ; a=b", kind.title()):
        assert manifest.parse(written(document), content_type).media_type == kind


@pytest.mark.parametrize("kind", [media.DOCKER_SCHEMA_1, media.DOCKER_SCHEMA_1_SIGNED])
def test_schema_1_is_refused_with_a_way_out(kind: str) -> None:
    detail = refused(b"whatever", kind)
    assert "schema 1" in detail
    assert "skopeo" in detail
    assert refused(written({"schemaVersion": 1})) == detail


def test_the_last_of_two_fields_counts() -> None:
    data = written(IMAGE).replace(b'"layers": []', b'"layers": 7, "layers": []')
    assert manifest.parse(data, media.OCI_MANIFEST).layers == ()


def test_names_of_fields_match_exactly() -> None:
    data = written({**IMAGE, "Config": 7, "LAYERS": "x", "subJect": 1, "MediaType": "no/such"})
    view = manifest.parse(data, media.OCI_MANIFEST)
    assert (view.subject, view.layers) == (None, ())


@pytest.mark.parametrize("size", [0, 1, 2**53 + 1, 2**63 - 1])
def test_sizes(size: int) -> None:
    view = manifest.parse(written({**IMAGE, "config": {**CONFIG, "size": size}}), media.OCI_MANIFEST)
    assert view.config is not None
    assert view.config.size == size


@pytest.mark.parametrize("size", [-1, 2**63, 2**64, 10**40, 1.0, 1e3, "7", True, [7]])
def test_no_sizes(size: object) -> None:
    assert "config.size" in refused(written({**IMAGE, "config": {**CONFIG, "size": size}}))


def test_a_detail_says_where() -> None:
    layers = [CONFIG, {**CONFIG, "urls": ["https://x", 7]}]
    assert "layers[1].urls[1]" in refused(written({**IMAGE, "layers": layers}))
    assert "subject.annotations.k" in refused(written({**IMAGE, "subject": {**CONFIG, "annotations": {"k": 1}}}))


def outcome(reading: Callable[[], Manifest]) -> Manifest | str:
    """The view, or why there is none; whatever else is raised is a mistake of ours."""
    try:
        return reading()
    except RegistryError as refusal:
        (entry,) = refusal.entries
        assert entry.code is errors.MANIFEST_INVALID
        return orjson.dumps(entry.detail).decode()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.sampled_from(list(IMAGE)), inner)
    ),
    max_leaves=20,
)


@given(st.binary() | values.map(lambda value: json.dumps(value).encode()), st.sampled_from(KINDS) | st.text())
@example(b"[" * 100_000, media.OCI_MANIFEST)
@example(b'{"schemaVersion":2,"config":' * 5_000, media.OCI_INDEX)
@example(b'{"schemaVersion":' + b"9" * 5_000 + b"}", media.OCI_MANIFEST)
def test_nothing_but_a_refusal(data: bytes, content_type: str) -> None:
    for reading in (lambda: manifest.parse(data, content_type), lambda: manifest.read(data)):
        view = outcome(reading)
        assert isinstance(view, str) or view.media_type in KINDS


@given(st.dictionaries(st.sampled_from([*IMAGE, "manifests", "subject", "annotations", "artifactType"]), values))
def test_documents_with_known_fields(fields: dict[str, Any]) -> None:
    for base, kind in [(IMAGE, media.OCI_MANIFEST), (INDEX, media.OCI_INDEX), (IMAGE, media.DOCKER_LIST)]:
        data = written({**base, "mediaType": kind, **fields})
        view = outcome(functools.partial(manifest.parse, data, kind))
        assert isinstance(view, str) or view == manifest.read(data)
