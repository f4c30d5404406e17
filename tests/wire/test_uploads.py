"""Upload sessions over several requests, processes and clients (reference, 1.10, 1.12)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, quote

import pytest
from tests.wire.asgi import Client
from tests.wire.compositions import FILESYSTEM, MEMORY, SECRET, Composition, World, dump
from tests.wire.conftest import OpenWorld
from tests.wire.content import blob_key, digest, layer_key, session_key

from lading.registry import uploads

START = "/v2/app/blobs/uploads/"
BOTH = pytest.mark.parametrize("composition", [MEMORY, FILESYSTEM], ids=["memory", "filesystem"])


def _token(location: str) -> str:
    return parse_qs(location.partition("?")[2])["_state"][0]


def _sign(document: object, secret: bytes = SECRET) -> str:
    payload = json.dumps(document, separators=(",", ":")).encode()
    signed = hmac.digest(secret, payload, hashlib.sha256) + payload
    return base64.urlsafe_b64encode(signed).decode()


async def _status(client: Client, location: str) -> str | None:
    answer = await client.get(location.partition("?")[0])
    return answer.header("range") if answer.status == 204 else None


async def test_state_has_the_layout_of_the_original(empty: World) -> None:
    answer = (await empty.client.post(START)).expect(202)
    location = (await empty.client.patch_chunk(answer.location, {}, b"12345")).location
    signed = base64.urlsafe_b64decode(_token(location))
    assert len(_token(location)) % 4 == 0, "padded"
    mac, payload = signed[:32], signed[32:]
    assert mac == hmac.digest(SECRET, payload, hashlib.sha256)
    session = answer.header("docker-upload-uuid")
    started = (await empty.storage.get(session_key("app", str(session), "startedat"))).decode()
    expected = f'{{"Name":"app","UUID":"{session}","Offset":5,"StartedAt":"{started}"}}'
    assert payload.decode() == expected
    assert location.endswith("_state=" + quote(_token(location), safe=""))


async def test_start_has_seconds_and_a_zone(empty: World) -> None:
    session = (await empty.client.post(START)).header("docker-upload-uuid")
    started = (await empty.storage.get(session_key("app", str(session), "startedat"))).decode()
    assert len(started) == 20
    assert started[10] == "T"
    assert started[-1] == "Z"


@BOTH
async def test_a_session_of_the_original_is_continued(open_world: OpenWorld, composition: Composition) -> None:
    session = "0190d7a0-0000-7000-8000-0000000000aa"
    files = {
        session_key("app", session, "startedat"): b"2024-05-01T12:00:00Z",
        session_key("app", session, "data"): b"first ",
        session_key("app", session, "hashstates/sha256/0"): b"nonsense",
        session_key("app", session, "hashstates/sha256/6"): b"x" * 108,
    }
    place = await open_world(composition, files)
    state = {
        "Name": "app",
        "UUID": session,
        "Offset": 6,
        "StartedAt": "2024-05-01T12:00:00.123456789Z",
        "Future": 1,
    }
    target = f"{START}{session}?_state={quote(_sign(state))}"
    answer = (await place.client.patch_chunk(target, {}, b"second")).expect(202)
    assert answer.header("range") == "0-11"
    name = digest(b"first second")
    (await place.client.put(f"{answer.location}&digest={name}")).expect(201)
    assert (await place.client.get(f"/v2/app/blobs/{name}")).body == b"first second"
    assert sorted(await dump(place.storage)) == sorted([blob_key(name), layer_key("app", name)])


@pytest.mark.parametrize(
    "change",
    [
        {"Name": "other"},
        {"UUID": "0190d7a0-0000-7000-8000-000000000000"},
        {"Offset": "0"},
        {"Offset": None},
        {"Name": 1},
        {"UUID": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_a_state_of_something_else_is_refused(empty: World, method: str, change: dict[str, object]) -> None:
    answer = await empty.client.post(START)
    session = str(answer.header("docker-upload-uuid"))
    state = {"Name": "app", "UUID": session, "Offset": 0, "StartedAt": "2024-05-01T12:00:00Z", **change}
    refused = await empty.client.send(method, f"{START}{session}?_state={quote(_sign(state))}", {}, b"1")
    assert refused.expect(404).codes() == ["BLOB_UPLOAD_INVALID"]
    assert await _status(empty.client, answer.location) == "0-0"


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_a_state_signed_by_somebody_else_is_refused(empty: World, method: str) -> None:
    answer = await empty.client.post(START)
    state = base64.urlsafe_b64decode(_token(answer.location))[32:]
    forged = quote(_sign(json.loads(state), b"another secret"))
    target = f"{answer.location.partition('?')[0]}?_state={forged}"
    refused = (await empty.client.send(method, target, {}, b"1")).expect(404)
    assert refused.json()["errors"][0]["detail"] == "invalid secret"
    assert refused.codes() == ["BLOB_UPLOAD_INVALID"]


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_a_session_that_is_gone_is_unknown(empty: World, method: str) -> None:
    location = (await empty.client.post(START)).location
    (await empty.client.delete(location)).expect(204)
    assert await dump(empty.storage) == {}
    refused = await empty.client.send(method, f"{location}&digest={digest(b'')}")
    assert refused.expect(404).codes() == ["BLOB_UPLOAD_UNKNOWN"]
    assert (await empty.client.get(location)).expect(404).codes() == ["BLOB_UPLOAD_UNKNOWN"]


@BOTH
@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
async def test_two_registries_take_turns(open_world: OpenWorld, composition: Composition, algorithm: str) -> None:
    place = await open_world(composition)
    clients = [Client(composition.open(place.storage)) for _ in range(3)]
    location = (await clients[0].post(f"{START}?digest-algorithm={algorithm}")).expect(202).location
    data = b""
    for number in range(7):
        chunk = bytes([number]) * (number * 1000 + 1)
        answer = (await clients[number % 3].patch_chunk(location, {}, chunk)).expect(202)
        data += chunk
        assert answer.header("range") == f"0-{len(data) - 1}"
        location = answer.location
    name = digest(data + b"end", algorithm)
    (await clients[1].put(f"{location}&digest={name}", {}, b"end")).expect(201)
    for client in clients:
        assert (await client.get(f"/v2/app/blobs/{name}")).body == data + b"end"
    assert sorted(await dump(place.storage)) == sorted([blob_key(name), layer_key("app", name)])


@BOTH
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_client_that_vanishes_resumes(
    open_world: OpenWorld, composition: Composition, method: str
) -> None:
    place = await open_world(composition)
    name = digest(b"first second")
    location = (await place.client.post(START)).location
    send = {"Content-Type": "application/octet-stream"}
    target = f"{location}&digest={name}" if method == "PUT" else location
    answer = await place.client.send(method, target, send, [b"fir", b"st "], vanish=True)
    assert answer.status == 499
    status = (await place.client.get(location)).expect(204)
    assert status.header("range") == "0-5"
    assert (await place.client.patch_chunk(location, {}, b"second")).expect(416).codes() == ["RANGE_INVALID"]
    other = Client(composition.open(place.storage))
    done = (await other.patch_chunk(status.location, {"Content-Range": "6-11"}, b"second")).expect(202)
    (await place.client.put(f"{done.location}&digest={name}")).expect(201)
    assert (await place.client.get(f"/v2/app/blobs/{name}")).body == b"first second"


async def test_a_vanished_single_post_leaves_nothing(empty: World) -> None:
    name = digest(b"never comes")
    answer = await empty.client.send("POST", f"{START}?digest={name}", {}, [b"never"], vanish=True)
    assert answer.status == 499
    assert await dump(empty.storage) == {}


async def test_a_single_post_with_another_digest_leaves_nothing(empty: World) -> None:
    (await empty.client.post(f"{START}?digest={digest(b'a')}", {}, b"b")).expect(400)
    assert await dump(empty.storage) == {}


async def test_a_single_post_without_any_body_starts_a_session(empty: World) -> None:
    """curl -X POST without data sends neither Content-Length nor Transfer-Encoding."""
    target = f"{START}?digest={digest(b'a')}"
    (await empty.client.send("POST", target, length=False)).expect(202)


@BOTH
@pytest.mark.parametrize("methods", [("PATCH", "PATCH"), ("PUT", "PUT"), ("PATCH", "PUT")], ids="-".join)
async def test_of_two_writers_one_wins(
    open_world: OpenWorld, composition: Composition, methods: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "LOCK_SECONDS", 0.0)
    place = await open_world(composition)
    location = (await place.client.post(START)).location
    started, release = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * (2 * uploads.BATCH_BYTES)
        started.set()
        await release.wait()
        yield b"y"

    data = b"x" * (2 * uploads.BATCH_BYTES) + b"y"
    target = f"{location}&digest={digest(data)}"
    first = asyncio.create_task(place.client.send(methods[0], target, {}, slow()))
    await started.wait()
    second = await Client(composition.open(place.storage)).send(methods[1], target, {}, b"other")
    assert second.expect(416).codes() == ["RANGE_INVALID"]
    release.set()
    won = await first
    if methods[0] == "PATCH":
        target = f"{won.expect(202).location}&digest={digest(data)}"
        won = await place.client.put(target)
    won.expect(201)
    assert (await place.client.get(f"/v2/app/blobs/{digest(data)}")).body == data


async def test_the_second_writer_waits_for_the_first(empty: World) -> None:
    """The first request's client may just be gone; then the state decides who is right."""
    location = (await empty.client.post(START)).location
    started, release = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * uploads.BATCH_BYTES
        started.set()
        await release.wait()

    first = asyncio.create_task(empty.client.patch_chunk(location, {}, slow()))
    await started.wait()
    second = asyncio.create_task(empty.client.patch_chunk(location, {}, b"other"))
    release.set()
    statuses = sorted([(await first).status, (await second).status])
    assert statuses == [202, 416]


@BOTH
async def test_the_same_blob_at_once(open_world: OpenWorld, composition: Composition) -> None:
    place = await open_world(composition)
    data = b"the same" * 100_000
    clients = [Client(composition.open(place.storage)) for _ in range(8)]
    target = f"{START}?digest={digest(data)}"
    answers = await asyncio.gather(*(client.post(target, {}, [data[:5], data[5:]]) for client in clients))
    assert [answer.status for answer in answers] == [201] * 8
    assert await dump(place.storage) == {
        blob_key(digest(data)): data,
        layer_key("app", digest(data)): digest(data).encode(),
    }


async def test_a_short_blob_under_a_good_name_is_replaced(open_world: OpenWorld) -> None:
    """A crash of the original may leave an empty file."""
    place = await open_world(MEMORY, {blob_key(digest(b"whole")): b""})
    (await place.client.post(f"{START}?digest={digest(b'whole')}", {}, b"whole")).expect(201)
    assert (await place.client.get(f"/v2/app/blobs/{digest(b'whole')}")).body == b"whole"


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 3_500_000])
@BOTH
async def test_sizes(open_world: OpenWorld, composition: Composition, size: int) -> None:
    place = await open_world(composition)
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    pieces = [data[start : start + 99_991] for start in range(0, size, 99_991)]
    location = (await place.client.post(START)).location
    answer = (await place.client.patch_chunk(location, {}, pieces)).expect(202)
    assert answer.header("range") == f"0-{max(size - 1, 0)}"
    (await place.client.put(f"{answer.location}&digest={digest(data)}")).expect(201)
    answer = await place.client.get(f"/v2/app/blobs/{digest(data)}")
    assert answer.body == data


async def test_mounting_by_alias_gives_both_sides_the_content(open_world: OpenWorld) -> None:
    """In the original's directory a sha512 link holds a sha256 digest; so does the mounted one."""
    data = b"canonical"
    canonical, alias = digest(data), digest(data, "sha512")
    files = {
        blob_key(canonical): data,
        layer_key("from", canonical): canonical.encode(),
        layer_key("from", alias): canonical.encode(),
    }
    place = await open_world(MEMORY, files)
    answer = (await place.client.post(f"/v2/to/blobs/uploads/?mount={alias}&from=from")).expect(201)
    assert answer.header("docker-content-digest") == alias
    assert (await place.client.get(answer.location)).body == data
    assert await place.storage.get(layer_key("to", alias)) == canonical.encode()
