"""Where keys come from: files that are read again when they change, and URLs that are fetched again."""

from __future__ import annotations

import asyncio
import http.client
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import IO, Protocol
from urllib.parse import urlsplit

from lading.auth.keys import Keys, merge, parse_jwks
from lading.auth.watched import FileError, Watched
from lading.oci.urls import shown, split_login

log = logging.getLogger(__name__)

FRESH_SECONDS = 600.0
"""Keys of a URL are fetched again when they are used after so long."""
BETWEEN_SECONDS = 10.0
"""And no sooner than this, whatever tokens name."""
FETCH_SECONDS = 5.0
MAX_BYTES = 1024 * 1024

Fetch = Callable[[str], bytes]


class Source(Protocol):
    """Some keys."""

    @property
    def keys(self) -> Keys: ...

    async def refresh(self) -> None:
        """A key was missing: look for it, if that may help."""
        ...


class FileSource:
    """Keys of a file. Raises `FileError` when it is made."""

    def __init__(self, path: str, parse: Callable[[bytes, str], Keys]) -> None:
        self._file = Watched(path, parse)

    @property
    def keys(self) -> Keys:
        return self._file.value

    async def refresh(self) -> None:
        self._file.look()


class UrlSource:
    """Keys of a JWKS URL, fetched in the background. Old ones stay in force until they are replaced."""

    def __init__(self, url: str, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises `ValueError` for what is no URL."""
        self.url = url
        self._shown = shown(url)
        self._fetch = fetch or _fetch
        self._clock = clock
        self._keys = Keys()
        self._fetched: float | None = None
        self._tried: float | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def keys(self) -> Keys:
        if self._fetched is None or self._clock() - self._fetched >= FRESH_SECONDS:
            self._start()
        return self._keys

    async def refresh(self) -> None:
        """Waits for the answer, unless there was one just now."""
        self._start()
        if self._task is not None:
            await asyncio.shield(self._task)

    def _start(self) -> None:
        if self._task is None and (self._tried is None or self._clock() - self._tried >= BETWEEN_SECONDS):
            self._tried = self._clock()
            self._task = asyncio.get_running_loop().create_task(self._load())

    async def _load(self) -> None:
        try:
            text = await asyncio.to_thread(self._fetch, self.url)
            self._keys = parse_jwks(text, self._shown)
            self._fetched = self._clock()
        except (OSError, ValueError, http.client.HTTPException, FileError) as error:
            log.warning("cannot fetch the keys of tokens from %s: %s", self._shown, error)
        finally:
            self._task = None


class Keyring:
    """The keys of all sources."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._parts: list[Keys] = []
        self._merged = Keys()

    @property
    def keys(self) -> Keys:
        """The same object as long as nothing has changed."""
        if len(self._sources) == 1:
            return self._sources[0].keys
        parts = [source.keys for source in self._sources]
        if len(parts) != len(self._parts) or any(a is not b for a, b in zip(parts, self._parts, strict=True)):
            self._parts, self._merged = parts, merge(parts)
        return self._merged

    async def refresh(self) -> None:
        await asyncio.gather(*(source.refresh() for source in self._sources))


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Keys that were asked for over TLS come over TLS."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != req.type:
            raise urllib.error.HTTPError(newurl, code, "redirected to another scheme", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SameScheme)


def _fetch(url: str) -> bytes:
    """Raises `OSError`, `ValueError`, `http.client.HTTPException`."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("not a URL of HTTP")
    bare, login = split_login(url)
    request = urllib.request.Request(bare, headers={"Accept": "application/json"})  # noqa: S310  checked above
    if login:
        request.add_unredirected_header("Authorization", login)
    with _OPENER.open(request, timeout=FETCH_SECONDS) as answer:
        text: bytes = answer.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError("the answer is too large for a set of keys")
    return text
