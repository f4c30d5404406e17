"""The `n` parameter of listings (specification: "Pagination")."""

from __future__ import annotations

from lading.api.request import MAX_INTEGER, Request, parse_integer
from lading.oci import errors


def requested_size(request: Request, *, told_as_sent: bool = False) -> int | None:
    """None if the client leaves the size to us. Raises PAGINATION_NUMBER_INVALID.

    The detail of a refusal is the parameter as it was sent, or as the original's tag list tells it: as a number.
    """
    text = request.parameter("n")
    if not text:
        return None
    size = parse_integer(text)
    if size is None or not 0 <= size <= MAX_INTEGER:
        raise errors.PAGINATION_NUMBER_INVALID(detail={"n": text if told_as_sent else _clamped(size)})
    return size


def _clamped(size: int | None) -> int:
    return 0 if size is None else max(-MAX_INTEGER - 1, min(size, MAX_INTEGER))
