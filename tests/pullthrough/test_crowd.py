"""Fifty clients at once want a large blob that is not cached. LADING_FULL=1 makes it 1 GB."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time

import pytest
from tests.pullthrough.conftest import NAME
from tests.pullthrough.upstream import Between
from tests.servers import content
from tests.servers.process import Registry, StartRegistry
from tests.servers.serving import FOUR_WORKERS, Serving

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(300)]

CLIENTS = 50
MEGABYTES = 1024 if os.environ.get("LADING_FULL") == "1" else 24


@pytest.fixture
def serving() -> Serving:
    return FOUR_WORKERS


async def test_the_upstream_sends_it_once(
    start_lading: StartRegistry, upstream: Between, origin: Registry
) -> None:
    noise = content.noise("crowd", 1024 * 1024 - 4)
    data = b"".join(number.to_bytes(4, "big") + noise for number in range(MEGABYTES))
    digest, size = content.digest_of(data), len(data)
    await asyncio.to_thread(origin.client.push_blob, NAME, digest, data)
    del data
    proxy = {"remoteurl": f"http://{upstream.host}"}
    cache = await asyncio.to_thread(lambda: start_lading(extra={"proxy": proxy}))
    target = f"/v2/{NAME}/blobs/{digest}"

    async def pull(number: int) -> float:
        """Seconds to the first byte; every tenth client looks at all of them."""
        reader, writer = await asyncio.open_connection(*cache.host.split(":"), limit=1024 * 1024)
        begun = time.perf_counter()
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.partition(b"\r\n")[0]
        first, received, hashed = 0.0, 0, hashlib.sha256()
        while piece := await reader.read(1024 * 1024):
            first = first or time.perf_counter() - begun
            received += len(piece)
            if number % 10 == 0:
                hashed.update(piece)
        writer.close()
        assert received == size
        assert number % 10 or f"sha256:{hashed.hexdigest()}" == digest
        return first

    firsts = sorted(await asyncio.gather(*map(pull, range(CLIENTS))))
    print(f"{MEGABYTES} MiB, seconds to the first byte: {firsts[0]:.3f}, median {firsts[CLIENTS // 2]:.3f}")
    assert upstream.sent[target] == size
    assert upstream.asked(target) == 1
