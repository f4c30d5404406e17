"""Bytes of an object are those that were asked for."""

from __future__ import annotations

import pytest

from lading.registry.ports import StorageError
from lading.storage.s3 import Options
from lading.storage.s3.bucket import Bucket
from lading.storage.s3.reader import S3Reader


class Body:
    def close(self) -> None:
        pass

    async def read(self, limit: int) -> bytes:
        return b"of the middle"[:limit]


async def test_the_beginning_is_no_other_range_either(monkeypatch: pytest.MonkeyPatch) -> None:
    async def call(*_: object, **__: object) -> dict[str, object]:
        return {"ContentRange": "bytes 2-14/17", "Body": Body()}

    bucket = Bucket(Options(bucket="bucket"))
    monkeypatch.setattr(bucket, "call", call)
    reader = S3Reader(bucket, "/key", {"ETag": '"e"', "ContentLength": 17}, 0)
    with pytest.raises(StorageError, match="does not send the range"):
        await reader.read(10)
    await reader.close()
