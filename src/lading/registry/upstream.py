"""The port to registries that content is pulled through from, and what they may answer with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from lading.oci.digest import Digest


class UpstreamError(Exception):
    """The upstream did not give what was asked for. The text may be shown to clients."""


class AbsentError(UpstreamError):
    """There is no such thing, it says."""


class DeniedError(UpstreamError):
    """It does not let us. `signed_in` is false where other credentials might help."""

    def __init__(self, what: str, *, signed_in: bool) -> None:
        super().__init__(what)
        self.signed_in = signed_in


class BusyUpstreamError(UpstreamError):
    """It wants to be left alone, for `seconds` if it says."""

    def __init__(self, what: str, seconds: float = 0.0) -> None:
        super().__init__(what)
        self.seconds = seconds


class DownError(UpstreamError):
    """It cannot be reached, or fails."""


class WrongError(UpstreamError):
    """What it sends is not what was asked for, or not of a registry at all."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest as it came. The digest was computed from it."""

    digest: Digest
    media_type: str
    data: bytes


class Download(Protocol):
    """The bytes of a blob from where it was opened: all of them, or an error. Nobody has verified them."""

    @property
    def size(self) -> int:
        """Of the whole blob, in bytes."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises `UpstreamError`."""
        ...

    async def close(self) -> None: ...


class Upstream(Protocol):
    """One registry. Names are those there. Every method raises `UpstreamError` and nothing else."""

    host: str
    """What it is called in messages."""

    async def resolve(self, name: str, tag: str) -> Digest | None:
        """The digest of a tag; None if it does not say without sending the manifest."""
        ...

    async def manifest(self, name: str, reference: str) -> Fetched: ...

    async def size(self, name: str, digest: Digest) -> int:
        """Of a blob, in bytes."""
        ...

    async def blob(self, name: str, digest: Digest, offset: int = 0) -> Download: ...

    async def tags(self, name: str, after: str, limit: int | None) -> list[str]: ...

    async def referrers(self, name: str, subject: Digest) -> list[Digest]: ...


class Spool(Protocol):
    """The bytes of one blob, from its beginning, until they are stored. Raises `StorageError`."""

    def append(self, piece: bytes) -> None: ...

    def read(self, offset: int, limit: int) -> bytes: ...

    def close(self) -> None: ...


class Counter(Protocol):
    def __call__(self, event: str, kind: str, amount: int = 1) -> None:
        """`event` is Requests, Hits, Misses, BytesPulled or BytesPushed; `kind` is blob or manifest."""
        ...


def count_nothing(event: str, kind: str, amount: int = 1) -> None:
    """The counter where nobody looks."""
