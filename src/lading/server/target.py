"""What a request is for, and who asks: the same in every version of HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit


class MalformedRequestError(ValueError):
    """The request cannot be trusted to end where it seems to end, or to be meant for whom it seems to be."""


def address(name: Any) -> tuple[str, int] | None:
    if not isinstance(name, tuple) or len(name) < 2:
        return None
    return str(name[0]).removeprefix("::ffff:"), int(name[1])  # IPv4 on a dual-stack socket, as it is known


def target(url: bytes) -> tuple[bytes, str, bytes]:
    """The raw path, the decoded path and the query of a request target, in origin or absolute form."""
    if not url.startswith(b"/"):
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise MalformedRequestError("not a request target (section 3.2)") from error
        url = (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")
    raw_path, _, query = url.partition(b"#")[0].partition(b"?")
    path = raw_path.decode("latin-1")
    return raw_path, unquote(path) if "%" in path else path, query
