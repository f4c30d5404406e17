"""What clients know for sure about a registry that may die at any moment, and whether it is still true.

Every fact has a key and a value: a tag its digest, a blob or manifest its own digest, None for what is gone.
A change that was sent but not answered leaves two values possible; the answer leaves one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.servers import content
from tests.servers.client import Client

Value = str | None


@dataclass(frozen=True)
class Fact:
    kind: str
    """`blob`, `manifest`, `tag` or `session`."""
    repository: str
    name: str


@dataclass
class Ledger:
    """`write` gets a line for every change of knowledge: enough for `replay` to know the same."""

    write: Callable[[str], object] = lambda _: None
    possible: dict[Fact, set[Value]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sent(self, fact: Fact, value: Value) -> None:
        with self._lock:
            self.possible.setdefault(fact, {None}).add(value)
            self._note("sent", fact, value)

    def acknowledged(self, fact: Fact, value: Value) -> None:
        with self._lock:
            self.possible[fact] = {value}
            self._note("acknowledged", fact, value)

    def known(self, kind: str, repository: str | None = None) -> list[tuple[Fact, set[Value]]]:
        with self._lock:
            return [
                (fact, set(values))
                for fact, values in self.possible.items()
                if fact.kind == kind and repository in {None, fact.repository}
            ]

    def _note(self, what: str, fact: Fact, value: Value) -> None:
        self.write(json.dumps([what, fact.kind, fact.repository, fact.name, value]) + "\n")

    @classmethod
    def replay(cls, lines: Iterable[str]) -> Ledger:
        ledger = cls()
        for line in lines:
            what, kind, repository, name, value = json.loads(line)
            getattr(ledger, what)(Fact(kind, repository, name), value)
        return ledger


def check(client: Client, ledger: Ledger, *, whole_catalog: bool = True) -> None:
    """Everything acknowledged is there with the right bytes; whatever can be seen is whole.

    With `whole_catalog` the registry holds nothing that the ledger does not know of.
    """
    for fact, values in ledger.known("blob"):
        _check_blob(client, fact, values)
    for fact, values in ledger.known("manifest"):
        _check_manifest(client, fact, values)
    for fact, values in ledger.known("tag"):
        answer = client.get(f"/v2/{fact.repository}/manifests/{fact.name}")
        assert answer.status in {200, 404}, str(answer)
        found = answer.header("Docker-Content-Digest") if answer.status == 200 else None
        assert found in values, f"tag {fact.repository}:{fact.name} is {found}, should be one of {values}"
    check_lists(client, ledger, whole_catalog=whole_catalog)


def check_lists(client: Client, ledger: Ledger, *, whole_catalog: bool) -> None:
    """Every repository and tag that is listed can be pulled with all that it names; nothing else is listed."""
    known = {fact.repository for kind in ("blob", "manifest", "tag") for fact, _ in ledger.known(kind)}
    repositories = set(client.catalog())
    assert repositories <= known or not whole_catalog, "\n".join(sorted(repositories - known))
    for repository in sorted(repositories & known):
        answer = client.get(f"/v2/{repository}/tags/list")
        assert answer.status in {200, 404}, str(answer)
        tags: list[str] = (answer.json()["tags"] or []) if answer.status == 200 else []
        possible = {fact.name: values for fact, values in ledger.known("tag", repository)}
        for tag in tags:
            assert tag in possible, f"{repository}:{tag} is listed and was never pushed"
            client.pull(repository, tag)
        for tag, values in possible.items():
            assert tag in tags or None in values, f"{repository}:{tag} is not listed"


def _check_blob(client: Client, fact: Fact, values: set[Value]) -> None:
    target = f"/v2/{fact.repository}/blobs/{fact.name}"
    head = client.request("HEAD", target)
    assert head.status in {200, 404}, str(head)
    if head.status == 404:
        assert None in values, f"acknowledged, and gone: {target}"
        return
    assert fact.name in values, f"deleted, and back: {target}"
    data = client.pull_blob(fact.repository, fact.name)
    assert len(data) == int(head.header("Content-Length"))


def _check_manifest(client: Client, fact: Fact, values: set[Value]) -> None:
    target = f"/v2/{fact.repository}/manifests/{fact.name}"
    answer = client.get(target)
    assert answer.status in {200, 404}, str(answer)
    if answer.status == 404:
        assert None in values, f"acknowledged, and gone: {target}"
        return
    assert fact.name in values, f"deleted, and back: {target}"
    client.pull(fact.repository, fact.name)
    subject = json.loads(content.verified(answer.body, fact.name)).get("subject")
    if subject is not None:
        found = [entry["digest"] for entry in client.referrers(fact.repository, subject["digest"])]
        assert fact.name in found, f"can be pulled, but is no referrer of its subject: {target}"
        for digest in found:
            client.get(f"/v2/{fact.repository}/manifests/{digest}").expect(200)
