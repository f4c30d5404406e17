"""Requests to a URL, and whatever a server may do with them."""

from __future__ import annotations

import asyncio
import contextlib
import email.message
import email.utils
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import parse_headers

import pytest
from tests.servers.certificate import certificate

from lading.notify import webhook
from lading.notify.transport import Answer
from lading.notify.webhook import Target, Webhook

EVENT = json.dumps(
    {
        "id": "1",
        "timestamp": "t",
        "action": "push",
        "target": {"mediaType": "", "digest": "sha256:a", "size": 0, "repository": "r<&>é"},
        "request": {},
        "actor": {},
        "source": {},
    }
).encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

Serve = Callable[[socket.socket], None]


@dataclass
class Request:
    line: str
    headers: email.message.Message
    body: bytes
    connection: int


@dataclass
class Server:
    """Answers with what is in `answers`, bytes or what is to be done with the connection; at its end with 200."""

    answers: list[bytes | Serve] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    host: str = ""
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.host}/hook"

    def serve(self, connection: socket.socket) -> None:
        self.connections += 1
        number = self.connections
        with connection, contextlib.suppress(OSError, ssl.SSLError), connection.makefile("rb") as reading:
            while line := reading.readline().decode().rstrip():
                headers = parse_headers(reading)
                body = reading.read(int(headers["Content-Length"] or 0))
                self.requests.append(Request(line, headers, body, number))
                answer = self.answers.pop(0) if self.answers else OK
                if not isinstance(answer, bytes):
                    answer(connection)
                    return
                connection.sendall(answer)
                if b"Connection: close" in answer:
                    return


@contextlib.contextmanager
def server(*answers: bytes | Serve, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    made = Server(list(answers))
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.02)
    made.host = f"127.0.0.1:{listening.getsockname()[1]}"
    ended = threading.Event()

    def handle(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            made.serve(connection if tls is None else tls.wrap_socket(connection, server_side=True))

    def accept() -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = listening.accept()
                connection.settimeout(5)
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield made
    finally:
        ended.set()
        thread.join()
        listening.close()


def send(target: Target, times: int = 1) -> list[Answer]:
    async def run() -> list[Answer]:
        sending = Webhook(target, "agent/1")
        try:
            return [await sending.send([EVENT]) for _ in range(times)]
        finally:
            await sending.close()

    return asyncio.run(run())


def redirect(status: int, to: str) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def test_a_request(monkeypatch):
    headers = {
        "Authorization": ["Bearer x"],
        "X-Two": ["a", "b é"],
        "Host": ["elsewhere"],
        "content-length": ["3"],
    }
    with server() as there:
        assert send(Target(there.url + "?a=b&c=%20 d", headers)) == [Answer("200 OK", taken=True)]
    [request] = there.requests
    assert request.line == "POST /hook?a=b&c=%20%20d HTTP/1.1"
    assert request.headers["Host"] == there.host
    assert request.headers["User-Agent"] == "agent/1"
    assert request.headers["Content-Type"] == "application/vnd.docker.distribution.events.v2+json"
    assert request.headers.get_all("Content-Length") == [str(len(request.body))]
    assert request.headers["Authorization"] == "Bearer x"
    assert request.headers.get_all("X-Two") == ["a", "b é".encode().decode("latin-1")]
    assert b'\n            "repository": "r\\u003c\\u0026\\u003e\xc3\xa9"\n' in request.body


def test_one_connection_for_all():
    with server() as there:
        send(Target(there.url), times=20)
    assert there.connections == 1
    assert len(there.requests) == 20


def test_a_kept_connection_that_was_closed_is_no_failure():
    with server(OK, lambda connection: connection.close()) as there:
        answers = send(Target(there.url), times=2)
    assert [answer.taken for answer in answers] == [True, True]
    assert [request.connection for request in there.requests] == [1, 1, 2]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (204, Answer("204 No Content", taken=True)),
        (304, Answer("304 Not Modified", taken=True)),
        (301, Answer("301 Moved Permanently", taken=True)),
        (400, Answer("400 Bad Request", refused=True)),
        (401, Answer("401 Unauthorized")),
        (500, Answer("500 Internal Server Error")),
        (503, Answer("503 Service Unavailable", busy=True)),
        (799, Answer("799")),
    ],
)
def test_statuses(status, expected):
    length = "" if status in {204, 304} else "Content-Length: 3\r\n"
    with server(f"HTTP/1.1 {status} a secret\r\n{length}\r\n{'abc' if length else ''}".encode()) as there:
        assert send(Target(there.url), times=2) == [expected, Answer("200 OK", taken=True)]
    assert there.connections == 1


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        ("1.5", 1.5, 1.5),
        ("-3", 0, 0),
        ("nan", 0, 0),
        ("inf", 0, 0),
        ("soon", 0, 0),
        ("Mon, 99 Foo 2026 00:00:00 GMT", 0, 0),
    ],
)
def test_retry_after(header, least, most):
    with server(f"HTTP/1.1 429 x\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n".encode()) as there:
        [answer] = send(Target(there.url))
    assert answer.busy
    assert least <= answer.pause <= most


@pytest.mark.parametrize(("ahead", "least", "most"), [(3000, 2900, 3000), (-3000, 0, 0)])
def test_retry_after_a_date(ahead, least, most):
    date = email.utils.formatdate(time.time() + ahead, usegmt=True)
    with server(f"HTTP/1.1 503 x\r\nRetry-After: {date}\r\nContent-Length: 0\r\n\r\n".encode()) as there:
        [answer] = send(Target(there.url))
    assert least <= answer.pause <= most


@pytest.mark.parametrize(
    ("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")]
)
def test_redirects_are_followed_as_the_original_follows_them(status, method):
    with server(redirect(status, "/else?x=1")) as there:
        [answer] = send(Target(there.url, {"X-Token": ["t"]}, secret="s"))
    assert answer.taken
    first, second = there.requests
    assert second.line == f"{method} /else?x=1 HTTP/1.1"
    assert second.headers["X-Token"] == "t"
    assert second.body == (first.body if method == "POST" else b"")
    assert (webhook.SIGNATURE in second.headers) == (method == "POST")


def test_what_is_told_to_one_is_not_told_to_another():
    with server() as other, server(redirect(307, other.url)) as there:
        [answer] = send(Target(there.url, {"Authorization": ["Bearer secret"], "X-Token": ["t"]}))
    assert answer.taken
    [request] = other.requests
    assert request.body == there.requests[0].body
    assert not {"Authorization", "X-Token"} & set(request.headers)


def test_redirects_end():
    with server(*[redirect(307, "/again")] * 20) as there:
        assert send(Target(there.url)) == [Answer("HTTPException", answered=False)]
    assert len(there.requests) == 11


def test_redirects_to_something_else():
    with server(redirect(307, "file:///etc/passwd")) as there:
        assert send(Target(there.url)) == [Answer("HTTPException", answered=False)]


def trickle(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100:
            connection.sendall(bytes([byte]))
            time.sleep(0.03)


def hang(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.recv(1)


@pytest.mark.parametrize("how", [trickle, hang])
def test_the_time_limit_is_for_all_of_a_request(how):
    with server(how) as there:
        begun = time.monotonic()
        answers = send(Target(there.url, timeout=0.3), times=2)
        assert time.monotonic() - begun < 2
    assert answers == [Answer("no answer in time", answered=False), Answer("200 OK", taken=True)]


def test_the_time_limit_is_for_all_redirects_together():
    def later(connection: socket.socket) -> None:
        time.sleep(0.2)
        connection.sendall(redirect(307, "/again"))

    with server(*[later] * 10) as there:
        assert send(Target(there.url, timeout=0.5)) == [Answer("no answer in time", answered=False)]
    assert len(there.requests) <= 4


def test_an_answer_without_an_end_is_an_answer():
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        hang(connection)

    long = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
    with server(endless, long) as there:
        answers = send(Target(there.url, timeout=0.3), times=3)
    assert [answer.taken for answer in answers] == [True, True, True]
    assert there.connections == 3


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n"]
)
def test_nonsense(answer):
    def say(connection: socket.socket) -> None:
        connection.sendall(answer)

    with server(say) as there:
        [told] = send(Target(there.url))
    assert not told.answered


def test_nobody_there():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{reserved.getsockname()[1]}"
        assert send(Target(f"http://user:secret@{host}/")) == [Answer("Connection refused", answered=False)]
    [answer] = send(Target("http://no-such-host.invalid/"))
    assert answer == Answer("its host cannot be resolved", answered=False)


def test_a_login_in_the_url():
    with server() as there:
        send(Target(f"http://joe:p%40ss@{there.host}/hook"))
    [request] = there.requests
    assert request.headers["Authorization"] == "Basic am9lOnBAc3M="
    assert request.headers["Host"] == there.host


def test_tls(monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate().file, certificate().key)
    with server(tls=context) as there:
        url = there.url.replace("http:", "https:")
        [answer] = send(Target(url))
        assert not answer.answered
        assert answer.line.startswith("certificate: ")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate().file))
        assert [answer.taken for answer in send(Target(url), times=2)] == [True, True]


def test_a_proxy(monkeypatch):
    with server() as proxy:
        monkeypatch.setenv("http_proxy", f"http://u:p@{proxy.host}")
        monkeypatch.setenv("no_proxy", "")
        [answer] = send(Target("http://receiver.example:81/hook", {"X": ["y"]}))
        assert answer.taken
        [request] = proxy.requests
        assert request.line == "POST http://receiver.example:81/hook HTTP/1.1"
        assert request.headers.get_all("Host") == ["receiver.example:81"]
        assert request.headers["Proxy-Authorization"] == "Basic dTpw"
        monkeypatch.setenv("no_proxy", "receiver.example")
        [answer] = send(Target("http://receiver.example:81/hook"))
        assert not answer.answered


def test_a_tunnel(monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate().file, certificate().key)

    def tunnel(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        there.serve(context.wrap_socket(connection, server_side=True))

    there = Server()
    with server(tunnel) as proxy:
        monkeypatch.setenv("https_proxy", f"http://{proxy.host}")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate().file))
        [answer] = send(Target("https://localhost:444/hook", {"X": ["y"]}))
    assert answer.taken
    assert proxy.requests[0].line == "CONNECT localhost:444 HTTP/1.0"
    assert "X" not in proxy.requests[0].headers
    assert there.requests[0].headers["X"] == "y"


def test_who_is_stopped_waits_for_nobody():
    async def run() -> float:
        sending = Webhook(Target(there.url, timeout=60), "agent/1")
        task = asyncio.create_task(sending.send([EVENT]))
        while not there.requests:
            await asyncio.sleep(0.01)
        begun = time.monotonic()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await sending.close()
        return time.monotonic() - begun

    with server(hang) as there:
        assert asyncio.run(run()) < 2
    assert len(there.requests) == 1
