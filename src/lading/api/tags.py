"""`/v2/<name>/tags/list` (end-8)."""

from __future__ import annotations

from lading.api import response
from lading.api.pages import requested_size
from lading.api.request import Request
from lading.api.response import Response
from lading.api.routes import Route
from lading.api.service import Service
from lading.api.urls import next_page
from lading.oci.names import RepositoryName


async def get(service: Service, request: Request, route: Route) -> Response:
    name = RepositoryName.parse(route.name)
    size = requested_size(request)
    if size == 0:
        return response.json(200, {"name": name, "tags": []})
    if size is not None:
        size = min(size, service.limits.tags_max)
    tags = await service.registry.tags.page(name, after=request.parameter("last"), limit=size)
    headers = (
        [next_page(request, {"last": tags[-1], "n": str(size)})] if size is not None and len(tags) == size else []
    )
    return response.json(200, {"name": name, "tags": tags}, headers)
