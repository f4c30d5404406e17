"""Listings that show a caller no more than they may pull."""

from __future__ import annotations

from lading.registry.access import Identity
from lading.registry.repositories import Repositories

_AT_LEAST = 100
"""Names read at a time, so that a caller who may see few of many costs few calls."""


async def page(
    repositories: Repositories, identity: Identity, *, after: str, limit: int
) -> tuple[list[str], bool]:
    """As `Repositories.page`, of the repositories that `identity` may know of."""
    if identity.grants.everything:
        return await repositories.page(after=after, limit=limit)
    names: list[str] = []
    more = True
    while more:
        read, more = await repositories.page(after=after, limit=max(limit, _AT_LEAST))
        for name in filter(identity.grants.shows, read):
            if len(names) == limit:
                return names, True
            names.append(name)
        if read:
            after = read[-1]
    return names, False
