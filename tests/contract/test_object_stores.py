"""The drivers of object stores keep the promises of the storage port, over a real server each."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from tests.servers import azurite, fake_gcs
from tests.servers.object_stores import service_account

from lading.registry.ports import Storage
from lading.storage.azure import AzureStorage
from lading.storage.gcs import GcsStorage
from lading.testing.storage import CASES, Case, case_name, run

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("object-stores")]

Make = Callable[[], Storage]


@pytest.fixture(scope="module")
def emulated_azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[azurite.Azurite]:
    with azurite.azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture
def azure(emulated_azure: azurite.Azurite) -> Make:
    container = emulated_azure.make_container(f"c{uuid.uuid4().hex}")
    key = {"type": "shared_key"}
    return lambda: AzureStorage(
        azurite.ACCOUNT, container, emulated_azure.url, key, key=azurite.KEY, root="/some/root/"
    )


@pytest.fixture(scope="module")
def emulated_gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fake_gcs.FakeGcs]:
    with fake_gcs.fake_gcs(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture
def gcs(emulated_gcs: fake_gcs.FakeGcs) -> Make:
    bucket = emulated_gcs.make_bucket(f"b{uuid.uuid4().hex}")
    return lambda: GcsStorage(
        bucket, root="/some/root/", account=service_account(), chunk=1024 * 1024, emulator=emulated_gcs.url
    )


@pytest.fixture(params=["azure", "gcs"])
def make(request: pytest.FixtureRequest) -> Make:
    found: Make = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("case", CASES, ids=case_name)
async def test_contract(make: Make, case: Case) -> None:
    await run(case, make)
