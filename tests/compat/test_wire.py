"""One table of requests, sent to Lading and to the Go original with the same content: the answers are the same,
but for the differences that the table names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count

import pytest

from tests.compat.wire import base, blobs, manifests, uploads, world
from tests.compat.wire.table import Case, Place, normalised
from tests.servers import process
from tests.servers.client import Client

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]

CASES = [*base.CASES, *manifests.CASES, *blobs.CASES, *uploads.CASES]


class Sides:
    """Both registries; what is done to one is done to the other."""

    def __init__(self, distribution: Client, lading: Client) -> None:
        self.distribution = distribution
        self.lading = lading
        self._number = count()
        for client in (distribution, lading):
            world.fill(client)

    def places(self, case: Case) -> tuple[Place, Place]:
        fresh = f"fresh/{next(self._number)}"
        if any("{fresh}" in text or "_status}" in text for text in (case.target, *case.headers.values())):
            for client in (self.distribution, self.lading):
                world.fill_fresh(client, fresh)
        return (
            Place(self.distribution, world.REPOSITORY, fresh),
            Place(self.lading, world.REPOSITORY, fresh),
        )


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    with ExitStack() as stack:
        clients = []
        for program in (process.distribution(), process.lading()):
            folder = tmp_path_factory.mktemp("wire")
            start = stack.enter_context(process.registries(program, folder))
            clients.append(start().client)
        yield Sides(*clients)


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_same_answer(sides: Sides, case: Case) -> None:
    original, ours = sides.places(case)
    wanted, got = original.send(case), ours.send(case)
    if case.differs is not None:
        case.differs.distribution.check(wanted)
        case.differs.lading.check(got)
        return
    assert normalised(got) == normalised(wanted), f"distribution: {wanted}\n\nlading: {got}"


def test_every_case_is_in_the_table_once() -> None:
    twice = [case.title for number, case in enumerate(CASES) if case in CASES[:number]]
    assert twice == []
