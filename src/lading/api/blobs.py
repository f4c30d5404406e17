"""`/v2/<name>/blobs/<digest>` (end-2, end-10)."""

from __future__ import annotations

import secrets

from lading.api import conditional, events, response
from lading.api.request import Request
from lading.api.response import Content, Header, Parts, Response
from lading.api.routes import Route
from lading.api.service import Service
from lading.oci import errors, media
from lading.oci.digest import Digest
from lading.oci.names import RepositoryName, parse_digest
from lading.oci.ranges import RangeSyntaxError, Span, UnsatisfiableRangeError, parse_range

_IMMUTABLE = (b"cache-control", b"max-age=31536000")
_OCTETS = (b"content-type", media.OCTET_STREAM.encode())
_RANGES = (b"accept-ranges", b"bytes")


async def get(service: Service, request: Request, route: Route) -> Response:
    """GET and HEAD alike, but HEAD opens nothing. The data is opened before anything is answered."""
    name, digest = RepositoryName.parse(route.name), parse_digest(route.item)
    blobs = service.registry.blobs
    if service.redirects and blobs.redirects:
        client = (request.scope.get("client") or [""])[0]
        if location := await blobs.redirect(name, digest, request.method, client):
            await events.of_blob(service, request, "pull", name, digest)
            return Response(307, [(b"location", location.encode("latin-1")), _OCTETS])
    if request.method == "HEAD":
        size = await blobs.size(name, digest)
        await events.of_blob(service, request, "pull", name, digest, size=size)
        return _answer(request, digest, size)
    reader = await blobs.open(name, digest)
    await events.of_blob(service, request, "pull", name, digest, size=reader.size)
    answer = _answer(request, digest, reader.size)
    if isinstance(answer.body, Parts):
        answer.body = Content(reader, answer.body)
    else:
        await reader.close()
    return answer


async def delete(service: Service, request: Request, route: Route) -> Response:
    if not service.deletes:
        raise errors.UNSUPPORTED()
    name, digest = RepositoryName.parse(route.name), parse_digest(route.item)
    await service.registry.blobs.delete(name, digest)
    await events.of_deletion(service, request, name, digest, [])
    return Response(202)


def _answer(request: Request, digest: Digest, size: int) -> Response:
    tagged = [(b"docker-content-digest", digest.encode("ascii")), conditional.etag(digest), _IMMUTABLE]
    if conditional.precondition_failed(request, digest):
        return Response(412, tagged)
    if conditional.not_modified(request, digest):
        return Response(304, tagged, None)
    spans: list[Span] = []
    header = request.header(b"range")
    if header is not None and conditional.range_applies(request, digest):
        try:
            spans = parse_range(header, size)
        except RangeSyntaxError as error:
            return response.plain(416, str(error), [tagged[0]])
        except UnsatisfiableRangeError as error:
            return response.plain(416, str(error), [tagged[0], _content_range(f"*/{size}")])
    headers = [*tagged, _RANGES]
    if not spans:
        return Response(200, [_OCTETS, *headers], Parts([Span(0, size)], whole=True))
    if len(spans) == 1:
        one = _content_range(_range_text(spans[0], size))
        return Response(206, [_OCTETS, *headers, one], Parts([spans[0]], whole=False))
    boundary = secrets.token_hex(30)
    kind = (b"content-type", f"multipart/byteranges; boundary={boundary}".encode("ascii"))
    return Response(206, [kind, *headers], Parts(_parts(spans, size, boundary), whole=False))


def _parts(spans: list[Span], size: int, boundary: str) -> list[bytes | Span]:
    parts: list[bytes | Span] = []
    for number, span in enumerate(spans):
        start = "" if number == 0 else "\r\n"
        range_line = f"Content-Range: {_range_text(span, size)}"
        head = f"{start}--{boundary}\r\n{range_line}\r\nContent-Type: {media.OCTET_STREAM}\r\n\r\n"
        parts += [head.encode("ascii"), span]
    return [*parts, f"\r\n--{boundary}--\r\n".encode("ascii")]


def _range_text(span: Span, size: int) -> str:
    return f"bytes {span.start}-{span.end - 1}/{size}"


def _content_range(text: str) -> Header:
    return b"content-range", (text if text.startswith("bytes") else f"bytes {text}").encode("ascii")
