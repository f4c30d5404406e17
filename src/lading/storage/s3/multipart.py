"""Multipart uploads: unfinished objects, and copies of those too large for one request."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from lading.registry.ports import BusyError, PathNotFoundError, StorageError
from lading.storage.s3.bucket import DRIVER, MAXIMUM_PART, Bucket, ConditionError, errors, together

GROWTH_PARTS = 960
"""After so many parts they double: even from 5 MiB on, 10,000 of them make 5 TB."""


class Unfinished(NamedTuple):
    """An upload as the store lists it."""

    name: str
    id: str
    initiated: datetime.datetime


class Part(NamedTuple):
    number: int
    etag: str
    size: int


def part_size(chunk: int, number: int, *, equal: bool) -> int:
    """How large the part `number`, from 1, is to be."""
    return chunk if equal else min(chunk << (number - 1) // GROWTH_PARTS, MAXIMUM_PART)


async def uploads(bucket: Bucket, key: str, prefix: str) -> AsyncIterator[Unfinished]:
    """Those of objects whose names begin with `prefix`, in the order of the names."""
    arguments: dict[str, Any] = {"Prefix": prefix}
    while True:
        page = await bucket.call("list_multipart_uploads", key, **arguments)
        for found in page.get("Uploads", []):
            yield Unfinished(found["Key"], found["UploadId"], found["Initiated"])
        following = {
            "KeyMarker": page.get("NextKeyMarker", ""),
            "UploadIdMarker": page.get("NextUploadIdMarker", ""),
        }
        # A store that says there is more, and not where, is not asked for the same page again and again.
        if not page.get("IsTruncated") or not following["KeyMarker"] or arguments | following == arguments:
            return
        arguments |= following


async def uploads_of(bucket: Bucket, key: str) -> list[tuple[Unfinished, list[Part]]]:
    """Those of one object with their parts, the one with the most bytes first.

    There are several where the answer to a creation was lost, and it was made again.
    """
    name, found = bucket.name(key), []
    async for upload in uploads(bucket, key, name):
        if upload.name == name:
            found.append((upload, await parts(bucket, key, upload.id)))
        elif upload.name > name:
            break
    return sorted(found, key=lambda each: -sum(part.size for part in each[1]))


async def parts(bucket: Bucket, key: str, upload: str) -> list[Part]:
    """Up to the first that is missing: what a killed process was copying has no other end."""
    found: list[Part] = []
    arguments: dict[str, Any] = {"Key": bucket.name(key), "UploadId": upload}
    while True:
        page = await bucket.call("list_parts", key, **arguments)
        found += [Part(part["PartNumber"], part["ETag"], part["Size"]) for part in page.get("Parts", [])]
        if not page.get("IsTruncated"):
            return [part for number, part in enumerate(found, start=1) if part.number == number]
        arguments["PartNumberMarker"] = page["NextPartNumberMarker"]


async def create(bucket: Bucket, key: str) -> str:
    answer = await bucket.call("create_multipart_upload", key, Key=bucket.name(key), **bucket.options.attributes)
    upload: str = answer["UploadId"]
    return upload


def begun(bucket: Bucket, key: str) -> str:
    """No key ends so: the object is in no listing."""
    return bucket.name(key) + "~begun"


async def begin(bucket: Bucket, key: str, mark: bytes) -> str:
    """Create the first upload of a key, and beside it an object that says so, for lists of uploads may lag behind.

    Raises `BusyError` where somebody with another mark has begun one: its bytes are not known here.
    """
    name, (upload, marked) = (
        begun(bucket, key),
        await asyncio.gather(create(bucket, key), _mark(bucket, key, mark), return_exceptions=True),
    )
    if isinstance(upload, str) and marked is True:
        return upload
    if isinstance(upload, str):
        await abort(bucket, key, bucket.name(key), upload)
    if marked is False:
        raise BusyError(DRIVER, f"was begun already, but is in no list: {key}")
    # It can be begun anew.
    with contextlib.suppress(StorageError):
        await bucket.call("delete_object", key, Key=name)
    raise next(failure for failure in (upload, marked) if isinstance(failure, BaseException))


async def _mark(bucket: Bucket, key: str, mark: bytes) -> bool:
    """Whether the mark is the one there is now."""
    name = begun(bucket, key)
    try:
        await bucket.call("put_object", key, Key=name, Body=mark, IfNoneMatch="*")
    except ConditionError:
        answer: Any = await bucket.call("get_object", key, Key=name)
        with errors(key):
            async with answer["Body"] as body:
                there: bytes = await body.read()
        return there == mark  # the answer to an earlier attempt was lost
    return True


async def put_part(bucket: Bucket, key: str, upload: str, number: int, data: bytes) -> Part:
    answer = await bucket.call(
        "upload_part", key, Key=bucket.name(key), UploadId=upload, PartNumber=number, Body=data
    )
    return Part(number, answer["ETag"], len(data))


async def complete(bucket: Bucket, key: str, upload: str, made: Sequence[Part]) -> None:
    """Raises `PathNotFoundError` where there is no such upload any more."""
    listed = [{"PartNumber": part.number, "ETag": part.etag} for part in made]
    name = bucket.name(key)
    try:
        await bucket.call(
            "complete_multipart_upload", key, Key=name, UploadId=upload, MultipartUpload={"Parts": listed}
        )
    except PathNotFoundError:
        # An earlier attempt may have come through, and only its answer been lost.
        answer = await bucket.call("head_object", key, Key=name)
        if answer["ETag"].strip('"') != _etag(made):
            raise


def _etag(made: Sequence[Part]) -> str:
    try:
        sums = b"".join(bytes.fromhex(part.etag.strip('"')) for part in made)
    except ValueError:
        return ""
    return f"{hashlib.md5(sums, usedforsecurity=False).hexdigest()}-{len(made)}"


async def abort(bucket: Bucket, key: str, name: str, upload: str) -> None:
    with contextlib.suppress(PathNotFoundError):
        await bucket.call("abort_multipart_upload", key, Key=name, UploadId=upload)


async def copy(bucket: Bucket, source: str, target: str, size: int) -> None:
    """Within the store. Raises `PathNotFoundError` of `source`."""
    options = bucket.options
    if size <= options.copythreshold or not size:
        await bucket.call(
            "copy_object",
            source,
            Key=bucket.name(target),
            CopySource=_source(bucket, source),
            MetadataDirective="REPLACE",
            **options.attributes,
        )
        return
    upload = await create(bucket, target)
    try:
        made = await copy_parts(bucket, source, target, upload, 0, size, options.copysize)
        await complete(bucket, target, upload, made)
    except BaseException:
        with contextlib.suppress(StorageError):
            await asyncio.shield(abort(bucket, target, bucket.name(target), upload))
        raise


async def copy_parts(
    bucket: Bucket, source: str, target: str, upload: str, start: int, end: int, size: int
) -> list[Part]:
    """The bytes from `start` to `end` of an object as parts of an upload, each of `size` but the last."""
    size = max(size, -(-(end - start) // 9000))
    gate = asyncio.Semaphore(bucket.options.copies)

    async def one(number: int, first: int) -> Part:
        last = min(first + size, end)
        async with gate:
            answer = await bucket.call(
                "upload_part_copy",
                source,
                Key=bucket.name(target),
                UploadId=upload,
                PartNumber=number,
                CopySource=_source(bucket, source),
                CopySourceRange=f"bytes={first}-{last - 1}",
            )
        return Part(number, answer["CopyPartResult"]["ETag"], last - first)

    return await together([one(number, first) for number, first in enumerate(range(start, end, size), start=1)])


def _source(bucket: Bucket, key: str) -> str:
    named = bucket.options.bucket
    return f"{named}/object/{bucket.name(key)}" if named.startswith("arn:") else f"{named}/{bucket.name(key)}"
