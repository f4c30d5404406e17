"""Uploads and downloads over connections that break, against Lading and the original."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from pathlib import Path

import pytest
from tests.client.cutting import cutting
from tests.servers.process import Registry, StartRegistry

from lading.client import (
    AnswerError,
    Digest,
    FilesError,
    InvalidAnswerError,
    Outcome,
    RateLimitedError,
    RegistryClient,
    Timing,
    UnreachableError,
    of_bytes,
    of_file,
)
from lading.client.sources import of_known_file

SIZE = 6_000_000
DATA = random.Random(7).randbytes(SIZE)
DIGEST = Digest("sha256:" + hashlib.sha256(DATA).hexdigest())
TIMING = Timing(attempts=4, pause=0.2, idle=20)

pytestmark = pytest.mark.slow


@pytest.fixture(params=["lading", pytest.param("distribution", marks=pytest.mark.peer)])
def registry(request: pytest.FixtureRequest) -> Registry:
    start: StartRegistry = request.getfixturevalue(f"start_{request.param}")
    return start()


def client(host: str) -> RegistryClient:
    return RegistryClient(f"http://{host}", timing=TIMING)


@pytest.mark.parametrize("chunk_bytes", [SIZE * 2, 1_500_000])
async def test_an_upload_goes_on_where_it_broke_off(registry: Registry, tmp_path: Path, chunk_bytes: int) -> None:
    (tmp_path / "blob").write_bytes(DATA)
    async with cutting(registry.host) as between, client(between.host) as through:
        between.cut_sent = 4_000_000
        moved: list[int] = []
        outcome = await through.put_blob(
            "a/b",
            DIGEST,
            SIZE,
            of_file(str(tmp_path / "blob")),
            chunk_bytes=chunk_bytes,
            progress=lambda done, _: moved.append(done),
        )
        assert (outcome, between.cuts, moved[-1]) == (Outcome.UPLOADED, 1, SIZE)
        assert between.sent < SIZE * 3 // 2  # not from the beginning
        assert await through.put_blob("a/b", DIGEST, SIZE, DATA) is Outcome.PRESENT
    assert registry.client.request("GET", f"/v2/a/b/blobs/{DIGEST}").body == DATA


async def test_a_download_goes_on_where_it_broke_off(registry: Registry) -> None:
    async with cutting(registry.host) as between, client(between.host) as through:
        await through.put_blob("a/b", DIGEST, SIZE, DATA)
        between.received = 0
        between.cut_received = 2_500_000
        async with await through.blob("a/b", DIGEST) as download:
            assert b"".join([piece async for piece in download]) == DATA
        assert between.cuts == 1
        assert between.received < SIZE * 5 // 4


async def test_who_breaks_off_for_good_is_an_error(registry: Registry) -> None:
    async with cutting(registry.host) as between, client(between.host) as through:
        upload = await through.begin_upload("a/b")
        assert await upload.send(0, 1000, DATA[:1000]) == 1000
        assert await upload.status() == 1000
        await upload.finish(Digest.of(DATA[:1000]))
        assert await through.blob_size("a/b", Digest.of(DATA[:1000])) == 1000
        gone = await through.begin_upload("a/b")
        await gone.cancel()
        await gone.cancel()
        with pytest.raises(AnswerError):
            await gone.status()
    async with RegistryClient("http://127.0.0.1:1", timing=Timing(attempts=2, pause=0.01)) as nobody:
        with pytest.raises(UnreachableError):
            await nobody.put_blob("a/b", DIGEST, SIZE, DATA)


async def test_what_is_not_what_it_says_is_refused(registry: Registry) -> None:
    wrong = Digest.of(b"something else")
    async with client(registry.host) as there:
        for size in (1000, SIZE):
            with pytest.raises(AnswerError) as refused:
                await there.put_blob("a/b", wrong, size, DATA[:size])
            assert (refused.value.status, refused.value.code) == (400, "DIGEST_INVALID")
            assert refused.value.message
        for size in (1001, SIZE + 1):
            with pytest.raises(InvalidAnswerError):
                await there.put_blob("a/b", wrong, size, of_bytes(DATA[: size - 1]))
            with pytest.raises(InvalidAnswerError):
                await there.put_blob("a/b", wrong, size - 2, of_bytes(DATA[: size - 1]))
        assert not await there.has_blob("a/b", wrong)


async def test_a_source_that_fails_ends_the_upload_with_its_own_error(registry: Registry, tmp_path: Path) -> None:
    """Its last bytes are not sent, so that the registry never has all of what is wrong."""
    for size in (1000, SIZE):
        wanted = Digest.of(DATA[:size])
        (tmp_path / "wrong").write_bytes(DATA[: size - 1] + b"?")
        (tmp_path / "short").write_bytes(DATA[: size // 2])
        (tmp_path / "long").write_bytes(DATA[:size] + b"?")
        for name in ("wrong", "short", "long", "missing"):
            source = of_known_file(str(tmp_path / name), wanted, FilesError, size=size)
            async with client(registry.host) as there:
                with pytest.raises(FilesError):
                    await there.put_blob("a/b", wanted, size, source)
                assert not await there.has_blob("a/b", wanted)


async def test_mounts(registry: Registry) -> None:
    async with client(registry.host) as there:
        await there.put_blob("a/b", DIGEST, SIZE, DATA)
        assert await there.put_blob("c/d", DIGEST, SIZE, b"never read", mount="a/b") is Outcome.MOUNTED
        other = Digest.of(b"x")
        assert await there.put_blob("c/d", other, 1, b"x", mount="a/b") is Outcome.UPLOADED
        anonymous = await there.put_blob("e/f", DIGEST, SIZE, DATA, mount="")
        assert anonymous in {Outcome.MOUNTED, Outcome.UPLOADED}
        await there.delete_blob("c/d", other)
        assert not await there.has_blob("c/d", other)


async def test_what_the_registry_asks_for_is_waited_for(registry: Registry) -> None:
    """A chunk that is refused for now goes again, by the pause that the answer names; not for ever."""
    refused: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, sending = await asyncio.open_connection(*registry.host.split(":"))
        with contextlib.closing(writer), contextlib.closing(sending):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"PATCH ") and len(refused) < limit:
                refused.append(head)
                # A connection that is closed with bytes unread is reset, and the answer may be lost with it.
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]))
                writer.write(b"HTTP/1.1 429 Slow\r\nRetry-After: 0.01\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
            sending.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            forth = asyncio.create_task(pump(reader, sending))
            await pump(upstream, writer)
            forth.cancel()
            await asyncio.gather(forth, return_exceptions=True)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, client(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as there:
        limit = 2
        assert await there.put_blob("a/b", DIGEST, SIZE, DATA) is Outcome.UPLOADED
        assert len(refused) == 2
        limit = 100
        with pytest.raises(RateLimitedError):
            await there.put_blob("c/d", DIGEST, SIZE, DATA)
