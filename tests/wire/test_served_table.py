"""Every row of the table over real servers: what the application says reaches the client unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.servers import process
from tests.servers.process import Registry
from tests.servers.serving import HTTP2_IN_CLEAR, HTTP2_OVER_TLS, ONE_WORKER, Serving
from tests.wire.compositions import CONFIGURED, FILESYSTEM, World, write_files
from tests.wire.served import Served
from tests.wire.table import Row
from tests.wire.test_table import ROWS, check_row
from tests.wire.world import WORLD

from lading.storage.filesystem import FilesystemStorage

WAYS = [ONE_WORKER, HTTP2_IN_CLEAR, HTTP2_OVER_TLS]
SETTINGS: dict[str, Any] = {
    "http": {"headers": {name.decode(): [] for name, _ in CONFIGURED}},
    "storage": {"delete": {"enabled": True, "repositories": True}},
}
for _name, _value in CONFIGURED:
    SETTINGS["http"]["headers"][_name.decode()].append(_value.decode())

NOT_PARSED = {"FROBNICATE", "get"}
"""The parser of HTTP/1.1 knows the registered methods only, and refuses others before any path is looked at."""

CASES = [
    pytest.param(
        serving,
        row,
        id=f"{serving.name} {row.title}",
        marks=[pytest.mark.slow, pytest.mark.xdist_group(f"wire-{serving.name}")],
    )
    for serving in WAYS
    for row in ROWS
    if serving is not HTTP2_OVER_TLS or row.kind != "read"  # what is read is the same as in the clear
]


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Serving, Registry]]:
    """Those that were started already; one of each kind serves all rows."""
    started: dict[Serving, Registry] = {}
    yield started
    for registry in started.values():
        registry.stop()


@pytest.fixture
def registry(
    registries: dict[Serving, Registry],
    serving: Serving,
    tmp_path_factory: pytest.TempPathFactory,
    memory: Path,
) -> Registry:
    if serving not in registries:
        folder = tmp_path_factory.mktemp(serving.name)
        registries[serving] = Registry(process.lading(serving), folder, memory / serving.name, SETTINGS)
        registries[serving].wait_until_ready()
    return registries[serving]


@pytest.mark.parametrize(("serving", "row"), CASES)
async def test_row(registry: Registry, row: Row) -> None:
    if registry.serving is ONE_WORKER and row.method in NOT_PARSED:
        row = Row(row.method, row.target, 400, routed=False, absolute=True)
    composition = replace(FILESYSTEM, tls=registry.serving.tls)
    unchanged = registry.root / "unchanged"
    if not unchanged.exists():
        write_content(registry.root)
    if (row.kind in {"write", "delete"} and row.status < 400) or "$" in row.target:
        unchanged.unlink(missing_ok=True)
    client, storage = Served(registry), FilesystemStorage(str(registry.root))
    await check_row(row, composition, World(composition, storage, client, client, registry.root))


def write_content(root: Path) -> None:
    """As every row finds it: what an earlier one has changed is undone."""
    write_files(root, WORLD.files)
    (root / "unchanged").touch()
