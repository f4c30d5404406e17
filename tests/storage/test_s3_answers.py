"""What spares time in the s3 driver: how lists are asked for and read, and that the client is made early."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lading.compose import storage as compose
from lading.config.load import load
from lading.registry.ports import StorageError
from lading.storage.s3 import Options, S3Storage, answers
from lading.storage.s3.bucket import Bucket

SPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
OBJECT = (
    "<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>"
    "<ETag>&quot;e&quot;</ETag><Size>71</Size><Owner><ID>o</ID></Owner></Contents>"
)
FULL = (
    f"<?xml version='1.0' encoding='UTF-8'?><ListBucketResult{SPACE}><Name>b</Name><Prefix></Prefix>"
    "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
    "<NextContinuationToken>a+token</NextContinuationToken>"
    f"{OBJECT.format(key='a%2Bb/c')}{OBJECT.format(key='a/d')}"
    "<CommonPrefixes><Prefix>x%20y/</Prefix></CommonPrefixes></ListBucketResult>"
)
USED = ("Contents", "CommonPrefixes", "IsTruncated", "NextContinuationToken")
FIELDS = ("Key", "LastModified", "ETag", "Size", "Prefix")


class Store:
    """Answers each list with `text`, and keeps what was asked."""

    def __init__(self) -> None:
        self.options = Options("bucket")
        self.text: Callable[[int], str] = lambda _: FULL
        self.asked: list[int] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(int(request.query["max-keys"]))
        return web.Response(text=self.text(self.asked[-1]), content_type="application/xml")


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    standing = Store()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", standing.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    standing.options = Options(
        "bucket",
        accesskey="key",
        secretkey="secret",
        endpoint=f"http://127.0.0.1:{runner.addresses[0][1]}",
        pathstyle=True,
        secure=False,
    )
    yield standing
    await runner.cleanup()


async def listed(store: Store) -> dict[str, Any]:
    """What is used of a list."""
    bucket = Bucket(store.options)
    try:
        page = await bucket.call("list_objects_v2", "/", Prefix="", MaxKeys=7)
    finally:
        await bucket.close()
    assert page["ResponseMetadata"]["HTTPStatusCode"] == 200
    return {
        name: [{field: each[field] for field in FIELDS if field in each} for each in page[name]]
        if isinstance(page[name], list)
        else page[name]
        for name in USED
        if name in page
    }


@pytest.mark.parametrize(
    "text",
    [
        FULL,
        FULL.replace(SPACE, ""),
        FULL.replace("<EncodingType>url</EncodingType>", ""),
        FULL.replace("<Size>71</Size>", ""),
        f"<ListBucketResult{SPACE}><IsTruncated>false</IsTruncated></ListBucketResult>",
    ],
)
async def test_a_list_is_what_the_sdk_makes_of_it(
    text: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.text = lambda _: text
    mine = await listed(store)
    monkeypatch.setattr(answers, "read", lambda *_: None)
    assert mine == await listed(store)
    if text == FULL:
        assert [each["Key"] for each in mine["Contents"]] == ["a+b/c", "a/d"]
        assert mine["CommonPrefixes"] == [{"Prefix": "x y/"}]


@pytest.mark.parametrize(
    "text", ["<ListBucketResult><IsTrunc", "<Error><Code>InternalError</Code></Error>", "no list"]
)
async def test_what_is_no_list_is_an_error(text: str, store: Store) -> None:
    store.text = lambda _: text
    with pytest.raises(StorageError):
        await listed(store)


async def test_a_page_of_tags_asks_for_no_more_than_it_needs(store: Store) -> None:
    def text(limit: int) -> str:
        keys = [f"root/t{i // 2:03}/{('current', 'index/sha256/a')[i % 2]}/link" for i in range(limit)]
        objects = "".join(OBJECT.format(key=key) for key in keys)
        return f"<ListBucketResult{SPACE}><IsTruncated>true</IsTruncated>{objects}</ListBucketResult>"

    store.text = text
    storage = S3Storage(store.options, "_uploads")
    try:
        names = await storage.list("/root", limit=100, holding="current/link")
    finally:
        await storage.close()
    assert names == [f"t{i:03}" for i in range(100)]
    assert store.asked == [208]


async def test_a_server_makes_the_client_before_the_first_request_of_a_store_that_is_away(tmp_path: Path) -> None:
    parameters = {
        "bucket": "bucket",
        "region": "us-east-1",
        "accesskey": "key",
        "secretkey": "secret",
        "regionendpoint": "http://127.0.0.1:1",
    }
    file = tmp_path / "config.yml"
    file.write_text(f"version: 0.1\nstorage: {{s3: {json.dumps(parameters)}}}\nhttp: {{addr: 127.0.0.1:0}}\n")
    begun: list[Coroutine[Any, Any, None]] = []
    made = compose.storage(load(str(file), {}).configuration, beside=begun.append)
    assert isinstance(made, S3Storage)
    try:
        async with asyncio.timeout(30):
            for chore in begun:
                await chore
        assert len(begun) == 1
        assert made._bucket._client is not None
    finally:
        await made.close()
