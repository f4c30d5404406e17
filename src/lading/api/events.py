"""Which request tells what, to those who want to hear of it."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Sequence

from lading.api.request import Request
from lading.api.service import Service
from lading.oci import media
from lading.oci.digest import Digest
from lading.oci.names import Reference, RepositoryName, Tag
from lading.registry.events import Action, Event, Occasion


async def of_blob(
    service: Service,
    request: Request,
    action: Action,
    name: RepositoryName,
    digest: Digest,
    *,
    size: int | None = None,
    source: str = "",
) -> None:
    """A blob that is there was pushed, pulled or mounted; its size is looked up where it is not given."""
    if service.events is not None and service.events.wants(media.OCTET_STREAM, action):
        if size is None:
            size = await service.registry.blobs.size(name, digest)
        url = service.urls.blob(request, name, digest).decode("latin-1")
        event = Event(action, name, digest, media.OCTET_STREAM, size, url, source=source)
        await service.events.happened([event], _occasion(request))


async def of_manifest(
    service: Service,
    request: Request,
    action: Action,
    name: RepositoryName,
    digest: Digest,
    media_type: str,
    data: bytes,
    tags: Sequence[str],
) -> None:
    """A manifest was pushed or pulled: one event for each of the tags, or one without."""
    if service.events is None or not service.events.wants(media_type, action):
        return
    url = service.urls.manifest(request, name, digest).decode("latin-1")
    content = data if service.events.references else b""
    events = [
        Event(action, name, digest, media_type, len(data), url, tag, content=content) for tag in tags or [""]
    ]
    await service.events.happened(events, _occasion(request))


async def of_deletion(
    service: Service, request: Request, name: RepositoryName, reference: Reference, tags: list[Tag]
) -> None:
    """What the reference stands for has gone, and with a manifest these tags."""
    if service.events is not None:
        digest = reference if isinstance(reference, Digest) else ""
        found = [Event("delete", name, digest)] if digest else []
        gone = tags if digest else [str(reference)]
        found += [Event("delete", name, tag=tag) for tag in gone]
        await service.events.happened(found, _occasion(request))


async def of_removal(service: Service, request: Request, name: RepositoryName) -> None:
    """The whole repository has gone."""
    if service.events is not None:
        await service.events.happened([Event("delete", name)], _occasion(request))


def _occasion(request: Request) -> Occasion:
    request.id = request.id or str(uuid.uuid4())
    host, port = request.scope.get("client") or ("", None)
    address = f"[{host}]:{port}" if port and ":" in host else f"{host}:{port}" if port else host
    return Occasion(
        id=request.id,
        address=address,
        host=(request.field(b"host") or b"").decode("utf-8", "replace"),
        method=request.method,
        agent=(request.field(b"user-agent") or b"").decode("utf-8", "replace"),
        user=request.identity.user or _basic_user(request),
    )


def _basic_user(request: Request) -> str:
    """Whom the client says it is, where nobody asks."""
    scheme, _, credentials = (request.header(b"authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        decoded = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    user, colon, _ = decoded.partition(":")
    return user if colon else ""
