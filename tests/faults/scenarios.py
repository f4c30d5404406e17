"""Short stories of a registry's life: what is there before, and what then happens while the machine may die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.ledger import Ledger
from tests.faults.workload import Workload
from tests.servers import content
from tests.servers.client import Client
from tests.servers.content import Content, Package

REPOSITORY = "team/app"

Step = Callable[[Workload], object]

BLOB = Content("", content.noise("blob", 2000))
LARGE = Content("", content.noise("large", 200_000))
EMPTY = Content("", b"")


def tiny(name: str, subject: Content | None = None) -> Package:
    return content.image(name, layer_sizes=(), subject=subject)


OLD, NEW = tiny("old"), tiny("new")
SIGNATURE = tiny("signature", subject=OLD.manifest)


@dataclass(frozen=True)
class Scenario:
    before: tuple[Step, ...]
    steps: tuple[Step, ...]

    def prepare(self, client: Client, ledger: Ledger) -> None:
        workload = Workload(client, ledger, REPOSITORY)
        for step in self.before:
            step(workload)

    def run(self, client: Client, ledger: Ledger) -> None:
        """The steps, after `prepare`."""
        workload = Workload(client, ledger, REPOSITORY, _tags(self))
        for step in self.steps:
            step(workload)


def _tags(scenario: Scenario) -> dict[str, Package]:
    return {"latest": OLD} if tagged in scenario.before else {}


def tagged(workload: Workload) -> None:
    workload.push(OLD, "latest", "post")


def source(workload: Workload) -> None:
    Workload(workload.client, workload.ledger, f"{REPOSITORY}-source").push_blob(BLOB, "post")


SCENARIOS = {
    "blob-in-pieces": Scenario((), (lambda w: w.push_blob(BLOB, "patch"),)),
    "large-blob": Scenario((), (lambda w: w.push_blob(LARGE, "put"),)),
    "empty-blob": Scenario((), (lambda w: w.push_blob(EMPTY, "put"),)),
    "blob-in-one-request": Scenario((), (lambda w: w.push_blob(BLOB, "post"),)),
    "blob-that-is-there": Scenario((source,), (lambda w: w.push_blob(BLOB, "patch"),)),
    "mount": Scenario((source,), (lambda w: w.push_blob(BLOB, "mount"),)),
    "cancel": Scenario((), (lambda w: w.cancel(BLOB),)),
    "delete-blob": Scenario((lambda w: w.push_blob(BLOB, "post"),), (lambda w: w.delete_blob(BLOB),)),
    "image": Scenario((), (lambda w: w.push(OLD, "latest", "post"),)),
    "index": Scenario((tagged,), (lambda w: w.push_manifest(content.index([OLD]), "all"),)),
    "move-tag": Scenario((tagged, lambda w: w.push(NEW)), (lambda w: w.push_manifest(NEW, "latest"),)),
    "delete-tag": Scenario((tagged,), (lambda w: w.delete_tag("latest"),)),
    "delete-manifest": Scenario((tagged,), (lambda w: w.delete_manifest(OLD),)),
    "attach": Scenario((tagged,), (lambda w: w.push(SIGNATURE, None, "post"),)),
    "detach": Scenario(
        (tagged, lambda w: w.push(SIGNATURE, None, "post")), (lambda w: w.delete_manifest(SIGNATURE),)
    ),
}
