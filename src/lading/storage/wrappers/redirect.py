"""Clients are sent to another server, which has the same content under the same paths."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from lading.registry.ports import Storage, check_key
from lading.storage.wrappers.passing import PassingStorage

_PLAIN = "/$&+,:;=@~"
"""What the original leaves as it is in a path, beside letters, digits and `-_.`."""


class RedirectStorage(PassingStorage):
    """`base` is an absolute URL. Of it scheme, host, port and path are used."""

    def __init__(self, inner: Storage, base: str) -> None:
        super().__init__(inner)
        self.traits = replace(inner.traits, redirects=True)
        url = urlsplit(base)
        self._origin = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
        self._path = unquote(url.path)

    async def redirect(self, key: str, method: str, client: str = "") -> str | None:  # noqa: ARG002
        path = posixpath.normpath(f"/{self._path}/{check_key(self.name, key)}").lstrip("/")
        return f"{self._origin}/{quote(path, safe=_PLAIN)}"


class RewriteStorage(PassingStorage):
    """The redirects of another storage, with another scheme or host, or without the beginning of their path."""

    def __init__(self, inner: Storage, scheme: str = "", host: str = "", prefix: str = "") -> None:
        super().__init__(inner)
        self._scheme = scheme
        self._host = host
        self._prefix = prefix

    async def redirect(self, key: str, method: str, client: str = "") -> str | None:
        location = await self.inner.redirect(key, method, client)
        if not location:
            return location  # there is nothing to rewrite: the registry serves the content itself
        url = urlsplit(location)
        path = url.path
        if self._prefix and unquote(path).startswith(self._prefix):
            path = "/" + quote(unquote(path).removeprefix(self._prefix).removeprefix("/"), safe=_PLAIN)
        return urlunsplit((self._scheme or url.scheme, self._host or url.netloc, path, url.query, url.fragment))
