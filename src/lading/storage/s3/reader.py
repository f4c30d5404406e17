"""Bytes of an object, from one GET to the next."""

from __future__ import annotations

from typing import Any

from lading.registry.ports import StorageError
from lading.storage.s3.bucket import ATTEMPTS, DRIVER, Bucket, errors


class S3Reader:
    """See `lading.registry.ports.Reader`. A body that breaks off is asked for again from there on."""

    __slots__ = ("_body", "_bucket", "_closed", "_etag", "_key", "_offset", "path", "size")

    def __init__(self, bucket: Bucket, key: str, answer: Any, offset: int) -> None:
        self.path: str | None = None
        self._bucket = bucket
        self._key = key
        self._offset = offset
        self._closed = False
        self._etag = answer["ETag"]
        self._body = answer.get("Body")
        length = answer["ContentLength"]
        self.size = int(answer["ContentRange"].rpartition("/")[2]) if "ContentRange" in answer else length

    def fileno(self) -> int:
        raise OSError("there is no file")

    async def read(self, limit: int) -> bytes:
        for attempt in range(ATTEMPTS):
            if self._closed:
                raise StorageError(DRIVER, f"already closed: {self._key}")
            limit = min(limit, self.size - self._offset)
            if limit <= 0:
                return b""
            if self._body is None:
                await self._open()
            try:
                with errors(self._key):
                    data: bytes = await self._body.read(limit)
                if data:
                    self._offset += len(data)
                    return data
            except StorageError:
                if attempt == ATTEMPTS - 1:
                    raise
            self._drop()
        raise StorageError(DRIVER, f"the object ended at {self._offset} of {self.size}: {self._key}")

    def seek(self, offset: int) -> None:
        if offset != self._offset:
            self._offset = offset
            self._drop()

    async def close(self) -> None:
        self._closed = True
        self._drop()

    async def _open(self) -> None:
        # The same object: where it was replaced, the rest of another must not follow.
        answer = await self._bucket.call(
            "get_object",
            self._key,
            Key=self._bucket.name(self._key),
            Range=f"bytes={self._offset}-",
            IfMatch=self._etag,
        )
        if not answer.get("ContentRange", "bytes 0-").startswith(f"bytes {self._offset}-"):
            answer["Body"].close()
            raise StorageError(DRIVER, f"the store does not send the range that it is asked for: {self._key}")
        self._body = answer["Body"]

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None
