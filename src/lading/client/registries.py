"""Several registries at once: a client for each host, and what references stand for in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, Unpack

from lading.client.authfile import HUB, AuthFile
from lading.client.credentials import Credentials
from lading.client.registry import RegistryClient
from lading.client.repository import Repository
from lading.client.transport import Options
from lading.oci.reference import ImageReference

HUB_HOST = "registry-1.docker.io"
"""Where `docker.io` answers."""


class Registries:
    """Clients that share their options. To be used in one event loop, and closed there.

    `credentials` makes those of a host; without it they are what `docker login` and `podman login` have stored, in
    the `files` or where these programs look. `plain_http` talks HTTP to every host.
    """

    def __init__(
        self,
        *,
        credentials: Callable[[str], Credentials | None] | None = None,
        files: Sequence[str] | None = None,
        plain_http: bool = False,
        **options: Unpack[Options],
    ) -> None:
        self._credentials = credentials or (lambda host: AuthFile(host, files))
        self._scheme = "http" if plain_http else "https"
        self._options = options
        self._clients: dict[str, RegistryClient] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    def client(self, host: str) -> RegistryClient:
        """Of a host with its port, as references have it. Raises `ValueError` for what is no host."""
        if host not in self._clients:
            self._clients[host] = RegistryClient(
                f"{self._scheme}://{HUB_HOST if host == HUB else host}",
                self._credentials(host),
                **self._options,
            )
        return self._clients[host]

    def repository(self, reference: ImageReference | str) -> Repository:
        """Of a reference; a text may be short. Raises `InvalidReferenceError`, which is a `ValueError`."""
        if isinstance(reference, str):
            reference = ImageReference.normalize(reference)
        return Repository(self.client(reference.domain), reference.path)
