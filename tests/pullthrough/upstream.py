"""A server between a cache and its upstream: it counts, and on demand it does what upstreams do on bad days."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 64 * 1024


@dataclass
class Fault:
    """What happens instead of, or to, an answer. `after` bytes of the body it breaks off, or waits for `gate`.

    With a gate alone it waits before it answers.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: int | None = None
    gate: threading.Event | None = None
    flip: bool = False
    length: int = 0
    """Added to Content-Length."""


Choose = Callable[[str, str], Fault | None]
"""By method and path."""


class Between:
    """`requests` are method, path and Authorization; `sent` counts bytes of bodies by path."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.host = ""
        self.elsewhere: dict[str, str] = {}
        """Beginnings of paths, and the servers that answer them."""
        self.requests: list[tuple[str, str, str]] = []
        self.sent: dict[str, int] = {}
        self.choose: Choose = lambda method, path: None
        self.stopping = threading.Event()

    def fault(self, part: str, fault: Fault, times: int = 1000) -> None:
        """For the next requests with `part` in their path."""
        left = [times]

        def choose(method: str, path: str) -> Fault | None:
            if part not in path or not left[0]:
                return None
            left[0] -= 1
            return fault

        self.choose = choose

    def well(self) -> None:
        self.choose = lambda method, path: None

    def asked(self, part: str, method: str = "GET") -> int:
        return sum(part in path and method == found for found, path, _ in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    between: Between

    def do_GET(self) -> None:
        between = self.between
        between.requests.append((self.command, self.path, self.headers["Authorization"] or ""))
        fault = between.choose(self.command, self.path) or Fault()
        if fault.gate is not None and fault.after is None:
            while not fault.gate.wait(0.05) and not between.stopping.is_set():
                pass
        if fault.status:
            self._head(fault.status, fault.headers, len(fault.body))
            self.wfile.write(b"" if self.command == "HEAD" else fault.body)
            return
        targets = [host for start, host in between.elsewhere.items() if self.path.startswith(start)]
        connection = http.client.HTTPConnection((targets or [between.target])[0], timeout=30)
        self.close_connection = True  # unless all goes well
        with contextlib.closing(connection), contextlib.suppress(ConnectionError):
            names = ("Authorization", "Accept", "Range", "If-None-Match", "Host")
            sent = {name: ", ".join(self.headers.get_all(name, [])) for name in names if self.headers[name]}
            connection.request(self.command, self.path, headers=sent)
            answer = connection.getresponse()
            dropped = {"content-length", "connection", "transfer-encoding", "date"}
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in dropped}
            size = int(answer.headers["Content-Length"] or 0)
            self._head(answer.status, headers, size + fault.length)
            if self.command == "HEAD":
                self.close_connection = False
            else:
                self._body(answer, fault)

    do_HEAD = do_GET  # noqa: N815  the name that is looked for

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _body(self, answer: http.client.HTTPResponse, fault: Fault) -> None:
        sent = 0
        while data := answer.read(PIECE if fault.after is None else min(PIECE, max(1, fault.after - sent))):
            if fault.flip:
                data = bytes([data[0] ^ 1]) + data[1:]
            self.wfile.write(data)
            sent += len(data)
            self.between.sent[self.path] = self.between.sent.get(self.path, 0) + len(data)
            if fault.after is not None and sent >= fault.after:
                if fault.gate is None:
                    return
                while not fault.gate.wait(0.05) and not self.between.stopping.is_set():
                    pass
                fault.after = None
        self.close_connection = bool(fault.length)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def between(target: str) -> Iterator[Between]:
    made = Between(target)
    handler = type("Handler", (_Handler,), {"between": made})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    made.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()
