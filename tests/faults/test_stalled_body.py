"""A client that stops in the middle of its body is given up, and can resume."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.faults.inprocess import application, in_process
from tests.servers import content
from tests.servers.client import with_query

from lading.api import request as api_request
from lading.api.app import Application

DATA = content.noise("data", 200_000)


@pytest.mark.parametrize("sent", [0, 1, 1000, 150_000])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, sent: int) -> None:
    monkeypatch.setattr(api_request, "BODY_IDLE_SECONDS", 0.05)
    served = application(tmp_path)
    location = await asyncio.to_thread(start, tmp_path)
    digest = content.digest_of(DATA)
    target = location if method == "PATCH" else with_query(location, digest=digest)
    assert await stall(served, method, target, DATA[:sent]) == 408
    await asyncio.to_thread(resume, tmp_path, location, sent)


async def test_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_request, "BODY_IDLE_SECONDS", 0.05)
    served = application(tmp_path)
    assert await stall(served, "PUT", "/v2/team/app/manifests/latest", b'{"schemaVersion": 2') == 408


def start(root: Path) -> str:
    with in_process(root) as client:
        return client.start_upload("team/app").location


def resume(root: Path, location: str, sent: int) -> None:
    """Everything that came before the silence is there."""
    with in_process(root) as client:
        status = client.get(location).expect(204)
        assert status.header("Range") == f"0-{max(sent - 1, 0)}"
        later = client.patch(status.location, DATA[sent:]).expect(202)
        client.finish_upload(later.location, content.digest_of(DATA)).expect(201)
        assert client.pull_blob("team/app", content.digest_of(DATA)) == DATA


async def stall(served: Application, method: str, target: str, data: bytes) -> int:
    """The status of a request that announces all of DATA, sends some, and then nothing."""
    path, _, query = target.partition("?")
    arriving = [{"type": "http.request", "body": data, "more_body": True}] if data else []
    statuses: list[int] = []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"registry.test"), (b"content-length", str(len(DATA)).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 5000),
        "extensions": {},
    }

    async def receive() -> Any:
        if arriving:
            return arriving.pop()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async with asyncio.timeout(20):
        await served(scope, receive, send)
    return statuses[0]
