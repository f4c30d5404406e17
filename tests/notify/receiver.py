"""A receiver of notifications: a real HTTP server that keeps what it has taken."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Post:
    headers: Message
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        [event] = json.loads(self.body)["events"]
        return dict(event)


@dataclass
class Receiver:
    """`decide` says with which status to answer; 0 closes the connection without an answer."""

    decide: Callable[[Post], int] = lambda _: 200
    posts: list[Post] = field(default_factory=list)
    """Those that were taken."""
    attempts: int = 0
    url: str = ""
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def together(self) -> list[dict[str, Any]]:
        """The events of all posts that were taken."""
        return [event for post in list(self.posts) for event in json.loads(post.body)["events"]]

    def wait(self, enough: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(enough, WAIT_SECONDS), f"only {len(self.posts)} posts came"

    def events(self, number: int) -> list[dict[str, Any]]:
        self.wait(lambda: len(self.posts) >= number)
        return [post.event for post in self.posts]

    def take(self, post: Post) -> int:
        with self.changed:
            self.attempts += 1
        status = self.decide(post)
        with self.changed:
            if 200 <= status < 300:
                self.posts.append(post)
            self.changed.notify_all()
        return status


@contextmanager
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = kept.take(Post(self.headers, body))
            if status:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.url = f"http://127.0.0.1:{server.server_port}/events"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settings(url: str, **more: Any) -> dict[str, Any]:
    """A configuration that sends there; `more` belongs to the endpoint."""
    return {"notifications": {"endpoints": [{"name": "receiver", "url": url, "backoff": "50ms", **more}]}}
