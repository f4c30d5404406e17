"""The registries the wire table runs over: one secret, one content, different storages and modes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.wire.asgi import HOST, Client

from lading.api.app import Application
from lading.api.service import Limits, Service
from lading.api.state import StateTokens
from lading.api.urls import Urls, configured_root
from lading.oci.patterns import Selection
from lading.registry.immutability import Immutability
from lading.registry.ports import PathNotFoundError, Storage
from lading.registry.registry import Registry
from lading.registry.validation import Rules
from lading.storage.filesystem import FilesystemStorage
from lading.storage.memory import MemoryStorage

SECRET = b"a secret that two registries share"
CONFIGURED = ((b"x-configured", b"one"), (b"x-configured", b"two"))


@dataclass(frozen=True)
class Composition:
    storage: str
    deletes: bool = True
    read_only: bool = False
    prefix: str = ""
    relative: bool = False
    host: str = ""
    tls: bool = False
    rules: Rules | None = None
    limits: Limits = field(default_factory=Limits)
    immutable: tuple[Selection, ...] = ()

    @property
    def title(self) -> str:
        modes = [
            "" if self.deletes else "nodelete",
            "readonly" if self.read_only else "",
            "prefix" if self.prefix else "",
            "relative" if self.relative else "",
            "host" if self.host else "",
            "immutable" if self.immutable else "",
        ]
        return "-".join([self.storage, *filter(None, modes)])

    @property
    def root(self) -> str:
        """What stands before `v2/` in Location headers."""
        if self.host:
            return self.host
        return f"{self.prefix}/" if self.relative else f"http{'s' if self.tls else ''}://{HOST}{self.prefix}/"

    def open(self, storage: Storage) -> Application:
        return Application(
            Service(
                registry=Registry.over(storage, rules=self.rules, immutability=Immutability(self.immutable)),
                states=StateTokens(SECRET),
                urls=Urls(configured_root(self.host), self.relative),
                limits=self.limits,
                prefix=self.prefix,
                deletes=self.deletes,
                removes=self.deletes,
                read_only=self.read_only,
                headers=CONFIGURED,
            )
        )


MEMORY = Composition("memory")
FILESYSTEM = Composition("filesystem")
ALL = [
    MEMORY,
    FILESYSTEM,
    replace(MEMORY, deletes=False),
    replace(FILESYSTEM, deletes=False),
    replace(MEMORY, read_only=True),
    replace(FILESYSTEM, read_only=True),
    replace(MEMORY, prefix="/team/registry"),
    replace(MEMORY, relative=True),
    replace(FILESYSTEM, prefix="/team/registry", relative=True),
    replace(MEMORY, host="https://cdn.example:8443/mirror/"),
    replace(MEMORY, host="https://cdn.example/", relative=True),
]


@dataclass(frozen=True)
class World:
    """A registry with its content. `writer` is a second one on the same content, without restrictions."""

    composition: Composition
    storage: Storage
    client: Client
    writer: Client
    directory: Path | None = None
    """Where the content lies, if it lies in files."""

    async def files(self) -> dict[str, bytes]:
        """All that is stored."""
        return on_disk(self.directory) if self.directory else await dump(self.storage)


async def world(composition: Composition, files: Mapping[str, bytes], directory: Path) -> World:
    """Only the filesystem uses `directory`; what an earlier world has left there is undone."""
    storage = await _storage(composition.storage, files, directory)
    unrestricted = replace(composition, deletes=True, read_only=False, immutable=())
    client, writer = Client(composition.open(storage)), Client(unrestricted.open(storage))
    return World(composition, storage, client, writer, None if composition.storage == "memory" else directory)


async def _storage(kind: str, files: Mapping[str, bytes], directory: Path) -> Storage:
    if kind == "memory":
        memory = MemoryStorage()
        for key, data in files.items():
            await memory.put(key, data)
        return memory
    write_files(directory, files)
    return FilesystemStorage(str(directory))


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    """These and nothing else below `docker` there; what is there as it should be is not written again."""
    written = set()
    folders = {f"{directory}{key[:end]}" for key in files for end, letter in enumerate(key) if letter == "/"}
    for folder, _, names in os.walk(directory / "docker", topdown=False):
        for name in names:
            path = Path(folder, name)
            key = f"{folder}/{name}".removeprefix(str(directory))
            if key not in files:
                path.unlink()
            elif path.read_bytes() == files[key]:
                written.add(key)
        if folder not in folders:
            os.rmdir(folder)
    for key in files.keys() - written:
        path = Path(f"{directory}{key}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[key])


def on_disk(directory: Path) -> dict[str, bytes]:
    """What `dump` finds in a storage there, without a thread for each name and each size."""
    found = {}
    for folder, _, names in os.walk(directory / "docker"):
        for name in names:
            path = f"{folder}/{name}"
            found[path.removeprefix(str(directory))] = Path(path).read_bytes()
    return found


async def dump(storage: Storage, key: str = "/docker") -> dict[str, bytes]:
    """Every file below a key."""
    return {path: await storage.get(path) async for path in _walk(storage, key)}


async def _walk(storage: Storage, key: str) -> AsyncIterator[str]:
    try:
        names = await storage.list(key)
    except PathNotFoundError:
        return
    for name in names:
        child = f"{key}/{name}"
        if (await storage.stat(child)).is_directory:
            async for path in _walk(storage, child):
                yield path
        else:
            yield child
