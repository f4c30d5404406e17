"""Nice names of containers, asked of a stand-in for a node of the chain."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.frostfs.cluster import Cluster

from lading.registry.ports import StorageError
from lading.storage.frostfs import Address, FrostfsStorage, nns
from lading.storage.frostfs.identifiers import base58
from lading.storage.frostfs.signing import Key

HASH = "0x" + "5f" * 20


class Chain(ThreadingHTTPServer):
    """`names` are those with records; what is in none of them is not registered."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.names: dict[str, list[str]] = {}
        self.odd: Any = None
        """Where it is given, what every invocation leaves on its stack."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def answer(self, method: str, parameters: list[Any]) -> Any:
        if self.odd is not None and method == "invokefunction":
            return {"result": {"state": "HALT", "stack": self.odd}}
        if method == "getcontractstate":
            assert parameters == [1]
            return {"result": {"id": 1, "hash": HASH}}
        assert (method, parameters[:2]) == ("invokefunction", [HASH, "resolve"])
        name, kind = parameters[2]
        assert (name["type"], kind) == ("String", {"type": "Integer", "value": "16"})
        if name["value"] not in self.names:
            return {"result": {"state": "FAULT", "stack": [], "exception": "token not found"}}
        records = [
            {"type": "ByteString", "value": base64.b64encode(record.encode()).decode()}
            for record in self.names[name["value"]]
        ]
        stack = [{"type": "Array", "value": records}] if records else [{"type": "Any"}]
        return {"result": {"state": "HALT", "stack": stack}}


class _Handler(BaseHTTPRequestHandler):
    server: Chain

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self.server.answer(asked["method"], asked["params"])
        body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def chain() -> Iterator[Chain]:
    with Chain() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_a_container_by_its_name(chain: Chain, cluster: Cluster) -> None:
    chain.names["registry.container"] = ["a comment", base58(cluster.container)]
    peers = [Address(cluster.nodes[0].address, tls=False)]
    storage = FrostfsStorage(Key(cluster.private), peers, "registry", f"ws://{chain.host}/ws")
    await storage.check()
    await storage.put("/a", b"content")
    assert await cluster.storage().get("/a") == b"content"


def test_names_that_lead_nowhere(chain: Chain) -> None:
    chain.names |= {"mine.zone": [base58(b"\1" * 32)], "empty.container": [], "odd.container": ["none"]}
    endpoint = f"http://{chain.host}"
    assert nns.resolve(endpoint, "mine.zone", 5) == b"\1" * 32
    for name in ("empty", "odd", "unregistered", "mine"):
        with pytest.raises(StorageError, match=f"^frostfs: container {name} is unknown to "):
            nns.resolve(endpoint, name, 5)
    for wrong in ("", "http://", "nonsense", "file:///etc/passwd", f"http://{chain.host}0"):
        with pytest.raises(StorageError, match=r"^frostfs: "):
            nns.resolve(wrong, "registry", 5)


@pytest.mark.parametrize(
    "stack",
    [
        "x",
        5,
        [],
        [1],
        [{"type": "Array"}],
        [{"type": "Array", "value": 5}],
        [{"type": "Array", "value": [1, None, {}, {"value": 5}, {"value": "x"}, {"value": "/////w=="}]}],
    ],
)
def test_answers_of_another_form(chain: Chain, stack: Any) -> None:
    chain.odd = stack
    with pytest.raises(StorageError, match=r"^frostfs: container registry is unknown to "):
        nns.resolve(f"http://{chain.host}", "registry", 5)
