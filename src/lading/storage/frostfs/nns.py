"""Names of containers, resolved by the name service of the chain."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from lading.registry.ports import StorageError
from lading.storage.frostfs.identifiers import container_id
from lading.storage.frostfs.messages import DRIVER

_TXT = "16"
_NAME_SERVICE = 1
"""The number of its contract."""


def resolve(endpoint: str, name: str, timeout: float) -> bytes:
    """The id of the container; a name without a dot is one of the zone `container`. Raises `StorageError`."""
    url = _http(endpoint)
    full = name if "." in name else f"{name}.container"
    contract = _ask(url, "getcontractstate", [_NAME_SERVICE], timeout)
    arguments = [{"type": "String", "value": full}, {"type": "Integer", "value": _TXT}]
    answer = _ask(url, "invokefunction", [contract.get("hash", ""), "resolve", arguments], timeout)
    for record in _records(answer):
        found = container_id(record)
        if found is not None:
            return found
    raise StorageError(DRIVER, f"container {name} is unknown to {endpoint}")


def _records(answer: dict[str, Any]) -> Iterator[str]:
    """The texts in the array that the contract has left on its stack."""
    match answer:
        case {"state": "HALT", "stack": [{"type": "Array", "value": [*items]}, *_]}:
            for item in items:
                match item:
                    case {"value": str(encoded)}:
                        with contextlib.suppress(ValueError):
                            yield base64.b64decode(encoded).decode()


def _http(endpoint: str) -> str:
    """Nodes answer on their web socket's port too."""
    parts = urllib.parse.urlsplit(endpoint)
    if parts.scheme in ("ws", "wss"):
        path = parts.path.removesuffix("/ws")
        parts = parts._replace(scheme=parts.scheme.replace("ws", "http"), path=path)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StorageError(DRIVER, f'rpc_endpoint: "{endpoint}" is no http(s) or ws(s) URL; a nice name needs one')
    return parts.geturl()


def _ask(url: str, method: str, parameters: list[Any], timeout: float) -> dict[str, Any]:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  of the operator
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            answer = json.load(response)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StorageError(DRIVER, f"rpc_endpoint {url}: {error}") from error
    result = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(result, dict):
        raise StorageError(DRIVER, f"rpc_endpoint {url}: no result of {method}")
    return result
