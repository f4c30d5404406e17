"""What a storage holds, as far as a successor of the registry before has to know."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from lading.oci import errors
from lading.oci.manifest import media_type_of
from lading.oci.names import RepositoryName
from lading.registry import layout
from lading.registry.ports import PathNotFoundError, Storage, StorageError
from lading.registry.registry import Registry
from lading.registry.tags import Tags

SHOWN = 20
"""Of findings of one kind, so many are named; all are counted."""


@dataclass(slots=True)
class Survey:
    """Counts, and what was found: by kind, the first of each kind by name."""

    repositories: int = 0
    tags: int = 0
    uploads: int = 0
    media_types: Counter[str] = field(default_factory=Counter)
    findings: dict[str, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def note(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        named = self.findings.setdefault(kind, [])
        if len(named) < SHOWN:
            named.append(what)


UNREADABLE, BROKEN, STRANGE, SESSIONS, NAMES = "unreadable", "broken", "strange", "uploads", "names"

MEANING = {
    UNREADABLE: "cannot be read by this user: Lading must run as a user who can",
    BROKEN: "tags without a manifest: neither registry serves them; the next push mends them",
    STRANGE: "manifests that neither registry serves",
    SESSIONS: "uploads under way: they can be finished, with the same http.secret",
    NAMES: "directories whose name no repository may have: they stay, and are not served",
}


async def survey(storage: Storage) -> Survey:
    """Every repository, every tag and its manifest. Nothing is changed.

    Raises `StorageError` where nothing can be listed at all.
    """
    found, registry = Survey(), Registry.over(storage)
    async for name in registry.repositories.walk(layout.MANIFESTS):
        try:
            repository = RepositoryName.parse(name)
        except errors.RegistryError:
            found.note(NAMES, name)
            continue
        found.repositories += 1
        try:
            await _tags(storage, registry.tags, repository, found)
        except StorageError as error:
            found.note(UNREADABLE, f"{name} ({error.detail})")
    async for name in registry.repositories.walk(layout.UPLOADS):
        await _uploads(storage, name, found)
    return found


async def _tags(storage: Storage, tags: Tags, name: RepositoryName, found: Survey) -> None:
    for tag in await tags.page(name):
        found.tags += 1
        try:
            data = await storage.get(layout.blob_data(await tags.get(name, tag)))
        except (errors.RegistryError, PathNotFoundError):
            found.note(BROKEN, f"{name}:{tag}")
            continue
        except StorageError as error:
            found.note(UNREADABLE, f"{name}:{tag} ({error.detail})")
            continue
        try:
            found.media_types[media_type_of(data)] += 1
        except errors.RegistryError as error:
            found.note(STRANGE, f"{name}:{tag} ({error.entries[0].detail})")


async def _uploads(storage: Storage, name: str, found: Survey) -> None:
    try:
        sessions = await storage.list(layout.uploads(name))
    except StorageError as error:
        found.note(UNREADABLE, f"{name}/{layout.UPLOADS} ({error.detail})")
        return
    for session in sessions:
        found.uploads += 1
        found.note(SESSIONS, f"{name}: {session}")
