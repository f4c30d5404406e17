"""A registry that answers by a script, byte for byte: for answers that no registry in its right mind gives."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Script = Callable[[str, str], bytes | None]
"""From method and path to the whole answer; None, or what is shorter than it says, breaks the connection off."""


@dataclass
class Scripted:
    """`asked` are methods with paths, and `shown` the Authorization of each."""

    script: Script
    host: str = ""
    asked: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    headers_read: asyncio.Event = field(default_factory=asyncio.Event)
    rest: bytes = b""
    """Sent behind the answer, once `headers_read` is set."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            self.asked.append(f"{method} {path}")
            self.shown.append(fields.get("Authorization", ""))
            answer = self.script(method, path)
            if answer is not None:
                writer.write(answer)
                await writer.drain()
            if self.rest:
                await self.headers_read.wait()
                writer.write(self.rest)
                await writer.drain()


def answer(status: int, body: Any = b"", **headers: str) -> bytes:
    """Names of headers with underscores for dashes. What is no bytes goes as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Connection: close"]
    fields = {"Content_Length": str(len(data)), **headers}
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


@contextlib.asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[Scripted]:
    made = Scripted(script)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with server:
        made.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made
