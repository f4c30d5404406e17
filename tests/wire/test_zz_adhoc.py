"""Requests nobody meant: whatever comes in, what goes out is a proper answer, and no key leaves the root."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.wire.asgi import Answer, Client
from tests.wire.compositions import MEMORY, SECRET, world
from tests.wire.content import DOCKER, DOCKER_LIST, EVERYTHING, INDEX, OCI, SCHEMA_1, digest
from tests.wire.fuzzing import FACTOR, NOWHERE, thorough
from tests.wire.storages import Watched
from tests.wire.table import MESSAGES
from tests.wire.world import (
    APP,
    BARE_INDEX,
    BY_512,
    DOCKER_IMAGE,
    LAYER,
    LIST,
    LONG,
    OCI_IMAGE,
    OCI_INDEX,
    SBOM,
    SIGNED_INDEX,
    WORLD,
)

from lading.api.app import Application
from lading.api.service import Service
from lading.api.state import StateTokens
from lading.api.urls import Urls
from lading.registry.ports import Storage
from lading.registry.registry import Registry

PLAIN_TEXTS = {b"404 page not found\n", b"Method not allowed\n"}
SESSION = "0190d7a0-0000-7000-8000-000000000000"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 * FACTOR)]


class Fuzzed:
    """A registry over watched memory, that of the table's world."""

    def __init__(self, storage: Storage) -> None:
        self.watched = Watched(storage)
        service = Service(Registry.over(self.watched), StateTokens(SECRET), Urls(), deletes=True)
        self.client = Client(Application(service))

    async def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: Any = b"",
    ) -> Answer:
        answer = await self.client.send(method, target, headers, body)
        self.check(method, answer)
        return answer

    def check(self, method: str, answer: Answer) -> None:
        assert self.watched.astray == []
        assert 200 <= answer.status < 500, str(answer)
        if answer.status < 400 or method == "HEAD":
            return
        kind = answer.header("content-type")
        if kind == "application/json":
            _check_errors(answer)
        elif answer.status in {404, 405}:
            assert kind == "text/plain; charset=utf-8"
            assert answer.body in PLAIN_TEXTS
        elif answer.status == 416:
            assert kind == "text/plain; charset=utf-8"
            assert re.fullmatch(rb"[ -~]+\n", answer.body)
        else:
            assert answer.status == 412
            assert answer.body == b""


def _check_errors(answer: Answer) -> None:
    assert answer.body.endswith(b"}\n")
    document = answer.json()
    assert list(document) == ["errors"]
    assert document["errors"]
    for entry in document["errors"]:
        assert list(entry)[:2] == ["code", "message"]
        assert set(entry) <= {"code", "message", "detail"}
        assert entry["code"] in MESSAGES
        assert isinstance(entry["message"], str)
        assert entry["message"]
    assert b"<" not in answer.body
    assert b"Traceback" not in answer.body


async def fresh() -> Fuzzed:
    return Fuzzed((await world(MEMORY, WORLD.files, NOWHERE)).storage)


methods = st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "", "A-B"])
names = st.one_of(
    st.sampled_from(
        [APP, "test", "a", "a/1", "Mixed.Case/app", "no/such", "localhost:5000/a", "[::1]/a", "a" * 256]
    ),
    st.from_regex(r"[a-zA-Z0-9._:/\[\]-]{0,30}", fullmatch=True),
    st.text(max_size=20),
    st.lists(
        st.sampled_from(["..", ".", "", "a", "_manifests", "_uploads", "tags", "list", "blobs", "uploads"])
    ).map("/".join),
)
digests = st.one_of(
    st.sampled_from([digest(LAYER), digest(BY_512, "sha512"), digest(OCI_IMAGE), digest(b"", "sha384")]),
    st.sampled_from(["sha256:", "sha256", ":", "sha256:..", "sha256:" + "a" * 63, "sha256:" + "G" * 64, "md5:0"]),
    st.from_regex(r"[a-z0-9+._-]{0,8}:[a-zA-Z0-9=_./-]{0,130}", fullmatch=True),
    st.text(max_size=20),
)
tags = st.one_of(
    st.sampled_from(["oci", "docker", "list", "index", "old", "lost", "..", ".", "_", "a" * 128, "a" * 129]),
    st.from_regex(r"[A-Za-z0-9_.-]{0,10}", fullmatch=True),
    st.text(max_size=10),
)
sessions = st.one_of(
    st.just(SESSION), st.from_regex(r"[a-zA-Z0-9._=-]{0,40}", fullmatch=True), st.text(max_size=10)
)


def _path(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


known_paths = st.one_of(
    _path(st.just("/v2/"), names, st.just("/tags/list")),
    _path(st.just("/v2/"), names, st.just("/manifests/"), st.one_of(tags, digests)),
    _path(st.just("/v2/"), names, st.just("/blobs/"), digests),
    _path(st.just("/v2/"), names, st.just("/referrers/"), digests),
    _path(st.just("/v2/"), names, st.just("/blobs/uploads/"), sessions),
    _path(st.just("/v2/"), names, st.just("/blobs/uploads/")),
    st.just("/v2/_catalog"),
)
paths = st.one_of(
    known_paths.map(lambda path: quote(path, safe="/:=+@!$&'()*,;~-._[]")),
    known_paths.map(lambda path: quote(path, safe="")).map(lambda path: "/" + path),
    st.binary(max_size=60).map(lambda data: "/" + quote_from_bytes(data)),
    st.lists(st.sampled_from(["v2", "..", ".", "", "%2E%2E", "%2F", "%00", "a", "%", "%zz", "tags", "list"])).map(
        lambda parts: "/" + "/".join(parts)
    ),
    st.from_regex(r"/[!-~]{0,60}", fullmatch=True).map(lambda path: path.replace("?", "")),
)
numbers = st.one_of(
    st.integers().map(str), st.floats().map(str), st.text(max_size=8), st.sampled_from(["", "0", "1"])
)
queries = st.one_of(
    st.just(""),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["n", "last", "mount", "from", "digest", "digest-algorithm", "_state", "tag", "artifactType"]
            ),
            st.one_of(numbers, names, digests, tags),
        ),
        max_size=4,
    ).map(lambda pairs: "&".join(f"{key}={quote(value)}" for key, value in pairs)),
    st.from_regex(r"[!-~]{0,60}", fullmatch=True),
)
texts = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60)
ranges = st.from_regex(r"(bytes=)?[0-9a, -]{0,40}", fullmatch=True)
etags = st.one_of(
    st.sampled_from([f'"{digest(LAYER)}"', f'W/"{digest(LONG)}"', "*"]),
    st.from_regex(r'[W/", a:*]{0,30}', fullmatch=True),
)
forwarded = st.from_regex(r'(for|proto|host|by)?[=;," \\a-z0-9:\[\]]{0,40}', fullmatch=True)
headers = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["Range", "Content-Range"]), st.one_of(ranges, texts)),
        st.tuples(st.sampled_from(["If-None-Match", "If-Match", "If-Range"]), st.one_of(etags, texts)),
        st.tuples(
            st.sampled_from(["Accept", "Content-Type"]), st.one_of(st.sampled_from([OCI, DOCKER, "*/*"]), texts)
        ),
        st.tuples(
            st.sampled_from(["Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "Host"]), forwarded | texts
        ),
        st.tuples(
            st.sampled_from(["Content-Length", "Referer", "Cookie", "X-Other"]),
            st.one_of(numbers.filter(str.isascii), texts),
        ),
    ),
    max_size=5,
)
bodies = st.one_of(st.just(b""), st.binary(max_size=50), st.lists(st.binary(max_size=20), max_size=4))


@thorough(9000)
@given(methods, paths, queries, headers, bodies)
async def test_any_request(method: str, path: str, query: str, send: list[tuple[str, str]], body: Any) -> None:
    registry = await fresh()
    send = [(name, value) for name, value in send if "\n" not in value and "\r" not in value]
    await registry.ask(method, f"{path}?{query}", send, body)


@thorough(9000)
@given(methods, known_paths, queries, headers)
async def test_any_reference(method: str, path: str, query: str, send: list[tuple[str, str]]) -> None:
    registry = await fresh()
    await registry.ask(method, f"{quote(path, safe='/:')}?{query}", send)


@thorough(500)
@given(st.lists(etags | texts, max_size=3), st.lists(ranges | texts, max_size=2), etags | texts)
async def test_any_condition_and_range(conditions: list[str], spans: list[str], if_range: str) -> None:
    registry = await fresh()
    send = [("If-None-Match", value) for value in conditions] + [("Range", value) for value in spans]
    target = f"/v2/{APP}/blobs/{digest(LONG)}"
    answer = await registry.ask("GET", target, [*send, ("If-Range", if_range)])
    assert answer.status in {200, 206, 304, 416, 404}


@thorough(500)
@given(st.lists(st.tuples(st.integers(0, 2100), st.integers(0, 2100)), min_size=1, max_size=6), st.booleans())
async def test_ranges_are_cut_out_right(pairs: list[tuple[int, int]], suffix: bool) -> None:
    asked = [
        f"-{last}" if suffix and not index else f"{first}-{last}" for index, (first, last) in enumerate(pairs)
    ]
    client = Client(
        Application(Service(Registry.over((await world(MEMORY, WORLD.files, NOWHERE)).storage), StateTokens(b"")))
    )
    answer = await client.get(f"/v2/{APP}/blobs/{digest(LONG)}", {"Range": f"bytes={','.join(asked)}"})
    model = _spans(asked, len(LONG))
    if model is None:
        assert answer.status == 416
    elif not model or (len(model) > 1 and sum(last - first + 1 for first, last in model) > len(LONG)):
        assert answer.status == (200 if model else 416)
        assert answer.body == LONG or not model
    elif len(model) == 1:
        ((first, last),) = model
        assert answer.body == LONG[first : last + 1]
        assert answer.header("content-range") == f"bytes {first}-{last}/2048"
    else:
        kind = str(answer.header("content-type"))
        boundary = kind.partition("boundary=")[2].encode()
        parts = answer.body.split(b"--" + boundary)
        assert (parts[0], parts[-1]) == (b"", b"--\r\n")
        for (first, last), part in zip(model, parts[1:-1], strict=True):
            assert part.partition(b"\r\n\r\n")[2] == LONG[first : last + 1] + b"\r\n"
            assert f"Content-Range: bytes {first}-{last}/2048".encode() in part


def _spans(asked: list[str], size: int) -> list[tuple[int, int]] | None:
    """None where one is malformed; empty where none overlaps."""
    spans = []
    for text in asked:
        start, _, end = text.partition("-")
        if not start:
            if int(end):
                spans.append((max(0, size - int(end)), size - 1))
        elif int(end) < int(start):
            return None
        elif int(start) < size:
            spans.append((int(start), min(int(end), size - 1)))
    return spans


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=10),
        digests,
        st.sampled_from(["https://example.com/x", "//", "http://[", OCI, INDEX, DOCKER, "\x00", "../../x"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["digest", "size", "mediaType", "os", "x", "urls", "platform"]), inner, max_size=4
        ),
    ),
    max_leaves=8,
)
templates = st.sampled_from([OCI_IMAGE, DOCKER_IMAGE, LIST, OCI_INDEX, BARE_INDEX, SBOM, SIGNED_INDEX])
media_types = st.sampled_from([OCI, DOCKER, INDEX, DOCKER_LIST, SCHEMA_1, "application/json", ""])


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        found += _places(child, (*path, key))
    return found


@st.composite
def mutated_manifests(draw: st.DrawFn) -> bytes:
    document = json.loads(draw(templates))
    for _ in range(draw(st.integers(1, 3))):
        document.setdefault("annotations", {})
        document.setdefault("subject", {"digest": digest(LAYER), "size": 1, "mediaType": OCI})
        *parents, last = draw(st.sampled_from(_places(document)))
        target = document
        for key in parents:
            target = target[key]
        if draw(st.integers(0, 9)):
            target[last] = draw(json_values)
        elif isinstance(target, dict):
            target[draw(st.sampled_from(["urls", "data", "platform", "artifactType", "annotations", "x"]))] = draw(
                json_values
            )
    text = json.dumps(document, ensure_ascii=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


@thorough(9000)
@given(mutated_manifests(), media_types, st.sampled_from(["new", "by-digest", "by-512"]))


async def test_any_manifest(data: bytes, media_type: str, reference: str) -> None:
    registry = await fresh()
    by = {"by-digest": digest(data), "by-512": digest(data, "sha512")}
    target = f"/v2/{APP}/manifests/{by.get(reference, reference)}"
    answer = await registry.ask("PUT", target, {"Content-Type": media_type}, data)
    assert answer.status in {201, 400}
    if answer.status == 400:
        return
    name = answer.header("docker-content-digest")
    stored = await registry.ask("GET", f"/v2/{APP}/manifests/{name}", {"Accept": EVERYTHING})
    assert (stored.status, stored.body) == (200, data)
    assert stored.header("content-type") == media_type or b'"manifests"' not in data or b'"manifests": null' in data
    if subject := answer.header("oci-subject"):
        listed = await registry.ask("GET", f"/v2/{APP}/referrers/{subject}")
        assert name in [item["digest"] for item in listed.json()["manifests"]]
    await registry.ask("GET", f"/v2/{APP}/manifests/{name}", {"Accept": DOCKER})
    deleted = await registry.ask("DELETE", f"/v2/{APP}/manifests/{name}")
    assert deleted.status == 202


@thorough(500)
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()), media_types)

@example(b'{"a":' * 5000, INDEX)


@example(b'{"schemaVersion":1e999}', OCI)

async def test_any_body(data: bytes, media_type: str) -> None:
    registry = await fresh()
    answer = await registry.ask("PUT", f"/v2/{APP}/manifests/new", {"Content-Type": media_type}, data)
    assert answer.status == 400


@thorough(300)
@given(mutated_manifests())
async def test_any_stored_manifest(data: bytes) -> None:
    """What the original, or a broken disk, has put there is not ours to trust."""
    registry = await fresh()
    fallback = digest(LAYER).replace(":", "-")
    for key, content in _stored(data, "fuzzed", fallback).items():
        await registry.watched.inner.put(key, content)
    for accept in (EVERYTHING, DOCKER, OCI):
        for method in ("GET", "HEAD"):
            await registry.ask(method, f"/v2/{APP}/manifests/fuzzed", {"Accept": accept})
            await registry.ask(method, f"/v2/{APP}/manifests/{digest(data)}", {"Accept": accept})
    await registry.ask("GET", f"/v2/{APP}/referrers/{digest(LAYER)}")
    await registry.ask("DELETE", f"/v2/{APP}/manifests/{digest(data)}")


def _stored(data: bytes, *named: str) -> dict[str, bytes]:
    directory = type(WORLD)()
    directory.manifest(APP, data, *named)
    return directory.files


@thorough(500)
@given(
    st.binary(max_size=120) | json_values.map(lambda value: json.dumps(value).encode()),
    st.booleans(),
    st.sampled_from(["PATCH", "PUT", "DELETE", "GET"]),
)
async def test_any_state(payload: bytes, signed: bool, method: str) -> None:
    registry = await fresh()
    mac = hmac.digest(SECRET, payload, hashlib.sha256) if signed else b""
    state = base64.urlsafe_b64encode(mac + payload).decode()
    answer = await registry.ask(method, f"/v2/{APP}/blobs/uploads/{SESSION}?_state={quote(state)}", {}, b"x")
    assert answer.status in {404, 400}
    if method != "GET":
        assert answer.codes()[0] in {"BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"}


@thorough(300)
@given(
    st.fixed_dictionaries(
        {
            "Name": st.sampled_from([APP, "other"]) | json_values,
            "UUID": st.sampled_from([SESSION, "../../x"]) | json_values,
            "Offset": st.integers() | json_values,
            "StartedAt": st.text() | json_values,
        },
        optional={"Algorithm": st.sampled_from(["sha512", "md5", "../x"]) | json_values},
    ),
    st.sampled_from(["PATCH", "PUT", "DELETE"]),
)

async def test_any_signed_state(document: dict[str, Any], method: str) -> None:
    registry = await fresh()
    payload = json.dumps(document).encode()
    state = base64.urlsafe_b64encode(hmac.digest(SECRET, payload, hashlib.sha256) + payload).decode()
    answer = await registry.ask(method, f"/v2/{APP}/blobs/uploads/{SESSION}?_state={quote(state)}", {}, b"x")
    assert answer.status == 404


@thorough(300)
@given(st.text(st.sampled_from("ABab01+/-_=%&? \xff"), max_size=80))
async def test_any_token(token: str) -> None:
    registry = await fresh()
    for text in (token, quote(token, safe="")):
        target = f"/v2/{APP}/blobs/uploads/{SESSION}?_state={text}"
        assert (await registry.ask("PATCH", target, {}, b"x")).status == 404


@thorough(200)
@given(
    st.lists(
        st.tuples(st.sampled_from(["Content-Range", "Content-Type", "Content-Length"]), ranges | texts | numbers),
        max_size=3,
    ),
    st.binary(max_size=8),
)
async def test_any_chunk(send: list[tuple[str, str]], body: bytes) -> None:
    """A session survives whatever its client says about a chunk."""
    registry = await fresh()
    send = [(name, value) for name, value in send if all(31 < ord(letter) < 256 for letter in value)]
    started = await registry.ask("POST", f"/v2/{APP}/blobs/uploads/")
    stored = b""
    for method in ("PATCH", "PUT"):
        status = await registry.ask("GET", started.location)
        query = f"&digest={digest(b'')[:-1]}" if method == "PUT" else ""
        answer = await registry.ask(method, f"{status.location}{query}", send, body)
        if answer.status == 202:
            stored += body
        status = await registry.ask("GET", started.location)
        assert status.header("range") == f"0-{max(len(stored) - 1, 0)}"
    done = await registry.ask("PUT", f"{status.location}&digest={digest(stored)}")
    assert done.status == 201


def test_requests_at_once() -> None:
    """Many at a time on one registry: each gets its own answer."""

    async def all_at_once() -> list[Answer]:
        client = (await fresh()).client
        targets = [f"/v2/{APP}/blobs/{digest(LONG)}", f"/v2/{APP}/manifests/oci", "/v2/_catalog", "/v2/"] * 50
        return await asyncio.gather(*map(client.get, targets))

    answers = asyncio.run(all_at_once())
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 4
