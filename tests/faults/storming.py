"""Clients of a storm: each has a repository of its own, and knows what must be in it.

What a client does next depends on its seed and on what it has done, never on answers or times: the same seed does
the same again.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tests.servers import content
from tests.servers.client import Answer, Client, with_query
from tests.servers.content import Content, Package

T = TypeVar("T")

NAMES = ("storm/one", "storm/two", "storm/three")
TAGS = "xyz"
# Images of one name have layers in common.
IMAGES = [
    content.image(name, layer_sizes=sizes) for name in "abc" for sizes in ((900,), (900, 3000), (900, 3000, 200))
]
OTHERS = [
    content.image("a", layer_sizes=(900, 3000), algorithm="sha512"),
    content.multi_arch("both"),
    content.index(IMAGES[:2]),
    content.index([content.index(IMAGES[3:5]), content.image("c", algorithm="sha512")]),
]
PACKAGES = [*IMAGES, *OTHERS]
FILED = ".sig"
"""A tag that files a signature ends so."""


@dataclass(frozen=True)
class Act:
    """One thing that a client does. `node` is which registry is asked."""

    what: str
    node: int
    tag: str = ""
    package: Package | None = None
    digest: str = ""
    source: str = ""
    """The repository that blobs are mounted from, where they are."""

    def __str__(self) -> str:
        return " ".join(filter(None, [self.what, str(self.node), self.tag, self.digest, self.source]))


@dataclass(frozen=True)
class Signature:
    """What is about `subject`, a digest. Pushed under `reference`: a tag that files it, or else its digest."""

    subject: str
    reference: str
    package: Package


@dataclass
class Pusher:
    clients: Sequence[Client]
    name: str
    seed: int
    tags: dict[str, Package] = field(default_factory=dict)
    signatures: dict[str, Signature] = field(default_factory=dict)
    """Those that must be there: by the tag in which they are filed, or by their digest."""
    acts: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def act(self) -> None:
        act = self.decide()
        try:
            self.perform(act)
        except AssertionError as failure:
            failure.add_note(f"act {self.acts} of {self.name} (seed {self.seed}): {act}")
            raise
        self.remember(act)

    # what is next --------------------------------------------------------------------------------------

    def decide(self) -> Act:
        self.acts += 1
        chance = self.chance
        node, tag, package = chance.randrange(len(self.clients)), chance.choice(TAGS), chance.choice(PACKAGES)
        source, blob = chance.choice(["", *NAMES]), chance.choice(_blobs(package))
        what = chance.choice(
            [
                "push",
                "push",
                "push",
                "move",
                "mount",
                "abandon",
                "untag",
                "delete",
                "unlink",
                "sign",
                "file",
                "pull",
            ]
        )
        if what in {"push", "mount", "abandon"}:
            return Act(what, node, tag, package, blob.digest, source or NAMES[0])
        if what == "unlink" and blob.digest not in self.needed():
            return Act(what, node, digest=blob.digest)
        if tag not in self.tags:
            return Act("push", node, tag, package, source=source)
        shown = self.tags[tag]
        if what == "move":
            return Act(what, node, chance.choice(TAGS), shown)
        if what == "delete" and self._belongs_to_others(shown):
            return Act("untag", node, tag)
        if what in {"sign", "file"}:
            return Act(what, node, tag, chance.choice([shown, *shown.children]))
        return Act(what if what in {"untag", "delete"} else "pull", node, tag, shown)

    def needed(self) -> dict[str, bytes]:
        """All that tags show, with what is about it, by digest."""
        return _everything([*self.tags.values(), *(signature.package for signature in self.signatures.values())])

    def _belongs_to_others(self, package: Package) -> bool:
        others = _everything(
            kept for kept in self.tags.values() if kept.manifest.digest != package.manifest.digest
        )
        return package.manifest.digest in others

    # doing it ------------------------------------------------------------------------------------------

    def perform(self, act: Act) -> None:
        self.counts[act.what] = self.counts.get(act.what, 0) + 1
        client, repository = self.clients[act.node], f"/v2/{self.name}"
        match act:
            case Act(what="push" | "move", package=Package() as package):
                again(lambda: self._push(client, act.tag, package, act.source))
            case Act(what="mount"):
                target = f"{repository}/blobs/uploads/?mount={act.digest}&from={act.source}"
                again(lambda: client.request("POST", target), {201, 202})
            case Act(what="abandon", package=Package() as package):
                again(lambda: client.patch(client.start_upload(self.name).location, package.manifest.data), {202})
            case Act(what="untag"):
                again(lambda: client.request("DELETE", f"{repository}/manifests/{act.tag}"), {202, 404})
            case Act(what="delete", package=Package() as package):
                target = f"{repository}/manifests/{package.manifest.digest}"
                again(lambda: client.request("DELETE", target), {202, 404})
            case Act(what="unlink"):
                again(lambda: client.request("DELETE", f"{repository}/blobs/{act.digest}"), {202, 404})
            case Act(what="sign" | "file", package=Package() as subject):
                signature = _signature(act.what, subject)
                again(lambda: self._push(client, signature.reference, signature.package))
            case _:
                self.check(client, act.tag)

    def _push(self, client: Client, tag: str, package: Package, source: str = "") -> None:
        """As clients do: what is there is not sent, and another repository may have it."""
        for child in package.children:
            self._push(client, child.manifest.digest, child, source)
        for blob in package.blobs:
            if client.request("HEAD", f"/v2/{self.name}/blobs/{blob.digest}").status != 404:
                continue
            mount = f"/v2/{self.name}/blobs/uploads/?mount={blob.digest}&from={source}"
            if not source or client.request("POST", mount).status != 201:
                client.push_blob(self.name, blob.digest, blob.data)
        by_parameter = package.manifest.algorithm != "sha256" and ":" not in tag
        reference = with_query(package.manifest.digest, tag=tag) if by_parameter else tag
        client.put_manifest(self.name, reference, package.manifest).expect(201)

    def check(self, client: Client, tag: str) -> None:
        """The tag pulls whole, and what is about it is listed and pulls whole."""
        package = self.tags[tag]
        assert again(lambda: client.pull(self.name, tag)) == package.everything()
        shown = package.everything()
        for reference, signature in self.signatures.items():
            if signature.subject not in shown:
                continue
            if ":" in reference:
                listed = again(lambda subject=signature.subject: client.referrers(self.name, subject))
                assert reference in {each["digest"] for each in listed}, f"{reference} is not listed"
            pulled = again(lambda reference=reference: client.pull(self.name, reference))
            assert pulled == signature.package.everything()

    # what must be there now ----------------------------------------------------------------------------

    def remember(self, act: Act) -> None:
        match act:
            case Act(what="push" | "move", package=Package() as package):
                self.tags[act.tag] = package
            case Act(what="untag"):
                del self.tags[act.tag]
            case Act(what="delete", package=Package() as package):
                gone = package.manifest.digest
                self.tags = {tag: kept for tag, kept in self.tags.items() if kept.manifest.digest != gone}
            case Act(what="sign" | "file", package=Package() as subject):
                signature = _signature(act.what, subject)
                self.signatures[signature.reference] = signature
        # What is about something that may go may go: nobody knows whether it is there if that comes again.
        shown = _everything(self.tags.values())
        self.signatures = {ref: kept for ref, kept in self.signatures.items() if kept.subject in shown}

    def forget_signatures(self) -> None:
        """Delete those that may be there or not."""
        subjects = [each for package in PACKAGES for each in (package, *package.children)]
        for what in ("sign", "file"):
            for reference in (_signature(what, subject).reference for subject in subjects):
                if reference not in self.signatures:
                    target = f"/v2/{self.name}/manifests/{reference}"
                    again(lambda target=target: self.clients[0].request("DELETE", target), {202, 404})


def _signature(what: str, subject: Package) -> Signature:
    digest = subject.manifest.digest
    if what == "sign":
        package = content.artifact(f"about {digest}", "example/signature", subject=subject.manifest)
        return Signature(digest, package.manifest.digest, package)
    package = content.artifact(f"filed for {digest}", "example/signature")
    return Signature(digest, digest[: len("sha256-") + 64].replace(":", "-") + FILED, package)


def _everything(packages: Iterable[Package]) -> dict[str, bytes]:
    return {digest: data for package in packages for digest, data in package.everything().items()}


def _blobs(package: Package) -> list[Content]:
    return [*package.blobs, *(blob for child in package.children for blob in _blobs(child))]


def again(work: Callable[[], T], statuses: set[int] | None = None) -> T:
    """Until no process dies meanwhile."""
    for _ in range(40):
        with contextlib.suppress(OSError, http.client.HTTPException):
            got = work()
            if statuses is not None:
                assert isinstance(got, Answer)
                assert got.status in statuses, str(got)
            return got
        time.sleep(0.05)
    raise AssertionError("nobody answers")
