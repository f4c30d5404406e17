"""`/v2/_catalog`: the repositories."""

from __future__ import annotations

from lading.api import response
from lading.api.pages import requested_size
from lading.api.request import Request
from lading.api.response import Response
from lading.api.routes import Route
from lading.api.service import Service
from lading.api.urls import next_page
from lading.oci import errors


async def get(service: Service, request: Request, _: Route) -> Response:
    limits = service.limits
    size = requested_size(request, told_as_sent=True)
    if size is None:
        size = min(limits.catalog_page, limits.catalog_max)
    elif size > limits.catalog_max:
        raise errors.PAGINATION_NUMBER_INVALID(detail={"n": size})
    elif size == 0:
        return response.json(200, {"repositories": []})
    names, more = await service.registry.repositories.page(
        after=request.parameter("last"), limit=size, grants=request.identity.grants
    )
    headers = [next_page(request, {"last": names[-1], "n": str(size)})] if more else []
    return response.json(200, {"repositories": names}, headers)
