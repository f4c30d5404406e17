"""What clients do to a registry, each step written into the ledger when it is sent and when it is answered."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.ledger import Fact, Ledger
from tests.servers import content
from tests.servers.client import Client, with_query
from tests.servers.content import Content, Package


@dataclass
class Workload:
    """One client with a repository of its own."""

    client: Client
    ledger: Ledger
    repository: str
    tags: dict[str, Package] = field(default_factory=dict)
    """What the tags pointed to when last we knew."""

    # blobs

    def push_blob(self, blob: Content, way: str = "patch") -> None:
        fact = Fact("blob", self.repository, blob.digest)
        self.ledger.sent(fact, blob.digest)
        getattr(self, f"_push_by_{way}")(blob)
        self.ledger.acknowledged(fact, blob.digest)

    def _push_by_patch(self, blob: Content) -> None:
        location = self._open(blob)
        half = len(blob.data) // 2
        location = self.client.patch(location, blob.data[:half]).expect(202).location
        location = self.client.patch(location, blob.data[half:]).expect(202).location
        self._close(location, blob)

    def _push_by_put(self, blob: Content) -> None:
        self._close(self._open(blob), blob, blob.data)

    def _push_by_post(self, blob: Content) -> None:
        target = f"/v2/{self.repository}/blobs/uploads/?digest={blob.digest}"
        self.client.request("POST", target, body=blob.data).expect(201)

    def _push_by_mount(self, blob: Content) -> None:
        """From a repository where it was pushed before."""
        query = f"?mount={blob.digest}&from={self.repository}-source"
        self.client.request("POST", f"/v2/{self.repository}/blobs/uploads/{query}").expect(201)

    def _open(self, blob: Content) -> str:
        location = self.client.start_upload(self.repository).location
        self.ledger.acknowledged(Fact("session", self.repository, location), blob.digest)
        return location

    def _close(self, location: str, blob: Content, data: bytes = b"") -> None:
        first = next(
            fact.name
            for fact, _ in self.ledger.known("session", self.repository)
            if fact.name.partition("?")[0] == location.partition("?")[0]
        )
        self.ledger.sent(Fact("session", self.repository, first), None)
        self.client.request("PUT", with_query(location, digest=blob.digest), body=data).expect(201)
        self.ledger.acknowledged(Fact("session", self.repository, first), None)

    def cancel(self, blob: Content) -> None:
        location = self._open(blob)
        self.ledger.sent(Fact("session", self.repository, location), None)
        later = self.client.patch(location, blob.data).expect(202).location
        self.client.request("DELETE", later).expect(204)
        self.ledger.acknowledged(Fact("session", self.repository, location), None)

    def delete_blob(self, blob: Content) -> None:
        fact = Fact("blob", self.repository, blob.digest)
        self.ledger.sent(fact, None)
        self.client.request("DELETE", f"/v2/{self.repository}/blobs/{blob.digest}").expect(202)
        self.ledger.acknowledged(fact, None)

    # manifests and tags

    def push(self, package: Package, tag: str | None = None, way: str = "patch") -> None:
        """Children first; without a tag by digest."""
        for child in package.children:
            self.push(child, None, way)
        for blob in package.blobs:
            self.push_blob(blob, way)
        self.push_manifest(package, tag)

    def push_manifest(self, package: Package, tag: str | None = None) -> None:
        """What it names is there already."""
        manifest = Fact("manifest", self.repository, package.manifest.digest)
        self.ledger.sent(manifest, package.manifest.digest)
        if tag is not None:
            self.ledger.sent(Fact("tag", self.repository, tag), package.manifest.digest)
        answer = self.client.put_manifest(self.repository, tag or package.manifest.digest, package.manifest)
        answer.expect(201)
        self.ledger.acknowledged(manifest, package.manifest.digest)
        if tag is not None:
            self.ledger.acknowledged(Fact("tag", self.repository, tag), package.manifest.digest)
            self.tags[tag] = package

    def delete_tag(self, tag: str) -> None:
        self.ledger.sent(Fact("tag", self.repository, tag), None)
        self.client.request("DELETE", f"/v2/{self.repository}/manifests/{tag}").expect(202)
        self.ledger.acknowledged(Fact("tag", self.repository, tag), None)
        del self.tags[tag]

    def delete_manifest(self, package: Package) -> None:
        digest = package.manifest.digest
        manifest = Fact("manifest", self.repository, digest)
        tags = [tag for tag, tagged in self.tags.items() if tagged.manifest.digest == digest]
        facts = [manifest, *(Fact("tag", self.repository, tag) for tag in tags)]
        for fact in facts:
            self.ledger.sent(fact, None)
        self.client.request("DELETE", f"/v2/{self.repository}/manifests/{digest}").expect(202)
        for fact in facts:
            self.ledger.acknowledged(fact, None)
        for tag in tags:
            del self.tags[tag]

    # by chance

    def run(self, rng: random.Random, steps: int) -> None:
        """Random steps over a few images and tags, until the registry is gone."""
        images = [content.image(f"{self.repository} {number}", layer_sizes=(300, 30_000)) for number in range(3)]
        for number in range(steps):
            self._random_step(rng, images, number)

    def _random_step(self, rng: random.Random, images: list[Package], number: int) -> None:
        tag, image = rng.choice(["one", "two", "three"]), rng.choice(images)
        steps: list[Callable[[], None]] = [
            lambda: self.push(image, tag, rng.choice(["patch", "put", "post"])),
            lambda: self.push(image, tag, rng.choice(["patch", "put", "post"])),
            lambda: self.push(content.artifact(f"note {number}", "text/plain", subject=image.manifest)),
            lambda: self.push_blob(
                Content("", content.noise(f"{self.repository} {number}", rng.randrange(400_000)))
            ),
            lambda: self.cancel(Content("", content.noise(f"cancelled {number}", 5000))),
        ]
        if tag in self.tags:
            steps.append(lambda: self.delete_tag(tag))
            steps.append(lambda: self.delete_manifest(self.tags[tag]))
        rng.choice(steps)()
