"""The registry's API without a server: requests go straight to the application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.servers.client import Answer, Client

from lading import build
from lading.api.app import Application
from lading.config.load import parse

CONFIGURATION = """
version: "0.1"
storage:
  filesystem: {{rootdirectory: "{root}"}}
  delete: {{enabled: true}}
http: {{secret: a secret, addr: ":5000"}}
"""


def application(root: Path) -> Application:
    """As the composition root makes it, over the directory `root`; nothing is remembered from an earlier one."""
    configuration = parse(CONFIGURATION.format(root=root), "test", {}).configuration
    return Application(build.service(configuration, build.storage(configuration), b"a secret"))


class InProcess(Client):
    def __init__(self, served: Application, runner: asyncio.Runner) -> None:
        super().__init__("registry.test")
        self._served = served
        self._runner = runner

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Answer:
        pieces = [body] if isinstance(body, bytes) else list(body or [])
        return self._runner.run(self._request(method, target, dict(headers or {}), pieces))

    async def _request(self, method: str, target: str, headers: dict[str, str], pieces: list[bytes]) -> Answer:
        headers = {"Host": self.host, "Content-Length": str(sum(map(len, pieces))), **headers}
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 5000),
            "extensions": {},
        }
        arriving = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        arriving.append({"type": "http.request", "body": b"", "more_body": False})
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if arriving:
                return arriving.pop(0)
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        async def send(message: Any) -> None:
            sent.append(message)

        await self._served(scope, receive, send)
        received = Message()
        for name, value in sent[0]["headers"]:
            received.add_header(name.decode(), value.decode("latin-1"))
        data = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(f"{method} {target}", sent[0]["status"], received, data)


@contextlib.contextmanager
def in_process(root: Path) -> Iterator[InProcess]:
    with asyncio.Runner() as runner:
        yield InProcess(application(root), runner)
