"""`/v2/<name>/_lading/repository`: a repository as a whole, an extension (decision 0012)."""

from __future__ import annotations

from lading.api import events
from lading.api.request import Request
from lading.api.response import Response
from lading.api.routes import Route
from lading.api.service import Service
from lading.oci import errors
from lading.oci.names import RepositoryName
from lading.registry import audit


async def delete(service: Service, request: Request, route: Route) -> Response:
    if not service.removes:
        raise errors.UNSUPPORTED()
    name = RepositoryName.parse(route.name)
    removed = await service.registry.removal.remove(name)
    audit.record(
        "repository deleted",
        repository=name,
        tags=removed.tags,
        manifests=removed.manifests,
        user=request.identity.user,
        client=(request.scope.get("client") or ("",))[0],
    )
    await events.of_removal(service, request, name)
    return Response(202)
