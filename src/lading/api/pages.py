"""The `n` parameter of listings (specification: "Pagination")."""

from __future__ import annotations

from lading.api.request import Request, parse_integer
from lading.oci import errors


def requested_size(request: Request) -> int | None:
    """None if the client leaves the size to us. Raises PAGINATION_NUMBER_INVALID."""
    text = request.parameter("n")
    if not text:
        return None
    size = parse_integer(text)
    if size is None or size < 0:
        raise errors.PAGINATION_NUMBER_INVALID(detail={"n": text if size is None else size})
    return size
