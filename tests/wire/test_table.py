"""Every row of the table, over every composition."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from tests.wire.asgi import Answer
from tests.wire.compositions import ALL, FILESYSTEM, MEMORY, Composition, World, world
from tests.wire.content import digest
from tests.wire.rows import blobs, immutable, listings, manifests, paths, pushes, referrers, repositories, uploads
from tests.wire.table import Row, check, forbidden
from tests.wire.world import APP, WORLD

Files = Callable[[], Awaitable[dict[str, bytes]]]

MODULES = [blobs, listings, manifests, paths, pushes, referrers, repositories, uploads]


def _rows(*modules: ModuleType) -> list[Row]:
    written = [row for module in modules for row in module.rows()]
    return [*written, *(replace(row, method="HEAD") for row in written if row.method == "GET")]


def _matters(row: Row, composition: Composition) -> bool:
    """Whether a mode can make a difference to the row; without modes all of them count."""
    if composition in {MEMORY, FILESYSTEM, *IMMUTABLE}:
        return True
    if composition.read_only:
        return row.kind == "any" or (row.kind != "read" and row.status < 400) or "$" in row.target
    if not composition.deletes:
        return row.kind in {"delete", "any"}
    return row.kind == "any" or "location" in str(row.headers).lower() or "$PREFIX" in str(row.headers)


ROWS = _rows(*MODULES)
FIXED_ROWS = _rows(immutable)
IMMUTABLE = [replace(each, immutable=immutable.SELECTIONS) for each in ALL if not (each.prefix or each.host)]
CASES = [
    pytest.param(
        row,
        composition,
        id=f"{composition.title} {row.title}",
        marks=[
            pytest.mark.xdist_group(f"wire-{composition.title}"),
            *([] if replace(composition, immutable=()) == MEMORY else [pytest.mark.slow]),
        ],
    )
    for composition in [*ALL, *IMMUTABLE]
    for row in (FIXED_ROWS if composition.immutable else ROWS)
    if _matters(row, composition)
]


@pytest.fixture(scope="module")
def shared() -> dict[Composition, World]:
    """Worlds that are only read, or asked for what they refuse."""
    return {}


async def _world(row: Row, composition: Composition, shared: dict[Composition, World], memory: Path) -> World:
    changing = row.kind in {"write", "delete"} and row.status < 400
    if changing or "$" in row.target:
        return await world(composition, WORLD.files, memory / "changed")
    if composition not in shared:
        shared[composition] = await world(composition, WORLD.files, memory / str(len(shared)))
    return shared[composition]


@pytest.mark.parametrize(("row", "composition"), CASES)
async def test_row(row: Row, composition: Composition, shared: dict[Composition, World], memory: Path) -> None:
    await check_row(row, composition, await _world(row, composition, shared, memory))


async def check_row(row: Row, composition: Composition, place: World, files: Files | None = None) -> None:
    """The answer is the row's, and so is what it leaves behind; `files` tells all that is stored."""
    files = files or place.files
    row = forbidden(row, composition) or row
    sessions = await Sessions.prepare(place) if "$" in row.target else None
    before = await _settled(files) if row.kind != "any" and "$" in row.target else None
    if row.kind in {"write", "delete"} and row.status >= 400:
        before = await _settled(files)
    target = sessions.fill(row.target) if sessions else row.target
    if not row.absolute and not row.target.startswith("$"):
        target = composition.prefix + target
    answer = await place.client.send(row.method, target, row.send, row.data)
    check(row, composition, answer)
    if before is not None and answer.status >= 400 and not row.removes:
        assert await _settled(files) == before, "a refused request has left a trace"
    if sessions is not None and row.method in {"PATCH", "PUT", "DELETE"} and answer.status >= 400:
        await sessions.check(target, removed=row.removes)
    if answer.status == 201:
        await _check_stored(row, place, answer)


class Sessions:
    """Two upload sessions, and the URLs by which the table names them."""

    def __init__(self, place: World, empty: str, stale: str, part: str) -> None:
        self._client = place.writer
        self._place = place.composition
        self._names = {"UPLOAD": empty, "STALE": stale, "PART": part, "STATUS": part.partition("?")[0]}

    @classmethod
    async def prepare(cls, place: World) -> Sessions:
        client, start = place.writer, f"{place.composition.prefix}/v2/{APP}/blobs/uploads/"
        empty, stale = [_below(place.composition, (await client.post(start)).location) for _ in range(2)]
        part = (await client.patch_chunk(stale, {}, b"1234")).expect(202).location
        return cls(place, empty, stale, _below(place.composition, part))

    def fill(self, target: str) -> str:
        return re.sub(r"\$([A-Z]+)", lambda match: self._names[match[1]], target)

    async def check(self, target: str, *, removed: bool) -> None:
        """What a refused request was about is as it was, and can be finished; or is gone."""
        session = target.partition("?")[0]
        status = await self._client.get(session)
        if removed:
            assert status.status == 404, str(status)
            return
        stored = b"1234" if session == self._names["STATUS"] else b""
        assert status.status == 204, str(status)
        assert status.header("range") == f"0-{max(len(stored) - 1, 0)}"
        whole = stored + b"the rest"
        target = _below(self._place, status.location)
        (await self._client.put(f"{target}&digest={digest(whole)}", {}, b"the rest")).expect(201)
        assert (await self._client.get(f"{session.partition('uploads/')[0]}{digest(whole)}")).body == whole


def _below(composition: Composition, url: str) -> str:
    """The target of a URL of ours: http.host may have another path than we are served under."""
    return composition.prefix + "/v2/" + url.split("/v2/", 1)[1]


async def _settled(files: Files) -> dict[str, bytes]:
    """All files, but for empty ones and hash states in upload sessions, which nobody can see."""
    return {key: data for key, data in (await files()).items() if data and "/hashstates/" not in key}


async def _check_stored(row: Row, place: World, created: Answer) -> None:
    """What was pushed is there, byte for byte, under its digest and its tag."""
    name = created.header("docker-content-digest")
    assert name is not None
    target = _below(place.composition, created.location)
    answer = (await place.writer.get(target)).expect(200)
    assert digest(answer.body, name.partition(":")[0]) == name
    assert answer.header("docker-content-digest") == name
    collection, _, item = row.target.partition("?")[0].rpartition("/")
    if collection.endswith("/manifests"):
        assert answer.body == row.data
        pushed = (await place.writer.get(target.replace(name, item))).expect(200)
        assert pushed.body == row.data
