"""`/v2/<name>/referrers/<digest>` (end-12)."""

from __future__ import annotations

import orjson

from lading.api.pages import requested_size
from lading.api.request import Request
from lading.api.response import Response
from lading.api.routes import Route
from lading.api.service import Service
from lading.api.urls import next_page
from lading.oci import media
from lading.oci.names import RepositoryName, parse_digest


async def get(service: Service, request: Request, route: Route) -> Response:
    """An index of the referrers; an empty one, never 404, where nothing refers to the digest."""
    name = RepositoryName.parse(route.name)
    subject = parse_digest(route.item)
    artifact_type = request.parameter("artifactType")
    size = min(
        requested_size(request, told_as_sent=True) or service.limits.referrers_page, service.limits.referrers_page
    )
    descriptors, more = await service.registry.referrers.page(
        name, subject, artifact_type=artifact_type, after=request.parameter("last"), limit=size
    )
    headers = [(b"content-type", media.OCI_INDEX.encode())]
    if artifact_type:
        headers.append((b"oci-filters-applied", b"artifactType"))
    if more:
        chosen = {"artifactType": artifact_type} if artifact_type else {}
        headers.append(next_page(request, {**chosen, "last": descriptors[-1]["digest"], "n": str(size)}))
    index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": descriptors}
    return Response(200, headers, orjson.dumps(index))
