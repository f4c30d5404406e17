"""The client for programs that do not wait by themselves: the same names, each call until it is done.

Its event loop runs in a thread of its own, so that it can be used from any thread, and beside another loop. It
belongs to one process: whoever forks makes another. Callbacks (`observe`, `progress`, `report`, sources) run in
that loop, and must not call the client.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from lading.client.copying import PARALLEL, Copied, Place, Report, copy
from lading.client.credentials import Credentials
from lading.client.download import Download, Progress
from lading.client.registries import Registries
from lading.client.registry import RegistryClient
from lading.client.repository import Repository
from lading.client.transport import Options
from lading.client.upload import CHUNK_BYTES, Outcome, Source
from lading.oci.building import Content
from lading.oci.digest import Digest
from lading.oci.manifest import Descriptor, Platform
from lading.oci.reference import ImageReference

T = TypeVar("T")

STOP_SECONDS = 10.0


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._begun = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="lading-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Raises `RuntimeError` where nobody would ever answer."""
        try:
            future = self._submitted(work)
        except RuntimeError:
            work.close()
            raise
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise RuntimeError("the client is closed") from None
        except BaseException:  # such as Ctrl-C: what nobody waits for any more ends
            future.cancel()
            raise

    def each(self, items: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> list[T]:
            async for item in items:
                return [item]
            return []

        while found := self.run(following()):
            yield found[0]

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Whoever waits hears of it; `last` is what the loop does at its end. Once or more often."""
        if self._process != os.getpid():
            return  # the loop, and all that is open in it, is the other process's
        if threading.current_thread() is self._thread:
            raise RuntimeError("the client is closed from its own event loop")
        with self._begun:
            if self._closed:
                return
            self._closed = True
            ended = asyncio.run_coroutine_threadsafe(self._end(last), self._loop)
        try:
            with contextlib.suppress(TimeoutError):
                ended.result(STOP_SECONDS)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(STOP_SECONDS)
            if not self._loop.is_running():
                self._loop.close()

    async def _end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await last()
        await self._loop.shutdown_asyncgens()

    def _submitted(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        if self._process != os.getpid():
            raise RuntimeError("the client belongs to another process: make one after the fork")
        if threading.current_thread() is self._thread:
            raise RuntimeError("the client is called from its own event loop")
        with self._begun:
            if self._closed:
                raise RuntimeError("the client is closed")
            return asyncio.run_coroutine_threadsafe(work, self._loop)


class SyncDownload:
    """See `lading.client.download.Download`."""

    def __init__(self, loop: _Loop, download: Download) -> None:
        self._loop = loop
        self._download = download
        self.size = download.size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        return self._loop.each(aiter(self._download))

    @property
    def offset(self) -> int:
        return self._download.offset

    def read(self) -> bytes:
        """All that is left, verified as the iterator does. For what fits into memory."""
        return b"".join(self)

    def close(self) -> None:
        async def closed() -> None:
            self._download.close()

        self._loop.run(closed())


class _Face:
    """What waits for an event loop of its own; `last` is what this does at its end."""

    def __init__(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._loop = _Loop()
        self._last = last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Once or more often; what is called afterwards, or waits meanwhile, raises `RuntimeError`."""
        self._loop.close(self._last)


class SyncRegistries(_Face):
    """See `lading.client.registries.Registries`: several at once, for copies between them."""

    def __init__(
        self,
        *,
        credentials: Callable[[str], Credentials | None] | None = None,
        files: Sequence[str] | None = None,
        plain_http: bool = False,
        **options: Unpack[Options],
    ) -> None:
        self._registries = Registries(credentials=credentials, files=files, plain_http=plain_http, **options)
        super().__init__(self._registries.close)

    def repository(self, reference: ImageReference | str) -> Repository:
        """A place for `copy` here, and for nothing else. Raises `InvalidReferenceError`, a `ValueError`."""
        return self._registries.repository(reference)

    def copy(
        self,
        source: Place,
        target: Place,
        reference: str,
        tag: str = "",
        *,
        platform: Platform | None = None,
        referrers: bool = False,
        parallel: int = PARALLEL,
        report: Report | None = None,
    ) -> Copied:
        """See `lading.client.copying.copy`. Places are a `Layout`, or come from `repository`."""
        return self._loop.run(
            copy(
                source,
                target,
                reference,
                tag,
                platform=platform,
                referrers=referrers,
                parallel=parallel,
                report=report,
            )
        )


class SyncRegistryClient(_Face):
    """See `lading.client.registry.RegistryClient`; `source` of `put_blob` runs in the client's own event loop."""

    def __init__(self, url: str, credentials: Credentials | None = None, **options: Unpack[Options]) -> None:
        """Raises `ValueError` for a URL that cannot be one of a registry."""
        self._client = RegistryClient(url, credentials, **options)
        super().__init__(self._client.close)
        self.host = self._client.host

    def ping(self) -> None:
        self._loop.run(self._client.ping())

    def digest(self, name: str, reference: str) -> Digest | None:
        return self._loop.run(self._client.digest(name, reference))

    def manifest(self, name: str, reference: str) -> Content:
        return self._loop.run(self._client.manifest(name, reference))

    def has_manifest(self, name: str, reference: str) -> bool:
        return self._loop.run(self._client.has_manifest(name, reference))

    def put_manifest(self, name: str, content: Content, reference: str = "") -> Digest:
        return self._loop.run(self._client.put_manifest(name, content, reference))

    def delete_manifest(self, name: str, reference: str) -> None:
        self._loop.run(self._client.delete_manifest(name, reference))

    def blob_size(self, name: str, digest: Digest) -> int:
        return self._loop.run(self._client.blob_size(name, digest))

    def has_blob(self, name: str, digest: Digest) -> bool:
        return self._loop.run(self._client.has_blob(name, digest))

    def blob(
        self,
        name: str,
        digest: Digest,
        offset: int = 0,
        *,
        verify: bool = True,
        progress: Progress | None = None,
    ) -> SyncDownload:
        found = self._loop.run(self._client.blob(name, digest, offset, verify=verify, progress=progress))
        return SyncDownload(self._loop, found)

    def put_blob(
        self,
        name: str,
        digest: Digest,
        size: int,
        source: Source | bytes,
        *,
        mount: str | None = None,
        chunk_bytes: int = CHUNK_BYTES,
        progress: Progress | None = None,
    ) -> Outcome:
        return self._loop.run(
            self._client.put_blob(
                name, digest, size, source, mount=mount, chunk_bytes=chunk_bytes, progress=progress
            )
        )

    def delete_blob(self, name: str, digest: Digest) -> None:
        self._loop.run(self._client.delete_blob(name, digest))

    def tags(self, name: str, *, after: str = "", limit: int | None = None) -> list[str]:
        return self._loop.run(self._client.tags(name, after=after, limit=limit))

    def iterate_tags(self, name: str, *, after: str = "", page: int | None = None) -> Iterator[str]:
        return self._loop.each(self._client.iterate_tags(name, after=after, page=page))

    def iterate_repositories(self, *, after: str = "", page: int | None = None) -> Iterator[str]:
        return self._loop.each(self._client.iterate_repositories(after=after, page=page))

    def referrers(self, name: str, subject: Digest, *, artifact_type: str = "") -> list[Descriptor]:
        return self._loop.run(self._client.referrers(name, subject, artifact_type=artifact_type))
