"""What one row of the wire table is: a request, and everything its answer must be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tests.wire.asgi import Answer, Body
from tests.wire.compositions import Composition

JSON = "application/json"
MAX_AGE = "max-age=31536000"

MESSAGES = {
    "UNKNOWN": "unknown error",
    "UNSUPPORTED": "The operation is unsupported.",
    "DENIED": "requested access to the resource is denied",
    "DIGEST_INVALID": "provided digest did not match uploaded content",
    "SIZE_INVALID": "provided length did not match content length",
    "RANGE_INVALID": "invalid content range",
    "NAME_INVALID": "invalid repository name",
    "TAG_INVALID": "manifest tag did not match URI",
    "NAME_UNKNOWN": "repository name not known to registry",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "MANIFEST_INVALID": "manifest invalid",
    "MANIFEST_BLOB_UNKNOWN": "blob unknown to registry",
    "BLOB_UNKNOWN": "blob unknown to registry",
    "BLOB_UPLOAD_UNKNOWN": "blob upload unknown to registry",
    "BLOB_UPLOAD_INVALID": "blob upload invalid",
    "PAGINATION_NUMBER_INVALID": "invalid number of results requested",
}

Value = str | re.Pattern[str] | Callable[[Composition], str]
"""`$ROOT` is what stands before `v2/` in the composition's URLs, `$PREFIX` its path prefix."""


@dataclass(frozen=True)
class Row:
    """The answer must have these headers and no others, but for those every answer has.

    Sessions in the target: `$UPLOAD` is the URL of one with nothing in it, `$PART` that of one with `1234` in it,
    `$STALE` the URL it had before; `$STATUS` is `$PART` without its query.
    """

    method: str
    target: str
    status: int
    headers: Mapping[str, Value] = field(default_factory=dict)
    body: str | bytes | re.Pattern[str] = b""
    send: Mapping[str, str] | list[tuple[str, str]] = field(default_factory=dict)
    data: Body = b""
    kind: str = "read"
    """`write` and `delete` are refused where the composition forbids them; `any` is answered the same in each."""
    routed: bool = True
    """Whether an endpoint answers: then the configured headers are there."""
    note: str = ""
    removes: bool = False
    """The refusal takes the upload session away."""
    allow: str = "GET, HEAD"
    """What a read-only registry still lets be done there."""
    absolute: bool = False
    """The target is not moved below the prefix."""

    @property
    def title(self) -> str:
        shown = " ".join(f"{name}={value}" for name, value in _pairs(self.send))
        words = " ".join(filter(None, [self.method, self.target, shown, self.note]))
        return re.sub(r"([0-9a-z]{6})[0-9a-z]{40,}", r"\1~", words)[:150]

    def for_head(self) -> Row:
        """The HEAD request that must be answered as this GET, but for the body."""
        return replace(self, method="HEAD")


def error(code: str, detail: object = None, message: str | None = None) -> str:
    return errors((code, detail, message))


def errors(*entries: tuple[str, object] | tuple[str, object, str | None]) -> str:
    """The document of an answer that refuses, as Go's encoder writes it."""
    documents = []
    for code, detail, *message in entries:
        document: dict[str, object] = {"code": code, "message": (message and message[0]) or MESSAGES[code]}
        if detail is not None:
            document["detail"] = detail
        documents.append(document)
    return as_go({"errors": documents})


def as_go(document: object) -> str:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text + "\n"


def refusal(
    method: str,
    target: str,
    status: int,
    code: str,
    detail: object = None,
    message: str | None = None,
    **more: object,
) -> Row:
    """A row whose answer is one error document."""
    row = {"method": method, "target": target, "status": status, "headers": {"Content-Type": JSON}, **more}
    return Row(body=error(code, detail, message), **row)  # type: ignore[arg-type]


PLAIN = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
METHOD_NOT_ALLOWED = "Method not allowed\n"


def forbidden(row: Row, composition: Composition) -> Row | None:
    """The row of the same request where the composition does not let it happen."""
    if row.kind in {"write", "delete"} and composition.read_only:
        refused = {**PLAIN, "Allow": row.allow}
        return Row(row.method, row.target, 405, refused, METHOD_NOT_ALLOWED, row.send, row.data)
    if row.kind == "delete" and not composition.deletes:
        return refusal(row.method, row.target, 405, "UNSUPPORTED", send=row.send)
    return None


_LISTS = {"content-length", "x-configured", "oci-tag"}


def check(row: Row, composition: Composition, answer: Answer) -> None:
    assert answer.status == row.status, f"expected {row.status}: {answer}"
    _check_headers(row, composition, answer)
    if row.method == "HEAD":
        return
    if isinstance(row.body, re.Pattern):
        assert row.body.fullmatch(answer.body.decode("latin-1")), str(answer)
    elif isinstance(row.body, bytes):
        assert answer.body == row.body
    else:
        assert answer.body.decode() == _fill(row.body, composition)


def _check_headers(row: Row, composition: Composition, answer: Answer) -> None:
    expected = {name.lower(): value for name, value in row.headers.items()}
    found = [(name, value) for name, value in answer.headers if name not in _LISTS]
    found += [(name, ", ".join(lines)) for name in ("oci-tag",) if (lines := answer.header_lines(name))]
    if answer.header("content-length") is not None and "content-length" in expected:
        assert answer.header("content-length") == expected.pop("content-length")
    if not (row.absolute and not row.routed):
        expected["docker-distribution-api-version"] = "registry/2.0"
    assert sorted(name for name, _ in found) == sorted(expected), f"headers: {answer}"
    for name, value in found:
        wanted = expected[name]
        if callable(wanted):
            wanted = wanted(composition)
        if isinstance(wanted, str):
            assert value == _fill(wanted, composition), f"{name}: {answer}"
        else:
            pattern = _fill(wanted.pattern, composition, quote=True)
            assert re.fullmatch(pattern, value), f"{name}: {value!r} is not {pattern}"
    assert answer.header_lines("x-configured") == (["one", "two"] if row.routed else []), str(answer)


def _fill(text: str, composition: Composition, *, quote: bool = False) -> str:
    root, prefix = composition.root, composition.prefix
    if quote:
        root, prefix = re.escape(root), re.escape(prefix)
    return text.replace("$ROOT", root).replace("$PREFIX", prefix)


def _pairs(headers: Mapping[str, str] | list[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(headers.items()) if isinstance(headers, Mapping) else headers
