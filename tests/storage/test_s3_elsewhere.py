"""A bucket that is not where the configuration says, and stores that leave things out of their answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.servers.s3 import Store, standing

from lading.registry.ports import BusyError, StorageError
from lading.storage.s3 import Options, S3Storage, multipart
from lading.storage.s3 import bucket as s3_bucket

KEY = "/docker/registry/v2/blobs/sha256/aa/data"
SESSION = "/docker/registry/v2/repositories/app/_uploads/1/data"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    s3_bucket._session.cache_clear()


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with standing() as made:
        yield made


def options(store: Store, **more: object) -> Options:
    given: dict[str, object] = {"bucket": "bucket", "accesskey": "key", "secretkey": "secret"}
    given |= {"endpoint": store.host, "pathstyle": True, "secure": False}
    return Options(**(given | more))  # type: ignore[arg-type]


@pytest.fixture
async def other() -> AsyncIterator[Store]:
    async with standing() as made:
        yield made


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("v4", [True, False])
async def test_no_redirect_to_another_host_is_followed(status: int, v4: bool, store: Store, other: Store) -> None:
    """What was signed for one host another refuses; the error says what to configure, and no secret."""
    store.redirecting = status, f"{other.host}/bucket/somewhere?X-Amz-Signature=secret"
    storage = S3Storage(options(store, v4=v4))
    try:
        calls = storage.put(KEY, b"content"), storage.get(KEY), storage.stat(KEY)
        for failure in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(failure, StorageError)
            assert f"sends requests on to {other.host}: configure that as regionendpoint, or" in str(failure)
            assert "secret" not in str(failure)
    finally:
        await storage.close()
    assert other.asked == []


@pytest.mark.parametrize("tells", ["header", "body"])
@pytest.mark.parametrize("elsewhere", [{}, {"redirectendpoint": "https://cdn"}], ids=["", "redirectendpoint"])
async def test_urls_are_signed_for_the_region_that_requests_have_found(
    tells: str, elsewhere: dict[str, object], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.region, store.tells_region_in_header = "eu-west-1", tells == "header"
    storage = S3Storage(options(store, region="us-east-2", **elsewhere))
    try:
        assert "us-east-2" in str(await storage.redirect(KEY, "GET"))
        await storage.put(KEY, b"content")
        url = await storage.redirect(KEY, "GET")
        store.asked.clear()
        await storage.put(KEY, b"content")
    finally:
        await storage.close()
    assert "eu-west-1%2Fs3" in str(url)
    assert ["amz-sdk-request" in asked.headers for asked in store.asked] == [False]
    assert [line for line in caplog.messages if "is in eu-west-1: configure that as region" in line]


async def test_answers_without_a_date(store: Store) -> None:
    """Nobody knows how old such an object is: nothing counts it as old, and no lease as abandoned."""
    store.modified, store.size = "", 7
    storage = S3Storage(options(store), "_uploads")
    before = time.time()
    try:
        found = await storage.stat(KEY)
        assert found.size == 7
        assert before <= found.modified <= time.time()
        store.listed = "docker/registry/v2/blobs/sha256/aa/data"
        assert [key async for key, stat in storage.walk("/docker") if stat and stat.modified >= before] == [KEY]
        store.size = None
        assert (await storage.stat("/docker")).is_directory
        assert await storage.get(KEY) == b""
        store.asked.clear()
        await storage.get(KEY)
        assert len(store.asked) == 1, "the SDK need not ask again"
        store.refusals = [412, 412]  # directly, and to the SDK
        with pytest.raises(BusyError):
            await storage.writer(SESSION, append=True)
    finally:
        await storage.close()


async def test_what_is_copied_by_way_of_an_access_point() -> None:
    arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/registry"
    storage = S3Storage(Options(bucket=arn, region="eu-west-1", accesskey="key", secretkey="secret"))
    try:
        url = str(await storage.redirect(KEY, "GET"))
    finally:
        await storage.close()
    assert url.startswith(f"https://registry-123456789012.s3-accesspoint.eu-west-1.amazonaws.com{KEY}?")
    assert multipart._source(storage._bucket, KEY) == f"{arn}/object{KEY}"
