"""The registry: all its services over one storage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lading.oci.patterns import Repositories as Matching
from lading.oci.patterns import none
from lading.registry.blobs import Blobs
from lading.registry.cache import Cache
from lading.registry.fills import Fills
from lading.registry.immutability import Immutability
from lading.registry.links import Known
from lading.registry.manifests import Manifests
from lading.registry.ports import Descriptors, Storage
from lading.registry.pulls import Pulls
from lading.registry.pullthrough import (
    PulledBlobs,
    PulledManifests,
    PulledReferrers,
    PulledRemoval,
    PulledTags,
    PulledUploads,
    PullThrough,
)
from lading.registry.referrers import Referrers
from lading.registry.removal import Removal
from lading.registry.repositories import Repositories
from lading.registry.sources import Sources
from lading.registry.tags import Tags
from lading.registry.trust import Trust
from lading.registry.uploads import Uploads
from lading.registry.upstream import Counter, Spool, count_nothing
from lading.registry.validation import Rules


@dataclass(frozen=True, slots=True)
class Registry:
    blobs: Blobs
    uploads: Uploads
    manifests: Manifests
    tags: Tags
    referrers: Referrers
    repositories: Repositories
    removal: Removal
    sources: Sources | None = None
    """What it pulls through from, if it does."""
    pulls: Pulls | None = None
    """Where pulls of manifests are noted, if somebody asks when they were."""

    @property
    def caches(self) -> tuple[Cache[Any], ...]:
        """What this process remembers of the storage."""
        return self.blobs.known, self.manifests.known, self.manifests.cache

    @classmethod
    def over(
        cls,
        storage: Storage,
        *,
        rules: Rules | None = None,
        tag_concurrency: int = 8,
        descriptors: Descriptors | None = None,
        immutability: Immutability | None = None,
        dated: Matching = none,
        trust: Trust | None = None,
    ) -> Registry:
        blobs = Blobs(storage, Known(trust), descriptors)
        tags = Tags(storage, tag_concurrency)
        referrers = Referrers(storage)
        manifests = Manifests(
            storage,
            blobs,
            tags,
            referrers,
            rules or Rules(),
            Known(trust),
            immutability=immutability or Immutability(),
            dated=dated,
        )
        return cls(
            blobs=blobs,
            uploads=Uploads(storage, blobs),
            manifests=manifests,
            tags=tags,
            referrers=referrers,
            repositories=Repositories(storage),
            removal=Removal(storage, blobs, tags, manifests),
        )

    @classmethod
    def pulling(
        cls,
        storage: Storage,
        sources: Sources,
        *,
        rules: Rules | None = None,
        tag_concurrency: int = 8,
        count: Counter = count_nothing,
        spool: Callable[[], Spool] | None = None,
        descriptors: Descriptors | None = None,
        immutability: Immutability | None = None,
        dated: Matching = none,
        trust: Trust | None = None,
    ) -> Registry:
        """As `over`, with the repositories of upstreams.

        Blobs on their way lie in a `spool`, too, where the storage does not show what is still being written.
        """
        fills = Fills(storage, Blobs(storage), count, None if storage.traits.grows else spool)
        pulling = PullThrough(storage, sources, fills, count, Pulls(storage))
        blobs = PulledBlobs(storage, Known(trust), descriptors, pulling=pulling)
        tags = PulledTags(storage, tag_concurrency, pulling=pulling)
        manifests = PulledManifests(
            storage,
            blobs,
            tags,
            Referrers(storage),
            rules or Rules(),
            Known(trust),
            immutability=immutability or Immutability(),
            dated=dated,
            pulling=pulling,
        )
        return cls(
            blobs=blobs,
            uploads=PulledUploads(storage, blobs, pulling=pulling),
            manifests=manifests,
            tags=tags,
            referrers=PulledReferrers(storage, pulling=pulling, manifests=manifests),
            repositories=Repositories(storage),
            removal=PulledRemoval(storage, blobs, tags, manifests, pulling=pulling),
            sources=sources,
        )
