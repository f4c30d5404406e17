"""An upstream that is a registry on the network."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Protocol

from lading.client import errors
from lading.client.credentials import Credentials
from lading.client.download import Download
from lading.client.registry import RegistryClient
from lading.client.transport import Timing
from lading.oci.digest import Digest
from lading.registry.upstream import (
    AbsentError,
    BusyUpstreamError,
    DeniedError,
    DownError,
    Fetched,
    UpstreamError,
    WrongError,
)

TIMING = Timing(attempts=2, idle=30.0)
"""Clients wait, and try again themselves; and there may be something in the cache."""

_RATE = re.compile(r"(\d+)")

_LIMITS = ("RateLimit-Limit", "RateLimit-Remaining")


class Gauges(Protocol):
    def answered(self, host: str, status: int) -> None:
        """The upstream has answered so; 0 is no answer."""
        ...

    def limited(self, host: str, which: str, value: int) -> None:
        """`which` is limit or remaining: how much may be pulled, by the upstream's own count."""
        ...


class RemoteUpstream:
    """See `lading.registry.upstream.Upstream`."""

    def __init__(self, url: str, credentials: Credentials | None, user_agent: str, gauges: Gauges | None) -> None:
        """Raises `ValueError` for a URL that is none of a registry."""
        self._gauges = gauges
        observe = None if gauges is None else self._observe
        self._client = RegistryClient(url, credentials, user_agent=user_agent, timing=TIMING, observe=observe)
        self.host = self._client.host

    async def resolve(self, name: str, tag: str) -> Digest | None:
        with _translated():
            return await self._client.digest(name, tag)

    async def manifest(self, name: str, reference: str) -> Fetched:
        with _translated():
            found = await self._client.manifest(name, reference)
        return Fetched(found.digest, found.media_type, found.data)

    async def size(self, name: str, digest: Digest) -> int:
        with _translated():
            return await self._client.blob_size(name, digest)

    async def blob(self, name: str, digest: Digest, offset: int = 0) -> RemoteDownload:
        with _translated():
            return RemoteDownload(await self._client.blob(name, digest, offset, verify=False))

    async def tags(self, name: str, after: str, limit: int | None) -> list[str]:
        with _translated():
            return await self._client.tags(name, after=after, limit=limit)

    async def referrers(self, name: str, subject: Digest) -> list[Digest]:
        with _translated():
            return [Digest(found.digest) for found in await self._client.referrers(name, subject)]

    def _observe(self, status: int, headers: Mapping[str, str]) -> None:
        assert self._gauges is not None
        self._gauges.answered(self.host, status)
        for header in _LIMITS:
            if (found := _RATE.match(headers.get(header, "").strip())) is not None:
                self._gauges.limited(self.host, header.partition("-")[2].lower(), int(found[1]))


class RemoteDownload:
    """See `lading.registry.upstream.Download`."""

    def __init__(self, download: Download) -> None:
        self._download = download
        self.size = download.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for piece in self._download:
                yield piece

    async def close(self) -> None:
        self._download.close()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except errors.ClientError as error:
        raise _upstream_error(error) from error


def _upstream_error(error: errors.ClientError) -> UpstreamError:
    what = str(error)
    match error:
        case errors.NotFoundError():
            return AbsentError(what)
        case errors.RefusedError():
            return DeniedError(what, signed_in=error.status == 403)
        case errors.AnswerError() if error.status == 429 or error.retry_after:
            return BusyUpstreamError(what, error.retry_after)
        case errors.InvalidAnswerError():
            return WrongError(what)
        case errors.AnswerError() if error.status < 500:
            return WrongError(what)
    return DownError(what)
