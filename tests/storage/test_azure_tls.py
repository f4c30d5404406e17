"""Azure's service with a certificate that nobody vouches for: refused, unless `skipverify` says otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.servers import azurite

from lading.compose.storage import driver
from lading.config.load import parse
from lading.registry.ports import UnavailableError
from lading.storage.azure import AzureStorage

pytestmark = [pytest.mark.peer]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[azurite.Azurite]:
    with azurite.azurite(tmp_path_factory.mktemp("azurite"), tls=True) as running:
        yield running


def configured(server: azurite.Azurite, **more: object) -> AzureStorage:
    section: dict[str, object] = {
        "accountname": azurite.ACCOUNT,
        "accountkey": azurite.KEY,
        "container": "tls",
        "serviceurl": server.url,
    }
    written = json.dumps({"version": "0.1", "storage": {"azure": section | more}})
    made = driver(parse(written, "test", {}).configuration)
    assert isinstance(made, AzureStorage)
    return made


async def test_skipverify(server: azurite.Azurite) -> None:
    assert server.url.startswith("https://")
    server.make_container("tls")
    checking, trusting = configured(server), configured(server, skipverify=True)
    try:
        with pytest.raises(UnavailableError):
            await checking.put("/key", b"content")
        await trusting.put("/key", b"content")
        assert await trusting.get("/key") == b"content"
        writer = await trusting.writer("/upload", append=True)
        await writer.write([bytes(5_000_000)])
        await writer.commit("/blob")
        assert (await trusting.stat("/blob")).size == 5_000_000
    finally:
        await checking.close()
        await trusting.close()
