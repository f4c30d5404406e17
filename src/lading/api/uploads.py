"""`/v2/<name>/blobs/uploads/` and `/v2/<name>/blobs/uploads/<id>` (end-4, 5, 6, 11, 13, 14)."""

from __future__ import annotations

import contextlib

from lading.api import events
from lading.api.request import Request
from lading.api.response import Header, Response
from lading.api.routes import Endpoint, Route
from lading.api.service import Service
from lading.oci import errors, media
from lading.oci.digest import CANONICAL, HEX_DIGITS, Digest, InvalidDigestError
from lading.oci.names import RepositoryName, parse_digest
from lading.oci.ranges import RangeSyntaxError, Span, parse_chunk
from lading.registry.events import Action
from lading.registry.ports import StorageError
from lading.registry.uploads import Chunk, Upload


async def post(service: Service, request: Request, route: Route) -> Response:
    """Mount a blob of another repository, or store the body as a blob, or else start a session."""
    name = RepositoryName.parse(route.name)
    if route.endpoint is Endpoint.UPLOAD:
        await _continue(service, request, route)  # the session is not used, but it must be the client's
    if mounted := await _mount(service, request, name):
        return await _created(service, request, name, mounted, "mount")
    uploads = service.registry.uploads
    digest = _single_post_digest(request)
    if digest is not None:
        upload = await uploads.start(name)
        try:
            await uploads.finish(upload, _chunk(request, None), digest)
        except (errors.RegistryError, StorageError):
            await uploads.cancel(upload)  # nobody was told of this session
            raise
        return await _created(service, request, name, digest, "push")
    algorithm = request.parameter("digest-algorithm") or CANONICAL
    if algorithm not in HEX_DIGITS:
        raise errors.DIGEST_INVALID(detail=f"unsupported digest algorithm; known are {', '.join(HEX_DIGITS)}")
    upload = await uploads.start(name)
    return Response(202, _session(service, request, upload, algorithm))


async def get(service: Service, request: Request, route: Route) -> Response:
    """The state of a session; GET and HEAD alike."""
    if route.endpoint is Endpoint.UPLOADS:
        raise errors.BLOB_UPLOAD_UNKNOWN(detail="blob upload unknown")
    # A status request need not carry a state; if it does, the session keeps its algorithm.
    told, algorithm = 0, CANONICAL
    with contextlib.suppress(errors.RegistryError):
        resumed, algorithm = _resume(service, request, route)
        told = resumed.offset
    upload = await _find(service, route, told)
    return Response(204, _session(service, request, upload, algorithm), None)


async def patch(service: Service, request: Request, route: Route) -> Response:
    upload, algorithm = _resume(service, request, route)
    content_type = request.header(b"content-type")
    if content_type and content_type != media.OCTET_STREAM:
        raise errors.BLOB_UPLOAD_MEDIA_TYPE(detail=f"bad Content-Type, want {media.OCTET_STREAM}")
    upload = await service.registry.uploads.append(upload, _chunk(request, upload.offset), algorithm)
    return Response(202, _session(service, request, upload, algorithm))


async def put(service: Service, request: Request, route: Route) -> Response:
    upload, _ = _resume(service, request, route)
    text = request.parameter("digest")
    if not text:
        raise errors.DIGEST_INVALID(detail="digest missing")
    try:
        digest = Digest.parse(text)
    except InvalidDigestError as error:
        raise errors.DIGEST_INVALID(detail="digest parsing failed") from error
    await service.registry.uploads.finish(upload, _chunk(request, upload.offset), digest)
    return await _created(service, request, upload.name, digest, "push")


async def delete(service: Service, request: Request, route: Route) -> Response:
    upload = await _continue(service, request, route)
    await service.registry.uploads.cancel(upload)
    return Response(204, [_uuid(upload)], None)


async def _mount(service: Service, request: Request, name: RepositoryName) -> Digest | None:
    """What cannot be mounted is uploaded: no reason to refuse the request."""
    mount, source = request.parameter("mount"), request.parameter("from")
    if not mount:
        return None
    try:
        digest = parse_digest(mount)
        origin = RepositoryName.parse(source) if source else None
    except errors.RegistryError:
        return None
    # Which of the other repositories holds it would be told to a caller who may not pull them all.
    if not (request.identity.grants.everything if origin is None else request.identity.may_pull(origin)):
        return None
    return digest if await service.registry.blobs.mount(name, digest, origin) else None


def _single_post_digest(request: Request) -> Digest | None:
    """The digest of a body that is all of the blob. Raises DIGEST_INVALID.

    Without a body the client wants to be told where to put one, unless the blob is the empty one.
    """
    text = request.parameter("digest")
    if not text:
        return None
    digest = parse_digest(text)
    if not request.has_body and digest != Digest.of(b"", digest.algorithm):
        return None
    return digest


async def _find(service: Service, route: Route, told: int) -> Upload:
    return await service.registry.uploads.get(RepositoryName.parse(route.name), route.item, told)


async def _continue(service: Service, request: Request, route: Route) -> Upload:
    """The session of a signed URL. Raises RANGE_INVALID if it is not where its client believes it to be."""
    offset = _resume(service, request, route)[0].offset
    upload = await _find(service, route, offset)
    if upload.offset != offset:
        raise errors.RANGE_INVALID()
    return upload


def _resume(service: Service, request: Request, route: Route) -> tuple[Upload, str]:
    """The session of a signed URL, to be written to, and the algorithm it is for."""
    if route.endpoint is Endpoint.UPLOADS:
        raise errors.BLOB_UPLOAD_UNKNOWN()
    state = service.states.verify(request.parameter("_state"))
    if (state.name, state.id) != (route.name, route.item):
        raise errors.BLOB_UPLOAD_STATE_INVALID()
    name = RepositoryName.parse(route.name)
    upload = service.registry.uploads.resume(name, route.item, state.started_at, state.offset)
    return upload, state.algorithm


def _chunk(request: Request, offset: int | None) -> Chunk:
    header = request.header(b"content-range")
    span: Span | None = None
    if header is not None and offset is not None:
        try:
            span = parse_chunk(header)
        except RangeSyntaxError as error:
            raise errors.RANGE_INVALID(detail=str(error)) from error
    return Chunk(request.body(), offset, span, request.content_length)


def _session(service: Service, request: Request, upload: Upload, algorithm: str) -> list[Header]:
    state = service.states.issue(upload, algorithm)
    return [
        (b"location", service.urls.upload(request, upload.name, upload.id, state)),
        (b"range", f"0-{max(upload.offset - 1, 0)}".encode("ascii")),
        _uuid(upload),
    ]


def _uuid(upload: Upload) -> Header:
    return b"docker-upload-uuid", upload.id.encode("ascii")


async def _created(
    service: Service, request: Request, name: RepositoryName, digest: Digest, action: Action
) -> Response:
    source = request.parameter("from") if action == "mount" else ""
    await events.of_blob(service, request, action, name, digest, source=source)
    location = service.urls.blob(request, name, digest)
    return Response(201, [(b"location", location), (b"docker-content-digest", digest.encode("ascii"))])
