"""One table of requests, sent to Lading and to the Go original with the same content: the answers are the same,
but for the differences that the table names."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from tests.compat.wire import base, blobs, manifests, uploads, world
from tests.compat.wire.modes import MODES, Mode
from tests.compat.wire.table import Case, Place, normalised
from tests.servers import process
from tests.servers.client import Client
from tests.servers.process import StartRegistry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]

CASES = [*base.CASES, *manifests.CASES, *blobs.CASES, *uploads.CASES]


class Sides:
    """Both registries; what is done to one is done to the other."""

    def __init__(self, distribution: Client, lading: Client) -> None:
        self._both = (distribution, lading)
        self._number = count()
        for client in self._both:
            world.fill(client)

    def places(self, case: Case) -> tuple[Place, Place]:
        fresh = f"fresh/{next(self._number)}"
        if "{fresh}" in case.target:
            for client in self._both:
                world.fill_fresh(client, fresh)
        original, ours = (Place(client, world.REPOSITORY, fresh) for client in self._both)
        return original, ours


def compare(case: Case, original: Place, ours: Place) -> None:
    wanted, got = original.send(case), ours.send(case)
    if case.differs is None:
        assert normalised(got) == normalised(wanted), f"distribution: {wanted}\n\nlading: {got}"
        return
    case.differs.distribution.check(wanted)
    case.differs.lading.check(got)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    with ExitStack() as stack:
        clients = []
        for program in (process.distribution(), process.lading()):
            folder = tmp_path_factory.mktemp("wire")
            start = stack.enter_context(process.registries(program, folder))
            clients.append(start().client)
        yield Sides(*clients)


@pytest.fixture(scope="module")
def world_on_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a registry that holds the world, to be copied."""
    root = tmp_path_factory.mktemp("world") / "data"
    with process.registries(process.distribution(), root.parent) as start:
        world.fill(start(root).client)
    return root


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_same_answer(sides: Sides, case: Case) -> None:
    compare(case, *sides.places(case))


@pytest.mark.parametrize("mode", MODES, ids=[mode.name for mode in MODES])
def test_same_answers_when_configured(
    mode: Mode,
    world_on_disk: Path,
    start_distribution: StartRegistry,
    start_lading: StartRegistry,
    tmp_path: Path,
) -> None:
    places = []
    for number, start in enumerate((start_distribution, start_lading)):
        root = tmp_path / f"data-{number}"
        shutil.copytree(world_on_disk, root)
        places.append(Place(start(root, mode.extra).client, world.REPOSITORY, "wire/fresh"))
    for case in mode.cases:
        compare(case, *places)


def test_every_case_is_in_the_table_once() -> None:
    for rows in (CASES, *[mode.cases for mode in MODES]):
        twice = [case.title for number, case in enumerate(rows) if case in rows[:number]]
        assert twice == []
