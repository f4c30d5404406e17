"""Repositories as a whole, an extension (decision 0012)."""

from __future__ import annotations

from collections.abc import Iterator

from tests.wire.table import METHOD_NOT_ALLOWED, PLAIN, Row, refusal
from tests.wire.world import APP, REPOSITORIES

PATH = "_lading/repository"


def rows() -> Iterator[Row]:
    for name in (*REPOSITORIES, "layers/only"):
        yield Row("DELETE", f"/v2/{name}/{PATH}", 202, {"Content-Length": "0"}, kind="delete", allow="")
    for name in ("no/such", "library", "layers", "a/1/2"):
        target = f"/v2/{name}/{PATH}"
        yield refusal("DELETE", target, 404, "NAME_UNKNOWN", {"name": name}, kind="delete", allow="")
    for method in ("PUT", "POST", "PATCH"):
        refused = {**PLAIN, "Allow": "DELETE"}
        yield Row(method, f"/v2/{APP}/{PATH}", 405, refused, METHOD_NOT_ALLOWED)
