"""What is built: the same bytes each time, valid, and the same when it is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.oci import building, manifest, media
from lading.oci.building import Content, InvalidManifestError
from lading.oci.digest import Digest
from lading.oci.manifest import Descriptor, Platform

CONFIG = Content.of(b'{"os":"linux"}', media.OCI_IMAGE_CONFIG).descriptor()
LAYER = Content.of(b"layer", "application/vnd.oci.image.layer.v1.tar").descriptor(annotations={"b": "2", "a": "1"})
ARM = Platform("linux", "arm", "v7", "1.2", ("x",))


def test_an_image_has_these_bytes() -> None:
    made = building.image(CONFIG, [LAYER], annotations={"z": "1", "a": "2"})
    assert made.data == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        b'"config":{"mediaType":"application/vnd.oci.image.config.v1+json",'
        b'"digest":"%s","size":14},'
        b'"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",'
        b'"digest":"%s","size":5,"annotations":{"a":"1","b":"2"}}],'
        b'"annotations":{"a":"2","z":"1"}}' % (CONFIG.digest.encode(), LAYER.digest.encode())
    )
    assert made.digest == Digest.of(made.data)
    assert made == building.image(CONFIG, [LAYER], annotations={"a": "2", "z": "1"})


def test_views_show_what_was_built() -> None:
    subject = Content.of(b"{}", media.OCI_MANIFEST).descriptor()
    view = building.artifact("example/sbom", subject=subject, annotations={"k": "v"}).view()
    empty = building.empty().descriptor()
    assert (view.artifact_type, view.config, view.layers, view.subject) == (
        "example/sbom",
        empty,
        (empty,),
        subject,
    )
    assert view.annotations == {"k": "v"}
    child = building.image(CONFIG, [LAYER]).descriptor(platform=ARM, annotations={"c": "d"}, artifact_type="t")
    index = building.index([child], artifact_type="a/b", subject=subject)
    assert index.view().children == (child,)
    assert (index.view().subject, index.view().artifact_type) == (subject, "a/b")


def test_docker_has_its_own_types() -> None:
    config = Content.of(b"{}", media.DOCKER_IMAGE_CONFIG).descriptor()
    image = building.image(config, [], media_type=media.DOCKER_MANIFEST)
    assert manifest.parse(image.data, media.DOCKER_MANIFEST).config == config
    many = building.index([image.descriptor(platform=ARM)], media_type=media.DOCKER_LIST)
    assert many.view().children[0].platform == ARM
    for build, what in ((building.image, (config, [])), (building.index, ([],))):
        kind = media.DOCKER_MANIFEST if build is building.image else media.DOCKER_LIST
        with pytest.raises(InvalidManifestError, match="subject"):
            build(*what, media_type=kind, annotations={"a": "b"})  # type: ignore[operator]


def test_configs() -> None:
    made = building.image_config(
        ARM, [Digest.of(b"x")], created="2026-01-01T00:00:00Z", config={"Cmd": ["/a"]}, history=[{"comment": "c"}]
    )
    document = json.loads(made.data)
    assert document["rootfs"] == {"type": "layers", "diff_ids": [Digest.of(b"x")]}
    assert (document["config"], document["history"]) == ({"Cmd": ["/a"]}, [{"comment": "c"}])
    assert building.platform_of(made.data) == ARM
    for wrong in (b"", b"[]", b'{"os":1}', b'{"os.features":"x"}', b'{"os.features":[1]}'):
        with pytest.raises(InvalidManifestError):
            building.platform_of(wrong)


def test_what_is_no_manifest() -> None:
    with pytest.raises(InvalidManifestError, match="artifactType"):
        building.artifact("")
    with pytest.raises(InvalidManifestError):
        building.image(CONFIG, [], annotations={"a": 1})  # type: ignore[dict-item]
    with pytest.raises(InvalidManifestError, match="no type"):
        Content.of(b'{"schemaVersion":2}', "a/b").view()
    with pytest.raises(InvalidManifestError, match="JSON"):
        Content.of(b"x", media.OCI_INDEX).view()


@given(
    st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=3), st.integers(0, 2**63 - 1)
)
def test_what_is_built_can_be_pushed(annotations: dict[str, str], size: int) -> None:
    layer = Descriptor("a/b", Digest.of(b"x"), size, annotations=annotations)
    made = building.image(CONFIG, [layer], annotations=annotations)
    assert manifest.parse(made.data, made.media_type).layers == (layer,)
