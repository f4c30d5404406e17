"""What lies in an object store that the registry's keys do not tell of."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lading.compose.storage import Aborting
from lading.registry import layout
from lading.registry.ports import Storage
from lading.registry.purge import purge
from lading.storage.objects import ObjectStorage, driver
from lading.storage.s3 import S3Storage, multipart

DAY = 86400.0
_CONTENT = re.compile(r".*/(blobs/.*/data|_layers/.*/link|_manifests/.*/link)")


async def names(storage: Storage) -> list[str]:
    """Of everything there is in the bucket; multipart uploads have a question mark."""
    if isinstance(storage, ObjectStorage):
        return [name async for page in storage._bucket.pages("", flat=True) for name in page]
    assert isinstance(storage, S3Storage)
    pages = [page.get("Contents", []) async for page in storage._bucket.pages("/", "")]
    uploads = [f"{upload.name}?" async for upload in multipart.uploads(storage._bucket, "/", "")]
    return [each["Key"] for page in pages for each in page] + uploads


@contextmanager
def nobody_lives() -> Iterator[None]:
    """Claims count as those of dead processes, however young they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "HOLDING_SECONDS", -DAY)
        yield


async def left_for_ever(storage: Storage) -> list[str]:
    """What is neither content nor a link after a purge of all uploads. No request may be running."""
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    assert (await purge(storage, older_than=tomorrow)).errors == 0
    assert isinstance(storage, Aborting)
    with nobody_lives():
        await storage.abort_older(layout.ROOT, time.time() + DAY)
    return [name for name in await names(storage) if _CONTENT.fullmatch(name) is None]
