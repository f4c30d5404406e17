"""What every row of the wire table finds: a small registry, as the original would have left it behind."""

from __future__ import annotations

from tests.wire.content import (
    DOCKER,
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LIST,
    INDEX,
    OCI,
    OCI_CONFIG,
    OCI_LAYER,
    ROOT,
    Directory,
    as_json,
    blob_key,
    descriptor,
    digest,
    image,
    index,
    layer_key,
)

WORLD = Directory()

APP = "library/app"
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
LAYER = b"the bytes of a layer"
LONG = bytes(range(256)) * 8
EMPTY = b""
BY_512 = b"content with a longer digest"
BY_384 = b"content with a digest in between"
BY_ALIAS = b"content the original stores under sha256"
LOST = b"content whose file has vanished"
DAMAGED = b"content whose link is damaged"
ABSENT = b"content nobody has pushed"

for _data in (CONFIG, LAYER, LONG, EMPTY):
    WORLD.blob(APP, _data)
WORLD.blob(APP, BY_512, "sha512")
WORLD.blob(APP, BY_384, "sha384")
WORLD.alias(APP, BY_ALIAS)
WORLD.blob(APP, LOST)
del WORLD.files[blob_key(digest(LOST))]
WORLD.blob(APP, DAMAGED)
WORLD.files[layer_key(APP, digest(DAMAGED))] = b"sha256:12"

DOCKER_CONFIG_ITEM = descriptor(DOCKER_CONFIG, CONFIG)
OCI_CONFIG_ITEM = descriptor(OCI_CONFIG, CONFIG)
LAYER_ITEM = descriptor(OCI_LAYER, LAYER)

DOCKER_IMAGE = image(DOCKER, DOCKER_CONFIG_ITEM, descriptor(DOCKER_LAYER, LAYER))
OCI_IMAGE = image(OCI, OCI_CONFIG_ITEM, LAYER_ITEM, annotations={"a": "<&>"})
BARE_IMAGE = as_json({"schemaVersion": 2, "config": OCI_CONFIG_ITEM, "layers": [LAYER_ITEM]})
OTHER_IMAGE = image(OCI, OCI_CONFIG_ITEM, annotations={"other": "image"})
IMAGE_512 = image(OCI, OCI_CONFIG_ITEM, descriptor(OCI_LAYER, BY_512, "sha512"))
AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64"}
LIST = index(
    DOCKER_LIST,
    descriptor(DOCKER, OTHER_IMAGE, platform=ARM64),
    descriptor(DOCKER, DOCKER_IMAGE, platform=AMD64),
)
LIST_OF_ARM = index(DOCKER_LIST, descriptor(DOCKER, DOCKER_IMAGE, platform=ARM64))
LIST_OF_OCI = index(DOCKER_LIST, descriptor(OCI, OCI_IMAGE, platform=AMD64))
LIST_OF_LOST = index(DOCKER_LIST, descriptor(DOCKER, ABSENT, platform=AMD64))
OCI_INDEX = index(INDEX, descriptor(OCI, OCI_IMAGE, platform=AMD64))
BARE_INDEX = as_json({"schemaVersion": 2, "manifests": [descriptor(OCI, OCI_IMAGE)]})
SCHEMA_1_IMAGE = as_json({"schemaVersion": 1, "name": APP, "tag": "old", "fsLayers": [], "history": []})

WORLD.manifest(APP, DOCKER_IMAGE, "docker", "docker-too")
WORLD.manifest(APP, OCI_IMAGE, "oci")
WORLD.manifest(APP, BARE_IMAGE, "bare")
WORLD.manifest(APP, OTHER_IMAGE)
WORLD.manifest(APP, IMAGE_512, "long", algorithm="sha512")
WORLD.manifest(APP, LIST, "list")
WORLD.manifest(APP, LIST_OF_ARM, "list-arm")
WORLD.manifest(APP, LIST_OF_OCI, "list-oci")
WORLD.manifest(APP, LIST_OF_LOST, "list-lost")
WORLD.manifest(APP, OCI_INDEX, "index")
WORLD.manifest(APP, BARE_INDEX, "index-bare")
WORLD.manifest(APP, SCHEMA_1_IMAGE, "old")
LOST_IMAGE = image(OCI, OCI_CONFIG_ITEM, annotations={"lost": "file"})
WORLD.manifest(APP, LOST_IMAGE, "lost")
del WORLD.files[blob_key(digest(LOST_IMAGE))]
APP_TAGS = ["bare", "docker", "docker-too", "index", "index-bare", "list", "list-arm", "list-lost", "list-oci"]
APP_TAGS += ["long", "lost", "oci", "old"]

# The test vectors of pagination.
TAGS = ["2j2ar", "asj9e", "jyi7b", "kb0j5", "sb71y"]
WORLD.manifest("test", OCI_IMAGE, *TAGS)
# Nested: `a/1` sorts before the `_manifests` of `a`, `a/b` behind it.
for _name in ("a", "a/1", "a/b", "Mixed.Case/app"):
    WORLD.manifest(_name, OCI_IMAGE, "latest")
# Pushed by digest only; no tags left; blobs but no manifests; names that order by bytes.
WORLD.manifest("untagged", OCI_IMAGE)
WORLD.manifest("emptied", OCI_IMAGE, "gone")
del WORLD.files[f"{ROOT}/repositories/emptied/_manifests/tags/gone/current/link"]
WORLD.blob("layers/only", LAYER)
WORLD.manifest("sorted", OCI_IMAGE, "1.0", "1.0-rc1", "1.0.1", "B", "_a", "a")

# Depth first, each directory in byte order.
REPOSITORIES = ["Mixed.Case/app", "a/1", "a", "a/b", "emptied", APP, "signed", "sorted", "test", "untagged"]

# Referrers as clients keep them for a registry without the API: in a tag named after the subject.
SIGNATURE = image(
    OCI,
    descriptor("application/vnd.example.signature.config", CONFIG),
    subject=descriptor(OCI, OCI_IMAGE),
    annotations={"signed": "by <me>"},
)
SBOM = image(
    OCI,
    descriptor("application/vnd.oci.empty.v1+json", CONFIG),
    subject=descriptor(OCI, OCI_IMAGE),
    artifactType="application/spdx+json",
)
SIGNED_INDEX = index(INDEX, subject=descriptor(OCI, OCI_IMAGE))
STRANGER = image(OCI, OCI_CONFIG_ITEM, subject=descriptor(OCI, OTHER_IMAGE))
for _data in (OCI_IMAGE, SIGNATURE, SBOM, SIGNED_INDEX, STRANGER):
    WORLD.manifest("signed", _data)
FALLBACK = index(
    INDEX,
    *[descriptor(OCI, data) for data in (SIGNATURE, SBOM, SIGNED_INDEX, STRANGER, ABSENT)],
    {"mediaType": OCI, "digest": "sha256:nonsense", "size": 1},
)
WORLD.manifest("signed", FALLBACK, digest(OCI_IMAGE).replace(":", "-"))
REFERRERS = sorted(
    [
        descriptor(
            OCI,
            SIGNATURE,
            artifactType="application/vnd.example.signature.config",
            annotations={"signed": "by <me>"},
        ),
        descriptor(OCI, SBOM, artifactType="application/spdx+json"),
        descriptor(INDEX, SIGNED_INDEX),
    ],
    key=lambda item: item["digest"],
)
