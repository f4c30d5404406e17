"""The synchronous face: from plain code, from threads, and inside a running event loop."""

from __future__ import annotations

import asyncio
import inspect
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.servers import content
from tests.servers.process import Registry

from lading.client import (
    Digest,
    InvalidAnswerError,
    Layout,
    NotFoundError,
    Outcome,
    RegistryClient,
    Step,
    SyncRegistries,
    SyncRegistryClient,
    copy,
)
from lading.oci.building import Content

pytestmark = pytest.mark.slow

IMAGE = content.image("sync", layer_sizes=(700, 2_000_000))
MANIFEST = Content(Digest(IMAGE.manifest.digest), IMAGE.manifest.media_type, IMAGE.manifest.data)


def everything(client: SyncRegistryClient, name: str) -> None:
    for blob in IMAGE.blobs:
        client.put_blob(name, Digest(blob.digest), len(blob.data), blob.data)
    client.put_manifest(name, MANIFEST, "1.0")
    assert client.manifest(name, "1.0") == MANIFEST
    assert client.digest(name, "1.0") == MANIFEST.digest
    last = IMAGE.blobs[-1]
    with client.blob(name, Digest(last.digest)) as download:
        assert download.read() == last.data
    with client.blob(name, Digest(last.digest), 1000) as download:
        assert b"".join(download) == last.data[1000:]
    assert (client.tags(name), list(client.iterate_tags(name))) == (["1.0"], ["1.0"])
    assert client.referrers(name, MANIFEST.digest) == []
    client.delete_manifest(name, MANIFEST.digest)
    assert not client.has_manifest(name, MANIFEST.digest)
    with pytest.raises(NotFoundError):
        client.manifest(name, "1.0")


def test_plain_code_and_threads(lading: Registry) -> None:
    before = threading.active_count()
    with SyncRegistryClient(f"http://{lading.host}") as client:
        client.ping()
        everything(client, "plain")
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda number: everything(client, f"thread/{number}"), range(3)))
        assert set(client.iterate_repositories()) <= {"plain", "thread/0", "thread/1", "thread/2"}
    assert threading.active_count() == before
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.ping()


async def test_beside_a_running_loop(lading: Registry) -> None:
    """In a coroutine it holds the loop up, as any call does; in a thread it does not."""
    with SyncRegistryClient(f"http://{lading.host}") as client:
        client.ping()
        await asyncio.to_thread(everything, client, "beside")
        assert client.tags("beside") == []


def test_errors_are_the_same(lading: Registry) -> None:
    with SyncRegistryClient(f"http://{lading.host}") as client:
        with pytest.raises(NotFoundError) as missing:
            client.blob_size("a", Digest.of(b"x"))
        assert missing.value.status == 404
        with pytest.raises(InvalidAnswerError):
            client.put_blob("a", Digest.of(b"x"), 2, b"x")
    with pytest.raises(ValueError, match="http"):
        SyncRegistryClient("registry.example")


def test_the_names_are_the_same() -> None:
    """All but a session by hand, which has no use without a loop."""
    public = {name for name, _ in inspect.getmembers(RegistryClient, callable) if not name.startswith("_")}
    assert {name for name in public if not hasattr(SyncRegistryClient, name)} == {"begin_upload"}
    for name in public - {"begin_upload", "close"}:
        own, other = (inspect.signature(getattr(each, name)) for each in (RegistryClient, SyncRegistryClient))
        assert list(own.parameters.values()) == list(other.parameters.values()), name


def test_a_copy_between_registries(lading: Registry, tmp_path: Path) -> None:
    with SyncRegistryClient(f"http://{lading.host}") as client:
        for blob in IMAGE.blobs:
            client.put_blob("from/a", Digest(blob.digest), len(blob.data), blob.data)
        client.put_manifest("from/a", MANIFEST, "1.0")
        with SyncRegistries(credentials=lambda _: None, plain_http=True) as registries:
            source, target = (registries.repository(f"{lading.host}/{name}") for name in ("from/a", "to/b"))
            steps: list[Step] = []
            copied = registries.copy(source, target, "1.0", "2.0", report=steps.append)
            assert (copied.content, copied.blobs[Outcome.MOUNTED]) == (MANIFEST, len(IMAGE.blobs))
            assert len([step for step in steps if step.outcome]) == len(IMAGE.blobs)
            assert client.manifest("to/b", "2.0") == MANIFEST
            layout = Layout(str(tmp_path))
            layout.create()
            assert registries.copy(target, layout, "2.0", "2.0").moved == sum(
                len(blob.data) for blob in IMAGE.blobs
            )
            with pytest.raises(NotFoundError):
                registries.copy(source, target, "3.0")
    with pytest.raises(RuntimeError, match="closed"):
        registries.copy(source, target, "1.0")


def test_copy_takes_the_same() -> None:
    own, other = inspect.signature(copy), inspect.signature(SyncRegistries.copy)
    assert [*own.parameters.values()] == [*other.parameters.values()][1:]


@pytest.fixture
def silent() -> Iterator[tuple[str, threading.Event]]:
    """A server that takes a request and never answers; the event says that one has come."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                asked.set()
                connection.recv(1000)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        thread.join(20)


@pytest.mark.timeout(30)
def test_who_waits_hears_of_the_end(silent: tuple[str, threading.Event]) -> None:
    url, asked = silent
    client = SyncRegistryClient(url)
    said: queue.Queue[str] = queue.Queue()

    def wait() -> None:
        try:
            client.ping()
            said.put("answered")
        except RuntimeError as error:
            said.put(str(error))

    threading.Thread(target=wait, daemon=True).start()
    assert asked.wait(20)
    client.close()
    assert "closed" in said.get(timeout=5)


@pytest.mark.timeout(30)
def test_its_own_loop_does_not_wait_for_itself(lading: Registry) -> None:
    said: list[str] = []

    def call(_: int, __: object) -> None:
        try:
            client.tags("a")
        except RuntimeError as error:
            said.append(str(error))

    with SyncRegistryClient(f"http://{lading.host}", observe=call) as client:
        client.ping()
    assert said == ["the client is called from its own event loop"]


@pytest.mark.timeout(40)
def test_a_forked_process_needs_a_client_of_its_own(lading: Registry) -> None:
    program = f"""
import os, signal
from lading.client import SyncRegistryClient
client = SyncRegistryClient("http://{lading.host}")
client.ping()
if not os.fork():
    signal.alarm(5)
    try:
        client.ping()
    except RuntimeError as error:
        client.close()
        os._exit(7 if "process" in str(error) else 8)
    os._exit(9)
print(os.waitstatus_to_exitcode(os.wait()[1]))
client.ping()
client.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=25, check=True)
    assert done.stdout.strip() == "7"
