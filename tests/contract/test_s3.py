"""The s3 driver keeps the promises of the storage port on a real S3 server, also with parts of one size."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.contract.wrapping import wrapped
from tests.servers.versitygw import Gateway, gateway

from lading.registry.ports import StorageError
from lading.storage.s3 import Options, S3Storage
from lading.storage.wrappers.diskcache import DiskCacheStorage
from lading.testing.storage import CASES, Case, case_name, run

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("s3")]

ROOTS = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("s3") / "store") as running:
        yield running


class Listing(S3Storage):
    """The server shows a name of its own for a moment, where an object is replaced."""

    async def list(self, *arguments: Any, **options: Any) -> Sequence[str]:
        return [name for name in await super().list(*arguments, **options) if ".sgwtmp." not in name]


def options(server: Gateway, **more: object) -> Options:
    given = {
        "bucket": "bucket",
        "accesskey": "key",
        "secretkey": "a secret of the store",
        "endpoint": f"http://{server.host}",
        "rootdirectory": f"/root{next(ROOTS)}",
        "pathstyle": True,
        "secure": False,
    }
    return Options(**(given | more))  # type: ignore[arg-type]


@pytest.mark.parametrize("equal", [False, True], ids=["", "equal-parts"])
@pytest.mark.parametrize("case", CASES, ids=case_name)
async def test_contract(case: Case, equal: bool, server: Gateway) -> None:
    if equal and case.__module__.rpartition(".")[2] not in {"writers", "large"}:
        pytest.skip("writes in one piece")
    # Small thresholds: parts, and copies in parts, are met by what the cases write.
    chosen = options(server, chunksize=5 * 1024**2, copythreshold=0 if equal else 32 * 1024**2, equalparts=equal)
    made: list[S3Storage] = []

    def make() -> S3Storage:
        made.append(Listing(chosen))
        return made[-1]

    try:
        await run(case, make)
    finally:
        for storage in made:
            await storage.close()


READING = [case for case in CASES if case.__module__.rpartition(".")[2] in {"keys", "objects", "readers"}]
"""What middleware takes part in; the rest is passed on."""


@pytest.mark.parametrize("case", READING, ids=case_name)
async def test_contract_below_middleware(case: Case, server: Gateway, tmp_path: Path) -> None:
    chosen = options(server, chunksize=5 * 1024**2)
    made: list[S3Storage] = []
    caches: list[DiskCacheStorage] = []

    def make() -> DiskCacheStorage:
        made.append(Listing(chosen))
        caches.append(wrapped(made[-1], tmp_path))
        return caches[-1]

    try:
        await run(case, make)
    finally:
        for storage in [*caches, *made]:
            await storage.close()


async def test_a_wrong_secret_is_an_error_of_the_storage(server: Gateway) -> None:
    storage = S3Storage(options(server, secretkey="another"))
    try:
        with pytest.raises(StorageError, match=r"^s3: "):
            await storage.stat("/some/key")
    finally:
        await storage.close()
