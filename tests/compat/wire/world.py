"""What both registries hold before the first request of the comparison."""

from __future__ import annotations

from tests.servers import content
from tests.servers.client import Client, with_query

REPOSITORY = "wire/app"
IMAGE = content.image("wire")
INDEX = content.multi_arch("wire")
DOCKER = content.image("wire", docker=True)
DOCKER_LIST = content.multi_arch("wire", docker=True)
NOT_AMD64 = content.index([content.image("wire", architecture="arm64", docker=True)], docker=True)

BLOB = content.noise("2048 bytes", 2048)
BLOB_DIGEST = content.digest_of(BLOB)
SHA512_DIGEST = content.digest_of(BLOB, "sha512")
EMPTY_DIGEST = content.digest_of(b"")
MISSING = content.digest_of(b"nobody has this")
TAGS = ["2j2ar", "asj9e", "jyi7b", "kb0j5", "sb71y"]


def fill(client: Client) -> None:
    tagged = {"1.0": IMAGE, "index": INDEX, "docker": DOCKER, "list": DOCKER_LIST, "arm64": NOT_AMD64}
    for tag, package in tagged.items():
        client.push(REPOSITORY, tag, package)
    for digest, data in [(BLOB_DIGEST, BLOB), (SHA512_DIGEST, BLOB), (EMPTY_DIGEST, b"")]:
        client.push_blob(REPOSITORY, digest, data)
    for tag in TAGS:
        client.push("wire/tags", tag, IMAGE)
    client.push("wire/untagged", IMAGE.manifest.digest, IMAGE)
    client.push("wire/emptied", "only", IMAGE)
    client.request("DELETE", "/v2/wire/emptied/manifests/only").expect(202)
    client.push_blob("wire/blobs-only", BLOB_DIGEST, BLOB)
    for repository in ("wire", "wire/1", "wire/tags/list", "Wire.Example/app"):
        client.push(repository, "tags", IMAGE)


def fill_fresh(client: Client, repository: str) -> None:
    """A repository for one case alone, which may change it; its blobs are mounted, to be quick."""
    for package in (IMAGE, *INDEX.children):
        for blob in package.blobs:
            _mount(client, repository, blob.digest)
        client.put_manifest(repository, package.manifest.digest, package.manifest).expect(201)
    for tag, package in {"1.0": IMAGE, "index": INDEX}.items():
        client.put_manifest(repository, tag, package.manifest).expect(201)
    _mount(client, repository, BLOB_DIGEST)


def _mount(client: Client, repository: str, digest: str) -> None:
    target = with_query(f"/v2/{repository}/blobs/uploads/", mount=digest, **{"from": REPOSITORY})
    client.request("POST", target).expect(201)
