"""One registry, seen from outside (OCI distribution specification)."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self, Unpack
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from lading.client.credentials import Credentials
from lading.client.download import Download, Progress
from lading.client.errors import ClientError, InvalidAnswerError, NotFoundError, RefusedError
from lading.client.referrers import Referrers, subject_of
from lading.client.sources import of_bytes
from lading.client.transport import Options, Transport
from lading.client.upload import CHUNK_BYTES, Blob, Outcome, Source, Upload, Uploader
from lading.oci import media
from lading.oci.building import Content
from lading.oci.digest import CANONICAL, Digest, InvalidDigestError
from lading.oci.manifest import Descriptor
from lading.oci.names import is_tag

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_PAGES = 10_000
"""Of one list."""

ACCEPTED = ", ".join([media.OCI_INDEX, media.OCI_MANIFEST, media.DOCKER_LIST, media.DOCKER_MANIFEST])

_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


class RegistryClient:
    """`url` is the origin of a registry. Without credentials it signs in as nobody, where that is possible.

    To be used in one event loop, and closed there. Names of repositories and references are those of the registry,
    without its host. Every method raises `ClientError`.
    """

    def __init__(self, url: str, credentials: Credentials | None = None, **options: Unpack[Options]) -> None:
        """Raises `ValueError` for a URL that cannot be one of a registry."""
        self._transport = Transport(url, credentials, **options)
        self._referrers = Referrers()
        self.host = self._transport.host

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.close()

    async def ping(self) -> None:
        """Whether it is a registry that lets us in (end-1)."""
        (await self._transport.request("GET", "/v2/", {}, scope="")).release()

    async def digest(self, name: str, reference: str) -> Digest | None:
        """Of the manifest that a tag or digest stands for; None if the registry does not say (end-3, HEAD)."""
        answer = await self._get("HEAD", name, f"manifests/{reference}", {"Accept": ACCEPTED})
        answer.release()
        try:
            return Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
        except InvalidDigestError:
            return None

    async def manifest(self, name: str, reference: str) -> Content:
        """Verified where `reference` is a digest (end-3). Raises `InvalidDigestError` if it is no tag, either."""
        wanted = None if is_tag(reference) else Digest.parse(reference)
        answer, data = await self._transport.document(
            _path(name, f"manifests/{reference}"),
            {"Accept": ACCEPTED},
            scope=_pulling(name),
            limit=MAX_MANIFEST_BYTES,
        )
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type not in media.IMAGES and media_type not in media.INDEXES:
            raise InvalidAnswerError(f"{self.host}: the manifest {name}:{reference} is of type {media_type!r}")
        digest = Digest.of(data, CANONICAL if wanted is None else wanted.algorithm)
        if wanted is not None and digest != wanted:
            raise InvalidAnswerError(f"{self.host}: the manifest's content does not match its digest {wanted}")
        return Content(digest, media_type, data)

    async def put_manifest(self, name: str, content: Content, reference: str = "") -> Digest:
        """Under a tag, or its digest where none is given; what it names must be there (end-7).

        Where the registry has no list of referrers, and the manifest a subject, the tag that lists the subject's
        referrers gets it, too.
        """
        answer = await self._transport.request(
            "PUT",
            f"/v2/{quote(name)}/manifests/{quote(reference or content.digest, safe=':')}",
            {"Content-Type": content.media_type},
            scope=_pushing(name),
            accepted=(201,),
            body=content.data,
        )
        answer.release()
        said = answer.headers.get("Docker-Content-Digest", content.digest)
        if said != content.digest and said.partition(":")[0] == content.digest.algorithm:
            raise InvalidAnswerError(f"{self.host}: has stored {said} in place of {content.digest}")
        subject = subject_of(content)
        if subject is not None and not answer.headers.get("OCI-Subject"):
            await self._referrers.add(self, name, subject, content)
        return content.digest

    async def delete_manifest(self, name: str, reference: str) -> None:
        """The manifest of a digest with all its tags; of a tag the tag alone (end-9).

        Many registries refuse the second. The tag that lists referrers, where there is no API, is kept right.
        """
        subject = content = None
        if not is_tag(reference):
            try:
                content = await self.manifest(name, reference)
                subject = subject_of(content)
            except InvalidAnswerError:
                subject = None  # what is broken, or of a type nobody reads, can be deleted all the same
        await self._delete(name, f"manifests/{reference}")
        if subject is not None and content is not None and not await self._has_referrers(name, subject):
            await self._referrers.remove(self, name, subject, content.digest)

    async def blob_size(self, name: str, digest: Digest) -> int:
        """In bytes (end-2, HEAD)."""
        answer = await self._get("HEAD", name, f"blobs/{digest}", {})
        answer.release()
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise InvalidAnswerError(f"{self.host}: a page for people, where blob {digest} was asked for")
        if answer.headers.get("Content-Length") is None:
            async with await self._part(name, digest, 0, "bytes=0-0", None) as part:
                return part.size
        return int(answer.headers["Content-Length"])

    async def blob(
        self,
        name: str,
        digest: Digest,
        offset: int = 0,
        *,
        verify: bool = True,
        progress: Progress | None = None,
    ) -> Download:
        """From `offset` on, which must be less than the size; the caller closes it (end-2).

        Continued by itself where the connection breaks. Verified from 0, unless the caller wants to do that.
        """
        found = await self._part(name, digest, offset, f"bytes={offset}-" if offset else "", progress)
        if verify and not offset:
            found.verify(digest)
        return found

    async def put_blob(
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
        """Unless it is there already. After a break it goes on where the registry has got to.

        `mount` is a repository of this registry to take it from, "" for any that the registry knows of; where that
        fails the source is read. `chunk_bytes` go with one request. (end-4 to end-6, end-11)
        """
        uploader = Uploader(self._transport, name, chunk_bytes=chunk_bytes)
        if await self.has_blob(name, digest):
            return Outcome.PRESENT
        upload = None
        if mount is not None:
            try:
                upload = await uploader.mount(digest, mount)
                if upload is None:
                    return Outcome.MOUNTED
            except RefusedError:
                upload = None  # who may push here need not be allowed to pull there
        bytes_ = of_bytes(source) if isinstance(source, bytes) else source
        await uploader.put(Blob(digest, size, bytes_), upload, progress)
        return Outcome.UPLOADED

    async def begin_upload(self, name: str) -> Upload:
        """A session for whoever wants to send the chunks by hand (end-4a)."""
        return await Uploader(self._transport, name).begin()

    async def has_blob(self, name: str, digest: Digest) -> bool:
        try:
            await self.blob_size(name, digest)
        except NotFoundError:
            return False
        return True

    async def has_manifest(self, name: str, reference: str) -> bool:
        try:
            await self.digest(name, reference)
        except NotFoundError:
            return False
        return True

    async def delete_blob(self, name: str, digest: Digest) -> None:
        """From this repository (end-10)."""
        await self._delete(name, f"blobs/{digest}")

    async def tags(self, name: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Without a limit all of them, however many pages that takes (end-8)."""
        found: list[str] = []
        asked = _asked(after, limit)
        async for page in self._pages(f"{quote(name)}/tags/list{asked}", _pulling(name)):
            found += _tags(page)
            if limit is not None:
                break
        # Not everybody knows `last` and `n`: a client that goes from page to page is to come to an end.
        return (found[found.index(after) + 1 :] if after in found else found)[:limit]

    async def iterate_tags(self, name: str, *, after: str = "", page: int | None = None) -> AsyncIterator[str]:
        """One by one, in the registry's order; `page` is how many it is asked for at once (end-8)."""
        async for found in self._pages(f"{quote(name)}/tags/list{_asked(after, page)}", _pulling(name)):
            for tag in _tags(found):
                yield tag

    async def iterate_repositories(self, *, after: str = "", page: int | None = None) -> AsyncIterator[str]:
        """The catalog, which is no part of the specification: many registries refuse it."""
        async for found in self._pages(f"_catalog{_asked(after, page)}", "registry:catalog:*"):
            for name in found.get("repositories") or []:
                if isinstance(name, str):
                    yield name

    async def referrers(self, name: str, subject: Digest, *, artifact_type: str = "") -> list[Descriptor]:
        """Manifests whose subject it is; from the tag that lists them, where there is no API for it (end-12)."""
        asked = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        try:
            pages = [
                page async for page in self._pages(f"{quote(name)}/referrers/{subject}{asked}", _pulling(name))
            ]
        except NotFoundError:
            pages = [await self._referrers.listed(self, name, subject)]
        found = self._referrers.descriptors(self.host, pages)
        return [each for each in found if artifact_type in {"", each.artifact_type}]

    async def _has_referrers(self, name: str, subject: Digest) -> bool:
        """Whether the registry has the API."""
        try:
            answer = await self._get("GET", name, f"referrers/{subject}", {})
        except NotFoundError:
            return False
        answer.release()
        return True

    async def _part(
        self, name: str, digest: Digest, offset: int, span: str, progress: Progress | None
    ) -> Download:
        async def open_at(start: int) -> aiohttp.ClientResponse:
            wanted = span if start == offset else f"bytes={start}-"
            headers = {"Range": wanted} if wanted else {}
            return await self._get("GET", name, f"blobs/{digest}", headers, (200, 206) if wanted else (200,))

        answer = await open_at(offset)
        try:
            return Download(self.host, answer, offset, self._transport.timing.attempts, open_at, progress)
        except ClientError:
            answer.close()
            raise

    async def _pages(self, path: str, scope: str) -> AsyncIterator[dict[str, Any]]:
        url = self._transport.origin.join(URL(f"/v2/{path}", encoded=True))
        seen: set[URL] = set()
        while url not in seen and len(seen) < MAX_PAGES:
            seen.add(url)
            answer, data = await self._transport.document(str(url), {}, scope=scope)
            try:
                page = json.loads(data)
            except (ValueError, RecursionError):
                page = None
            if not isinstance(page, dict):
                raise InvalidAnswerError(f"{self.host}: the list {path} is not JSON")
            yield page
            link = _NEXT.search(answer.headers.get("Link", ""))
            if link is None:
                return
            url = self._following(url, link[1])
        raise InvalidAnswerError(f"{self.host}: the list {path} goes in a circle, or has too many pages")

    def _following(self, url: URL, link: str) -> URL:
        """The next page, on the registry itself wherever the link says: many do not know their own address."""
        try:
            found = url.join(URL(link, encoded=True))
            if found.scheme not in {"http", "https"}:
                raise ValueError(found.scheme)
        except ValueError:
            raise InvalidAnswerError(f"{self.host}: the next page of a list has no URL: {link[:160]!r}") from None
        return URL.build(
            scheme=url.scheme,
            authority=url.raw_authority,
            path=found.raw_path,
            query_string=found.raw_query_string,
            encoded=True,
        )

    async def _get(
        self, method: str, name: str, path: str, headers: dict[str, str], accepted: tuple[int, ...] = (200,)
    ) -> aiohttp.ClientResponse:
        return await self._transport.request(
            method, _path(name, path), headers, scope=_pulling(name), accepted=accepted
        )

    async def _delete(self, name: str, path: str) -> None:
        scope = f"repository:{name}:delete,pull"
        accepted = (202, 200, 204)
        (await self._transport.request("DELETE", _path(name, path), {}, scope=scope, accepted=accepted)).release()


def _path(name: str, path: str) -> str:
    return f"/v2/{quote(name)}/{quote(path, safe='/:')}"


def _asked(after: str, limit: int | None) -> str:
    asked = {"n": str(limit)} if limit is not None else {}
    asked |= {"last": after} if after else {}
    return f"?{urlencode(asked)}" if asked else ""


def _tags(page: Mapping[str, Any]) -> list[str]:
    return [tag for tag in page.get("tags") or [] if isinstance(tag, str) and is_tag(tag)]


def _pulling(name: str) -> str:
    return f"repository:{name}:pull"


def _pushing(name: str) -> str:
    return f"repository:{name}:pull,push"
