"""One registry, seen from outside (OCI distribution specification)."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import aiohttp

from lading.client.credentials import Credentials
from lading.client.download import Download
from lading.client.errors import ClientError, InvalidAnswerError, NotFoundError
from lading.client.transport import Observe, Timing, Transport
from lading.oci import media
from lading.oci.digest import CANONICAL, Digest, InvalidDigestError
from lading.oci.names import is_tag

MAX_MANIFEST_BYTES = 4 * 1024 * 1024

ACCEPTED = ", ".join([media.OCI_INDEX, media.OCI_MANIFEST, media.DOCKER_LIST, media.DOCKER_MANIFEST])

_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """The bytes as they came, and what they are. The digest has been computed."""

    digest: Digest
    media_type: str
    data: bytes


class RegistryClient:
    """`url` is the origin of a registry. Without credentials it signs in as nobody, where that is possible.

    To be used in one event loop, and closed there. Every method raises `ClientError`.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        user_agent: str = "lading",
        timing: Timing | None = None,
        observe: Observe | None = None,
    ) -> None:
        """Raises `ValueError` for a URL that cannot be one of a registry."""
        self._transport = Transport(url, credentials, user_agent=user_agent, timing=timing, observe=observe)
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

    async def manifest(self, name: str, reference: str) -> FetchedManifest:
        """Verified where `reference` is a digest (end-3)."""
        answer = await self._get("GET", name, f"manifests/{reference}", {"Accept": ACCEPTED})
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        data = await self._transport.read(answer, MAX_MANIFEST_BYTES)
        if media_type not in media.IMAGES and media_type not in media.INDEXES:
            raise InvalidAnswerError(f"{self.host}: the manifest {name}:{reference} is of type {media_type!r}")
        wanted = None if is_tag(reference) else Digest.parse(reference)
        digest = Digest.of(data, CANONICAL if wanted is None else wanted.algorithm)
        if wanted is not None and digest != wanted:
            raise InvalidAnswerError(f"{self.host}: the manifest's content does not match its digest {wanted}")
        return FetchedManifest(digest, media_type, data)

    async def blob_size(self, name: str, digest: Digest) -> int:
        """In bytes (end-2, HEAD)."""
        answer = await self._get("HEAD", name, f"blobs/{digest}", {})
        answer.release()
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise InvalidAnswerError(f"{self.host}: a page for people, where blob {digest} was asked for")
        if answer.headers.get("Content-Length") is None:
            async with await self._part(name, digest, 0, "bytes=0-0") as part:
                return part.size
        return int(answer.headers["Content-Length"])

    async def blob(self, name: str, digest: Digest, offset: int = 0, *, verify: bool = True) -> Download:
        """From `offset` on, which must be less than the size; the caller closes it (end-2).

        Continued by itself where the connection breaks. Verified from 0, unless the caller wants to do that.
        """
        found = await self._part(name, digest, offset, f"bytes={offset}-" if offset else "")
        if verify and not offset:
            found.verify(digest)
        return found

    async def tags(self, name: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Without a limit all of them, however many pages that takes (end-8)."""
        asked = {"n": str(limit)} if limit is not None else {}
        asked |= {"last": after} if after else {}
        found: list[str] = []
        async for page in self._pages(name, f"tags/list?{urlencode(asked)}" if asked else "tags/list"):
            found += [tag for tag in page.get("tags") or [] if isinstance(tag, str) and is_tag(tag)]
            if limit is not None:
                break
        # Not everybody knows `last` and `n`: a client that goes from page to page is to come to an end.
        return (found[found.index(after) + 1 :] if after in found else found)[:limit]

    async def referrers(self, name: str, subject: Digest) -> list[Digest]:
        """Manifests whose subject it is; from the tag that lists them, where there is no API for it (end-12)."""
        try:
            pages = [page async for page in self._pages(name, f"referrers/{subject}")]
        except NotFoundError:
            try:
                pages = [json.loads((await self.manifest(name, subject.replace(":", "-")[:128])).data)]
            except NotFoundError:
                return []
            except (ValueError, RecursionError):
                raise InvalidAnswerError(f"{self.host}: the list of referrers is not JSON") from None
        try:
            return [Digest.parse(entry["digest"]) for page in pages for entry in page.get("manifests") or []]
        except (InvalidDigestError, KeyError, TypeError, AttributeError) as error:
            raise InvalidAnswerError(f"{self.host}: the list of referrers is not one") from error

    async def _part(self, name: str, digest: Digest, offset: int, span: str) -> Download:
        async def open_at(start: int) -> aiohttp.ClientResponse:
            wanted = span if start == offset else f"bytes={start}-"
            headers = {"Range": wanted} if wanted else {}
            return await self._get("GET", name, f"blobs/{digest}", headers, (200, 206) if wanted else (200,))

        answer = await open_at(offset)
        try:
            return Download(self.host, answer, offset, self._transport.timing.attempts, open_at)
        except ClientError:
            answer.close()
            raise

    async def _pages(self, name: str, path: str) -> AsyncIterator[dict[str, Any]]:
        following: str | None = f"/v2/{quote(name)}/{path}"
        for _ in range(10_000):
            if not following:
                return
            answer = await self._transport.request("GET", following, {}, scope=_scope(name))
            link = _NEXT.search(answer.headers.get("Link", ""))
            # Wherever the link says: credentials are for one host, which is asked again.
            following = None if link is None else re.sub(r"^[a-z]+://[^/]*", "", link[1])
            try:
                page = json.loads(await self._transport.read(answer))
            except (ValueError, RecursionError):
                page = None
            if not isinstance(page, dict):
                raise InvalidAnswerError(f"{self.host}: a list of {name} is not JSON")
            yield page

    async def _get(
        self, method: str, name: str, path: str, headers: dict[str, str], accepted: tuple[int, ...] = (200,)
    ) -> aiohttp.ClientResponse:
        path = f"/v2/{quote(name)}/{quote(path, safe='/:')}"
        return await self._transport.request(method, path, headers, scope=_scope(name), accepted=accepted)


def _scope(name: str) -> str:
    return f"repository:{name}:pull"
