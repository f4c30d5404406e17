"""A client that speaks ASGI to an application in this process, and holds every answer to the rules of HTTP."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.wire.described import check_described

from lading.oci import media

Message = MutableMapping[str, Any]
App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
Headers = Mapping[str, str] | Iterable[tuple[str, str]]
Body = bytes | Iterable[bytes] | AsyncIterable[bytes]
"""Bytes are sent with their length, anything else in chunks without."""

HOST = "registry.test"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    """As sent, names in lower case."""
    body: bytes
    sent_files: int = 0
    """Parts the server was asked to send from files; `body` has their content."""

    def header(self, name: str) -> str | None:
        values = self.header_lines(name)
        assert len(values) <= 1, f"{name} is repeated: {values}"
        return values[0] if values else None

    def header_lines(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    @property
    def location(self) -> str:
        location = self.header("location")
        assert location is not None, f"no Location: {self}"
        return location

    def json(self) -> Any:
        return json.loads(self.body)

    def codes(self) -> list[str]:
        return [error["code"] for error in self.json()["errors"]]

    def expect(self, status: int) -> Answer:
        assert self.status == status, str(self)
        return self


@dataclass
class Client:
    """`target` is a path with its query, or a URL of ours, as in Location headers."""

    app: App
    extensions: Mapping[str, object] | None = None
    scheme: str = "http"

    async def send(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: Body = b"",
        *,
        vanish: bool = False,
        length: bool = True,
    ) -> Answer:
        """With `vanish` the client is gone when the body, of which more was announced, is at its end.

        Without `length` the request says nothing of its body, as curl does where it has none.
        """
        scope = self.scope(method, target, headers, body, length=length)
        exchange = _Exchange(body, vanish)
        await self.app(scope, exchange.receive, exchange.send)
        answer = exchange.answer(method)
        document = (
            answer.json()
            if answer.header("content-type") in {media.JSON, media.OCI_INDEX} and answer.body
            else None
        )
        check_described(method, scope["path"], answer.status, answer.headers, document, {"x-configured"})
        return answer

    async def get(self, target: str, headers: Headers = ()) -> Answer:
        return await self.send("GET", target, headers)

    async def post(self, target: str, headers: Headers = (), body: Body = b"") -> Answer:
        return await self.send("POST", target, headers, body)

    async def patch_chunk(self, target: str, headers: Headers = (), body: Body = b"") -> Answer:
        return await self.send("PATCH", target, headers, body)

    async def put(self, target: str, headers: Headers = (), body: Body = b"") -> Answer:
        return await self.send("PUT", target, headers, body)

    async def delete(self, target: str, headers: Headers = ()) -> Answer:
        return await self.send("DELETE", target, headers)

    def scope(
        self, method: str, target: str, headers: Headers = (), body: Body = b"", *, length: bool = True
    ) -> dict[str, Any]:
        path, _, query = _local(target).partition("?")
        lines = list(headers.items() if isinstance(headers, Mapping) else headers)
        named = {name.lower() for name, _ in lines}
        if "host" not in named:
            lines.insert(0, ("Host", HOST))
        if isinstance(body, bytes):
            if length and "content-length" not in named and (body or method in {"POST", "PUT", "PATCH"}):
                lines.append(("Content-Length", str(len(body))))
        else:
            lines.append(("Transfer-Encoding", "chunked"))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": self.scheme,
            "path": unquote(path),
            "raw_path": path.encode("latin-1", "replace"),
            "query_string": query.encode("latin-1", "replace"),
            "root_path": "",
            "headers": [
                (name.lower().encode("latin-1"), value.strip(" \t").encode("latin-1")) for name, value in lines
            ],
            "client": ("192.0.2.7", 40000),
            "server": ("192.0.2.1", 5000),
            "extensions": dict(self.extensions or {}),
            "state": {},
        }


class _Exchange:
    """One request's messages in both directions, in the order the specification of ASGI prescribes."""

    def __init__(self, body: Body, vanish: bool) -> None:
        self._parts = _parts(body)
        self._vanish = vanish
        self._read = False
        self._done = asyncio.Event()
        self._start: Message | None = None
        self._pieces: list[bytes] = []
        self._sent_files = 0

    async def receive(self) -> Message:
        if not self._read:
            async for part in self._parts:
                return {"type": "http.request", "body": part, "more_body": True}
            self._read = True
            if not self._vanish:
                return {"type": "http.request", "body": b"", "more_body": False}
        if not self._vanish:
            await self._done.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        assert not self._done.is_set(), f"sent after the end: {message}"
        kind = message["type"]
        if kind == "http.response.start":
            assert self._start is None, "answered twice"
            self._start = message
            return
        assert self._start is not None, f"{kind} before the start"
        if kind == "http.response.pathsend":
            self._sent_files += 1
            self._pieces.append(Path(message["path"]).read_bytes())
            self._done.set()
            return
        if kind == "http.response.zerocopysend":
            self._sent_files += 1
            self._pieces.append(os.pread(message["file"].fileno(), message["count"], message["offset"]))
        else:
            assert kind == "http.response.body", kind
            self._pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            self._done.set()

    def answer(self, method: str) -> Answer:
        assert self._start is not None, "no answer"
        assert self._done.is_set(), "the answer has no end"
        status = self._start["status"]
        for name, value in self._start["headers"]:
            assert isinstance(name, bytes)
            assert isinstance(value, bytes)
            assert name == name.lower(), f"{name!r} is not in lower case"
            assert not set(value) & set(b"\r\n\0"), f"{name!r} breaks the head apart: {value!r}"
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in self._start["headers"]]
        answer = Answer(status, headers, b"".join(self._pieces), self._sent_files)
        _check_length(answer, method)
        return answer


def _check_length(answer: Answer, method: str) -> None:
    length = answer.header("content-length")
    if answer.status in {204, 304}:
        assert length is None, f"Content-Length on {answer.status}"
        assert answer.body == b""
    elif method == "HEAD":
        assert length is not None, "HEAD without Content-Length"
        assert answer.body == b"", "HEAD with a body"
    else:
        assert length == str(len(answer.body)), f"Content-Length {length} for {len(answer.body)} bytes"


async def _parts(body: Body) -> AsyncIterable[bytes]:
    if isinstance(body, bytes):
        if body:
            yield body
    elif isinstance(body, AsyncIterable):
        async for part in body:
            yield part
    else:
        for part in body:
            yield part


def _local(target: str) -> str:
    """The path and query of a Location, absolute or relative."""
    if "://" in target.partition("?")[0]:
        return "/" + target.split("://", 1)[1].partition("/")[2]
    return target
