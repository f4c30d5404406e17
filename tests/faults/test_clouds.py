"""A registry on azure and gcs: what it asks of its store, what clients see when that fails, who takes over."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.faults.leftovers import left_for_ever, names
from tests.servers import content
from tests.servers.faultproxy import FaultProxy, faultproxy
from tests.servers.object_stores import STORES
from tests.servers.process import Registry, StartRegistry
from tests.servers.serving import ONE_WORKER

from lading.compose.storage import driver
from lading.config.load import parse

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.parametrize("serving", [ONE_WORKER]),
]

FOREVER = 1_000_000
MOST = {"gcs": (76, 9)}
"""Requests to the store for the push of an image of three blobs, and for its pull."""

REPOSITORY = "team/app"
DATA = content.noise("blob", 10 * 1024 * 1024)
DIGEST = content.digest_of(DATA)
TAKEN_OVER_SECONDS = 60.0


@contextlib.contextmanager
def behind_a_proxy(store: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, FaultProxy]]:
    """The section of the configuration, with nothing else that asks the store."""
    with STORES[store](folder) as section, faultproxy(os.environ["STORAGE_EMULATOR_HOST"]) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.host)
        maintenance = {"uploadpurging": {"enabled": False}}
        storage = {store: section, "redirect": {"disable": True}, "maintenance": maintenance}
        yield {"storage": storage, "health": {"storagedriver": {"enabled": False}}}, proxy


def _counted(requests: Sequence[str]) -> int:
    """Without those for the quarantine, whose number depends on the time that the others take."""
    return sum("quarantine" not in request for request in requests)


@pytest.mark.parametrize("store", ["gcs"])
def test_requests_of_a_push_and_a_pull_and_a_store_that_is_down(
    store: str, start_lading: StartRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with behind_a_proxy(store, tmp_path, monkeypatch) as (settings, proxy):
        client, package = start_lading(extra=settings).client, content.image("counted")
        proxy.reset()
        client.push(REPOSITORY, "1.0", package)
        pushed = _counted(proxy.requests)
        client.pull(REPOSITORY, "1.0")
        pulled = _counted(proxy.requests) - pushed
        print(*proxy.requests, sep="\n")
        print(f"requests to {store} for a push and a pull: {pushed}, {pulled}")
        assert pushed <= MOST[store][0]
        assert pulled <= MOST[store][1]

        proxy.reset("503", 0, FOREVER)
        client.get(f"/v2/{REPOSITORY}/manifests/1.0").expect(503)
        proxy.reset("reset", 0, FOREVER)
        client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/").expect(503)
        proxy.reset()
        client.pull(REPOSITORY, "1.0")


@pytest.mark.parametrize("store", sorted(STORES))
def test_another_process_takes_over_from_one_that_was_killed(
    store: str, start_lading: StartRegistry, tmp_path: Path
) -> None:
    with STORES[store](tmp_path) as section:
        settings = {"storage": {store: section, "redirect": {"disable": True}}}
        first, second = start_lading(extra=settings), start_lading(extra=settings)
        location = first.client.start_upload(REPOSITORY).location
        sent = first.client.patch(location, DATA[:3_000_000]).expect(202).location
        with half_a_request(first, sent, DATA[3_000_000:]):
            until(second, sent, lambda status: status == 416, "the first one to hold the upload")
            first.kill()
            state = second.client.get(sent).expect(204)
            last = int(state.header("Range").removeprefix("0-"))
            # What a session of gcs has got from one who died is not known: it begins anew.
            size = 0 if store == "gcs" else last + 1
            assert last == 0 if store == "gcs" else size >= 3_000_000
        location = second.client.patch(state.location, DATA[size:]).expect(202).location
        second.client.finish_upload(location, DIGEST).expect(201)
        assert second.client.pull_blob(REPOSITORY, DIGEST) == DATA


@pytest.mark.parametrize("store", sorted(STORES))
def test_what_one_that_was_killed_leaves_is_purged(
    store: str, start_lading: StartRegistry, tmp_path: Path
) -> None:
    with STORES[store](tmp_path) as section:
        storage = {store: section, "redirect": {"disable": True}}
        killed = start_lading(extra={"storage": storage})
        for sent in (0, 3_000_000, 8_000_000):
            location = killed.client.start_upload(REPOSITORY).location
            if sent:
                location = killed.client.patch(location, DATA[:sent]).expect(202).location
            with half_a_request(killed, location, DATA[sent:]):
                until(killed, location, lambda status: status == 416, "it to hold the upload")
                if sent == 8_000_000:
                    killed.kill()
        made = driver(parse(json.dumps({"version": "0.1", "storage": storage}), "test", {}).configuration)

        async def left() -> tuple[list[str], list[str]]:
            return await names(made), await left_for_ever(made)

        before, after = asyncio.run(left())
        assert any("~lading" in name for name in before)
        assert after == []


@contextlib.contextmanager
def half_a_request(registry: Registry, location: str, data: bytes) -> Iterator[None]:
    host, _, port = registry.host.rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"PATCH {location} HTTP/1.1\r\nHost: {registry.host}\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data[: len(data) // 2])
        yield


def until(registry: Registry, location: str, wanted: Any, what: str, data: bytes = b"") -> str:
    """The location that a PATCH is answered with, once its status is the one wanted."""
    deadline = time.monotonic() + TAKEN_OVER_SECONDS
    while True:
        with contextlib.suppress(http.client.HTTPException):
            answer = registry.client.patch(location, data)
            if wanted(answer.status):
                return answer.location if answer.status == 202 else location
        assert time.monotonic() < deadline, f"waited in vain for {what}: {answer}"
        time.sleep(0.05)
