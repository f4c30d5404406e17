"""Requests to an S3 server by kind, and a registry's content in a bucket without pushes."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from lading.registry.ports import Storage

_KINDS = [
    (re.compile(r"GET \S*[?&]uploads\b"), "list uploads"),
    (re.compile(r"GET \S*[?&]list-type=2"), "list"),
    (re.compile(r"POST \S*\?delete"), "delete many"),
]


def by_kind(requests: Iterable[str]) -> Counter[str]:
    return Counter(map(_kind, requests))


def _kind(line: str) -> str:
    method = line.partition(" ")[0].lower()
    return next((kind for form, kind in _KINDS if form.match(line)), method)


async def put_all(storage: Storage, objects: Mapping[str, bytes]) -> None:
    """Many at a time."""
    gate = asyncio.Semaphore(32)

    async def put(key: str, data: bytes) -> None:
        async with gate:
            await storage.put(key, data, durable=False)

    async with asyncio.TaskGroup() as group:
        for key, data in objects.items():
            group.create_task(put(key, data))
