"""What is not HTTP, or is two things at once: refused or cut off; the server never dies of it, nor says 500."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest
from tests.faults import directory
from tests.faults.node import MIB, Node, nodes
from tests.faults.wire import Wire, chunk, head
from tests.servers import content

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REPOSITORY = "team/app"
HOST = b"Host: registry.test\r\n"
STATUS = re.compile(rb"(?:\A|\n|\})HTTP/1\.[01] ([0-9]{3})")

NOT_HTTP = {
    "nothing": b"",
    "noise": content.noise("noise", 5000),
    "zeros": bytes(100_000),
    "line-ends": b"\r\n" * 50_000,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(508),
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "half-a-line": b"GET /v2",
    "half-a-head": b"GET /v2/ HTTP/1.1\r\nHos",
    "no-end-of-head": b"GET /v2/ HTTP/1.1\r\n" + HOST,
    "no-version": b"GET /v2/\r\n\r\n",
    "version-2.7": b"GET /v2/ HTTP/2.7\r\n" + HOST + b"\r\n",
    "version-words": b"GET /v2/ HTTP/one\r\n" + HOST + b"\r\n",
    "space-in-target": b"GET /v2/ a HTTP/1.1\r\n" + HOST + b"\r\n",
    "no-slash": b"GET v2/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "control-in-method": b"GE\x01T /v2/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "long-method": b"G" * 100_000 + b" /v2/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "long-target": b"GET /v2/" + b"a" * 300_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "long-field": b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "long-name": b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X" * 1_000_000 + b": a\r\n\r\n",
    "many-fields": b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 200_000 + b"\r\n",
    "folded-field": b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "space-before-colon": b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X : a\r\n\r\n",
    "no-colon": b"GET /v2/ HTTP/1.1\r\n" + HOST + b"XXX\r\n\r\n",
    "nul-in-field": b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
    "bare-line-feeds": b"GET /v2/ HTTP/1.1\nHost: x\n\n",
    "bare-returns": b"GET /v2/ HTTP/1.1\rHost: x\r\r",
}

ODD = {
    "absolute-target": b"GET http://other.test/v2/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "broken-absolute-target": b"GET http://[::1/v2/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "other-scheme": b"GET gopher://x:99999999/v2/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "authority": b"CONNECT other.test:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "star": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "no-host": b"GET /v2/ HTTP/1.1\r\n\r\n",
    "two-hosts": b"GET /v2/ HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "odd-host": b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: \xff[:]:@/?#\r\nContent-Length: 0\r\n\r\n",
    "odd-forwarded": b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HOST + b'Forwarded: for="_\xff;;=,host="\r\n\r\n',
    "raw-utf-8": b"GET /v2/\xc3\xa9/tags/list HTTP/1.1\r\n" + HOST + b"\r\n",
    "broken-percent": b"GET /v2/%zz%/tags/list HTTP/1.1\r\n" + HOST + b"\r\n",
    "percent-nul": b"GET /v2/a%00b/tags/list HTTP/1.1\r\n" + HOST + b"\r\n",
    "percent-newline": b"GET /v2//%0d%0aX:%20y/tags/list HTTP/1.1\r\n" + HOST + b"\r\n",
    "percent-not-utf-8": b"GET /v2/%ff%fe/tags/list HTTP/1.1\r\n" + HOST + b"\r\n",
    "percent-surrogate": b"GET /v2//%ed%a0%80/tags/list?last=%ed%a0%80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "latin-1-field": b"GET /v2/ HTTP/1.1\r\n" + HOST + b"Range: \xff\xfe\r\nAccept: \xe9\r\n\r\n",
    "upgrade": b"GET /v2/ HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n",
    "unknown-expectation": b"GET /v2/ HTTP/1.1\r\n" + HOST + b"Expect: a miracle\r\n\r\n",
    "get-with-body": b"GET /v2/ HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
}

# How a body may be framed wrongly: header lines, and what follows.
SMUGGLED = b"GET /v2/smuggled/tags/list HTTP/1.1\r\nHost: x\r\n\r\n"
FRAMINGS = {
    "negative-length": (b"Content-Length: -1", b"abc"),
    "plus-length": (b"Content-Length: +3", b"abc"),
    "hex-length": (b"Content-Length: 0x3", b"abc"),
    "underscored-length": (b"Content-Length: 1_0", b"abc"),
    "empty-length": (b"Content-Length:", b"abc"),
    "list-of-lengths": (b"Content-Length: 3, 3", b"abc"),
    "two-lengths": (b"Content-Length: 0\r\nContent-Length: 3", b"abc"),
    "length-of-23-digits": (b"Content-Length: 99999999999999999999999", b"abc"),
    "length-with-form-feed": (b"Content-Length: 3\x0c", b"abc"),
    "length-and-chunked": (b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n" + SMUGGLED),
    "chunked-and-length": (b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n" + SMUGGLED),
    "unknown-coding": (b"Transfer-Encoding: xchunked", chunk(b"abc") + chunk(b"")),
    "chunked-not-last": (b"Transfer-Encoding: chunked, identity", chunk(b"abc") + chunk(b"")),
    "chunked-twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunk(b"abc") + chunk(b"")),
    "vertical-tab": (b"Transfer-Encoding: \x0bchunked", chunk(b"abc") + chunk(b"")),
    "space-before-coding-colon": (b"Transfer-Encoding : chunked", chunk(b"abc") + chunk(b"")),
    "size-not-hex": (b"Transfer-Encoding: chunked", b"zz\r\nabc\r\n0\r\n\r\n"),
    "negative-size": (b"Transfer-Encoding: chunked", b"-3\r\nabc\r\n0\r\n\r\n"),
    "size-0x": (b"Transfer-Encoding: chunked", b"0x3\r\nabc\r\n0\r\n\r\n"),
    "size-over-64-bits": (b"Transfer-Encoding: chunked", b"1" + b"0" * 16 + b"3\r\nabc\r\n0\r\n\r\n"),
    "size-empty": (b"Transfer-Encoding: chunked", b"\r\nabc\r\n0\r\n\r\n"),
    "piece-too-long": (b"Transfer-Encoding: chunked", b"3\r\nabcdef\r\n0\r\n\r\n"),
    "piece-too-short": (b"Transfer-Encoding: chunked", b"5\r\nabc\r\n0\r\n\r\n" + SMUGGLED),
    "bare-line-feeds": (b"Transfer-Encoding: chunked", b"3\nabc\n0\n\n"),
    "endless-extension": (b"Transfer-Encoding: chunked", b"3;" + b"a" * 1_000_000 + b"\r\nabc\r\n0\r\n\r\n"),
    "odd-trailer": (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\nContent-Length : \x01\r\n\r\n" + SMUGGLED),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with nodes(tmp_path_factory.mktemp("malformed")) as start:
        yield start()


@pytest.fixture(autouse=True)
def unharmed(node: Node) -> Iterator[None]:
    """After every test the same processes serve, and no traceback is in the log."""
    before, logged = node.child_ids(), node.log.stat().st_size
    yield
    node.client.get("/v2/").expect(200)
    assert node.child_ids() == before, "a process has died"
    with node.log.open("rb") as log:
        log.seek(logged)
        new = log.read()
    assert b"Traceback" not in new, new[-5000:].decode(errors="replace")


def say(node: Node, *parts: bytes) -> list[int]:
    """The statuses of all answers to what is sent, until the server closes or all is said and answered."""
    with Wire(node.host) as wire:
        if all(wire.send_until_refused(part) for part in parts):
            wire.finish()
        received = wire.rest()
    return [int(status) for status in STATUS.findall(received)]


@pytest.mark.parametrize("name", NOT_HTTP)
def test_what_is_not_http(node: Node, name: str) -> None:
    assert all(400 <= status < 500 for status in say(node, NOT_HTTP[name]) if name != "no-version")


@pytest.mark.parametrize("name", NOT_HTTP)
def test_what_is_not_http_behind_a_request(node: Node, name: str) -> None:
    first = head("GET", "/v2/", {"Host": "x"})
    statuses = say(node, first + NOT_HTTP[name])
    assert statuses[:1] == [200]
    assert all(400 <= status < 500 for status in statuses[1:] if name != "no-version")


@pytest.mark.parametrize("name", ODD)
def test_odd_requests(node: Node, name: str) -> None:
    statuses = say(node, ODD[name])
    assert len(statuses) <= 1
    assert all(status < 500 for status in statuses), statuses


@pytest.mark.parametrize("name", ["no-host", "two-hosts"])
def test_host_is_said_once(node: Node, name: str) -> None:
    """RFC 9112, section 3.2: "A server MUST respond with a 400"."""
    assert say(node, ODD[name]) == [400]


@pytest.mark.parametrize("name", FRAMINGS)
def test_wrong_framing(node: Node, name: str) -> None:
    """At most one answer, and no success: what follows is never taken for a request of its own."""
    fields, body = FRAMINGS[name]
    location = node.client.start_upload(REPOSITORY).location
    line = f"PATCH {location} HTTP/1.1\r\n".encode()
    statuses = say(node, line + HOST + fields + b"\r\n\r\n" + body)
    if name == "endless-extension":
        assert statuses in ([], [202], [400], [413], [431])
    else:
        assert statuses in ([], [400], [499], [501]), statuses
    node.client.request("DELETE", node.client.get(location).expect(204).location).expect(204)


@pytest.mark.parametrize("coding", ["gzip, chunked", "identity, chunked", "chunked;q=1"])
def test_codings_that_are_not_undone(node: Node, coding: str) -> None:
    """Storing the encoded bytes as if they were the blob's would be a lie (RFC 9112, section 6.1: 501)."""
    location = node.client.start_upload(REPOSITORY).location
    body = chunk(b"abc") + chunk(b"")
    statuses = say(node, head("PATCH", location, {"Host": "x", "Transfer-Encoding": coding}) + body)
    assert statuses in ([], [400], [501]), statuses


@pytest.mark.parametrize("arrival", ["with-the-head", "after-the-head"])
def test_trailers_are_not_headers(node: Node, arrival: str) -> None:
    """A field behind the body has no say in what the request means."""
    location = node.client.start_upload(REPOSITORY).location
    fields = {"Host": "x", "Transfer-Encoding": "chunked", "Trailer": "Content-Range"}
    trailer = b"Content-Range: 77-99\r\nContent-Type: text/html\r\n"
    with Wire(node.host) as wire:
        start, rest = head("PATCH", location, fields), b"2\r\nab\r\n0\r\n" + trailer + b"\r\n"
        if arrival == "after-the-head":
            wire.send(start)
            node.client.get("/v2/")
            start = b""
        wire.send(start + rest)
        answer = wire.answer("PATCH")
    assert answer is not None
    answer.expect(202)


def test_mutated_requests(node: Node, full: bool) -> None:
    """Valid requests with bytes changed, lost, doubled or moved, by a seed."""
    rng = random.Random(6)
    image = content.image("image", layer_sizes=(100,))
    node.client.push(REPOSITORY, "latest", image)
    location = node.client.start_upload(REPOSITORY).location
    fields = {"Host": "x", "Accept": "*/*", "Range": "bytes=0-9,20-"}
    length = {"Host": "x", "Content-Length": "5", "Content-Range": "0-4"}
    seeds = [
        head("GET", f"/v2/{REPOSITORY}/blobs/{image.blobs[0].digest}", fields),
        head("GET", f"/v2/{REPOSITORY}/manifests/latest", fields),
        head("GET", f"/v2/{REPOSITORY}/tags/list?n=5&last=a", fields),
        head("PATCH", location, length) + b"hello",
        head("PATCH", location, {"Host": "x", "Transfer-Encoding": "chunked"}) + chunk(b"hello") + chunk(b""),
        head("PUT", f"/v2/{REPOSITORY}/manifests/new", {"Host": "x", "Content-Length": "9"}) + b'{"a":"b"}',
        head("POST", f"/v2/{REPOSITORY}/blobs/uploads/?mount=a&from=b", {"Host": "x", "Content-Length": "0"}),
    ]
    for _ in range(20_000 if full else 1500):
        request = mutated(rng, rng.choice(seeds) + rng.choice([b"", rng.choice(seeds)]))
        statuses = say(node, request)
        assert all(status < 500 for status in statuses), (statuses, request)


def mutated(rng: random.Random, request: bytes) -> bytes:
    data = bytearray(request)
    for _ in range(rng.randrange(1, 4)):
        at, size = rng.randrange(len(data) + 1), rng.randrange(1, 9)
        match rng.randrange(5):
            case 0 if at < len(data):
                data[at] = rng.randrange(256)
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = data[at : at + size]
            case 3:
                data[at:at] = rng.choice(
                    [b"\r\n", b"\0", b" ", b":", b"%", b"\xff", b"99999999999", b"chunked", b","]
                )
            case _:
                del data[at:]
    return bytes(data)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(
    "size", [0, 1, 65_536, 200_000, 256 * 1024, 300_000, MIB, MIB + 200_000, 3 * MIB, 40 * MIB]
)
def test_answer_that_does_not_wait_for_the_body(node: Node, framing: str, size: int) -> None:
    """A refused upload: its client learns why, even if it reads only after it has sent all; and a connection that
    is kept open serves the next request."""
    target = f"/v2/{REPOSITORY}/blobs/uploads/00000000-0000-7000-8000-000000000000"
    piece = bytes(64 * 1024)
    with Wire(node.host) as wire:
        kind = {"Content-Length": str(size)} if framing == "length" else {"Transfer-Encoding": "chunked"}
        wire.head("PATCH", target, kind)
        for at in range(0, size, len(piece)):
            part = piece[: size - at]
            if not wire.send_until_refused(part if framing == "length" else chunk(part)):
                break
        else:
            wire.send_until_refused(b"" if framing == "length" else chunk(b""))
        answer = wire.answer("PATCH")
        assert answer is not None, "the connection was reset, and the answer with it"
        answer.expect(404)
        if answer.headers["Connection"] == "close" or not wire.send_until_refused(
            head("GET", "/v2/", {"Host": "x"})
        ):
            return
        following = wire.answer()
        assert following is None or following.status == 200


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [MIB + 200_000, 3 * MIB])
def test_answer_that_comes_when_the_body_is_half_here(node: Node, framing: str, size: int) -> None:
    """A second writer to a session is refused after a wait, in which its body has begun to arrive."""
    location = node.client.start_upload(REPOSITORY).location
    location = node.client.patch(location, b"start").expect(202).location
    with directory.locked(node.root, REPOSITORY, location), Wire(node.host) as wire:
        wire.socket.settimeout(10)
        kind = {"Content-Length": str(size)} if framing == "length" else {"Transfer-Encoding": "chunked"}
        wire.head("PATCH", location, kind)
        body = bytes(size) if framing == "length" else chunk(bytes(size)) + chunk(b"")
        complete = wire.send_until_refused(body)
        answer = wire.answer("PATCH")
        assert answer is not None, "the connection was reset, and the answer with it"
        answer.expect(416)
        if complete and answer.headers["Connection"] != "close":
            wire.send_until_refused(head("GET", "/v2/", {"Host": "x"}))
            following = wire.answer()
            assert following is None or following.status == 200
