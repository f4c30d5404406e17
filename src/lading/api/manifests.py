"""`/v2/<name>/manifests/<reference>` (end-3, end-7, end-9)."""

from __future__ import annotations

from lading.api import conditional, events
from lading.api.request import Request
from lading.api.response import Response
from lading.api.routes import Route
from lading.api.service import Service
from lading.oci import errors, media
from lading.oci import manifest as oci_manifest
from lading.oci.digest import Digest, InvalidDigestError
from lading.oci.names import RepositoryName, Tag, parse_reference
from lading.registry.manifests import StoredManifest

_DOWNGRADED = ("linux", "amd64")


async def get(service: Service, request: Request, route: Route) -> Response:
    """GET and HEAD alike."""
    name, reference = RepositoryName.parse(route.name), parse_reference(route.item)
    manifests = service.registry.manifests
    digest = await manifests.resolve(name, reference)
    # HEAD may be the question of a push.
    found = await manifests.get(name, digest, lately=request.method == "GET")
    stored = await _negotiate(service, request, name, reference, found)
    if conditional.precondition_failed(request, stored.digest):
        return Response(412, [conditional.etag(stored.digest)])
    pulls = service.registry.pulls
    if pulls is not None and request.method == "GET":
        pulls.note(name, found.digest)
    if conditional.not_modified(request, stored.digest):
        return Response(304, [conditional.etag(stored.digest)], None)
    headers = [
        (b"content-type", stored.media_type.encode("ascii")),
        (b"docker-content-digest", stored.digest.encode("ascii")),
        conditional.etag(stored.digest),
    ]
    for told in [found] if stored is found else [found, stored]:
        tags = [reference] if told is found and isinstance(reference, Tag) else []
        await events.of_manifest(service, request, "pull", name, told.digest, told.media_type, told.data, tags)
    return Response(200, headers, stored.data)


async def put(service: Service, request: Request, route: Route) -> Response:
    name, reference = RepositoryName.parse(route.name), parse_reference(route.item)
    tags = [Tag.parse(tag) for tag in dict.fromkeys(request.parameters("tag"))]
    if len(tags) > service.limits.tags_per_push:
        raise errors.TOO_MANY_TAGS(detail={"limit": service.limits.tags_per_push})
    limit = service.limits.manifest_bytes
    data = await request.read_body(limit)
    if data is None:
        raise errors.MANIFEST_TOO_LARGE(detail=f"a manifest may have {limit} bytes")
    content_type = request.header(b"content-type") or ""
    classes = request.identity.grants.classes(name)
    pushed = await service.registry.manifests.put(name, reference, data, content_type, tags, classes)
    headers = [
        (b"location", service.urls.manifest(request, name, pushed.digest)),
        (b"docker-content-digest", pushed.digest.encode("ascii")),
    ]
    if pushed.subject is not None:
        headers.append((b"oci-subject", pushed.subject.encode("ascii")))
    await events.of_manifest(
        service, request, "push", name, pushed.digest, oci_manifest.media_type_of(data), data, pushed.tags
    )
    headers += [(b"oci-tag", tag.encode("ascii")) for tag in tags]
    return Response(201, headers)


async def delete(service: Service, request: Request, route: Route) -> Response:
    if not service.deletes:
        raise errors.UNSUPPORTED()
    name, reference = RepositoryName.parse(route.name), parse_reference(route.item)
    tags: list[Tag] = []
    if isinstance(reference, Digest):
        tags = await service.registry.manifests.delete(name, reference)
    else:
        await service.registry.manifests.delete_tag(name, reference)
    await events.of_deletion(service, request, name, reference, tags)
    return Response(202)


async def _negotiate(
    service: Service, request: Request, name: RepositoryName, reference: Tag | Digest, stored: StoredManifest
) -> StoredManifest:
    """What clients that state the types they know are served (`Accept`; quality values do not count)."""
    if _accepts(request, stored.media_type):
        return stored
    if stored.media_type == media.OCI_MANIFEST:
        raise errors.MANIFEST_UNKNOWN(
            message="OCI manifest found, but accept header does not support OCI manifests"
        )
    if stored.media_type != media.DOCKER_LIST or isinstance(reference, Digest):
        return stored
    return await _platform_image(service, request, name, stored)


async def _platform_image(
    service: Service, request: Request, name: RepositoryName, stored: StoredManifest
) -> StoredManifest:
    """One image of a Docker list, for clients from before lists."""
    for child in oci_manifest.read(stored.data).children:
        platform = child.platform
        if platform is None or (platform.os, platform.architecture) != _DOWNGRADED:
            continue
        try:
            image = await service.registry.manifests.get(name, Digest.parse(child.digest))
        except InvalidDigestError:
            break
        if image.media_type == media.DOCKER_MANIFEST and not _accepts(request, image.media_type):
            raise errors.MANIFEST_INVALID(message="Schema 2 manifest not supported by client")
        return image
    raise errors.MANIFEST_UNKNOWN(detail=f"no manifest for {'/'.join(_DOWNGRADED)} in the list")


def _accepts(request: Request, media_type: str) -> bool:
    lines = request.header_lines(b"accept")
    if not lines:
        return True
    for line in lines:
        for item in line.split(","):
            if item.partition(";")[0].strip() in {media_type, "*/*", "application/*"}:
                return True
    return False
