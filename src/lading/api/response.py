"""Answers, and how they are sent: as bytes, as a file the server sends itself, or in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import orjson

from lading.api.request import Request, Send
from lading.oci import media
from lading.oci.errors import RegistryError
from lading.oci.ranges import Span
from lading.registry.ports import Reader, StorageError

Header = tuple[bytes, bytes]

API_VERSION: Header = (b"docker-distribution-api-version", b"registry/2.0")

PIECE_BYTES = 1024 * 1024
"""What is read and handed to the server at a time: larger costs memory, smaller costs calls."""

INLINE_BYTES = 128 * 1024
"""Content up to this size is read and sent in one go: cheaper than opening the file a second time."""

WHOLE = "lading.response.whole"
"""Where a server has this extension of ASGI, an answer whose body is known is one message: that of the start, of
this type, with a `body`."""

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(slots=True)
class Parts:
    """What is to be sent of an object, with text between where it is in pieces. HEAD sends the length alone."""

    parts: list[bytes | Span]
    whole: bool

    def __len__(self) -> int:
        return sum(part.length if isinstance(part, Span) else len(part) for part in self.parts)


@dataclass(slots=True)
class Content:
    """Parts of one object that is open. Closed once sent."""

    reader: Reader
    chosen: Parts

    def __len__(self) -> int:
        return len(self.chosen)


@dataclass(slots=True)
class Response:
    """`body` None sends no Content-Length, as 204 and 304 must not. `refusal` is what it was rendered from."""

    status: int
    headers: list[Header] = field(default_factory=list)
    body: bytes | Parts | Content | None = b""
    refusal: RegistryError | None = None


def json(status: int, document: object, headers: list[Header] | None = None) -> Response:
    """A JSON document with a final newline, escaped as the original's encoder does."""
    text = orjson.dumps(document).decode()
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    content_type = (b"content-type", media.JSON.encode())
    return Response(status, [content_type, *(headers or [])], f"{text}\n".encode())


def plain(status: int, text: str, headers: list[Header] | None = None) -> Response:
    kind = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    return Response(status, kind + (headers or []), f"{text}\n".encode())


def error(refusal: RegistryError) -> Response:
    """The one rendering of errors (specification: "Error Codes")."""
    entries = []
    for entry in refusal.entries:
        document = {"code": entry.code.code, "message": entry.message or entry.code.message}
        if entry.detail is not None:
            document["detail"] = entry.detail
        entries.append(document)
    answer = json(refusal.status, {"errors": entries})
    answer.refusal = refusal
    if refusal.retry_after:
        answer.headers.append((b"retry-after", b"%d" % max(1, round(refusal.retry_after))))
    return answer


async def load(response: Response) -> Response:
    """Read small content now, so that a failure still becomes an honest answer. Raises `StorageError`."""
    content = response.body
    if not isinstance(content, Content) or len(content) > INLINE_BYTES:
        return response
    try:
        response.body = await _gather(content)
    finally:
        await content.reader.close()
    return response


async def send_response(request: Request, response: Response, send: Send) -> int:
    """Returns the number of body bytes sent. Raises `StorageError` if the content breaks off."""
    body = response.body
    headers = response.headers
    if body is not None:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    start = {"type": "http.response.start", "status": response.status, "headers": headers}
    if isinstance(body, Content):
        try:
            await send(start)
            return await _send_content(request, body, send)
        finally:
            await body.reader.close()
    sent = body if isinstance(body, bytes) and request.method != "HEAD" else b""
    if WHOLE in (request.scope.get("extensions") or ()):
        start["type"] = WHOLE
        start["body"] = sent
        await send(start)
    else:
        await send(start)
        await send({"type": "http.response.body", "body": sent})
    return len(sent)


async def _gather(content: Content) -> bytes:
    pieces: list[bytes] = []
    for part in content.chosen.parts:
        if isinstance(part, bytes):
            pieces.append(part)
            continue
        content.reader.seek(part.start)
        left = part.length
        while left:
            pieces.append(await _read(content.reader, left))
            left -= len(pieces[-1])
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _send_content(request: Request, content: Content, send: Send) -> int:
    extensions = request.scope.get("extensions") or {}
    local = content.reader.path is not None
    if local and "http.response.zerocopysend" in extensions:
        return await _send_file(content, send)
    if local and content.chosen.whole and "http.response.pathsend" in extensions:
        await send({"type": "http.response.pathsend", "path": content.reader.path})
        return len(content)
    # The server swallows what is sent to a client that has gone: without this the rest would be read in vain.
    gone = asyncio.ensure_future(request.disconnected())
    sent = 0
    try:
        for part in content.chosen.parts:
            if isinstance(part, bytes):
                await send({"type": "http.response.body", "body": part, "more_body": True})
                sent += len(part)
                continue
            async for piece in _pieces(content.reader, part):
                if gone.done():
                    return sent
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                sent += len(piece)
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()
    return sent


async def _send_file(content: Content, send: Send) -> int:
    parts = content.chosen.parts
    for number, part in enumerate(parts, 1):
        more = number < len(parts)
        if isinstance(part, Span):
            await send(
                {
                    "type": "http.response.zerocopysend",
                    "file": content.reader,
                    "offset": part.start,
                    "count": part.length,
                    "more_body": more,
                }
            )
        else:
            await send({"type": "http.response.body", "body": part, "more_body": more})
    return len(content)


async def _pieces(reader: Reader, span: Span) -> AsyncIterator[bytes]:
    reader.seek(span.start)
    left = span.length
    while left:
        piece = await _read(reader, min(left, PIECE_BYTES))
        left -= len(piece)
        yield piece


async def _read(reader: Reader, limit: int) -> bytes:
    piece = await reader.read(limit)
    if not piece:
        raise StorageError("storage", "the content is shorter than it was")
    return piece
