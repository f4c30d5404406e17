"""A registry client that hides nothing: raw paths, every header, no retries, one connection per request."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import quote, urlsplit

from tests.servers import content
from tests.servers.content import Content, Package

REQUEST_SECONDS = 30.0
ACCEPT = ", ".join([content.OCI_IMAGE, content.OCI_INDEX, content.DOCKER_IMAGE, content.DOCKER_LIST])

_NEXT = re.compile(r'<([^>]+)>; rel="next"')


@dataclass(frozen=True)
class Answer:
    """What a registry said, and to which request."""

    request: str
    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str:
        value = self.headers[name]
        assert value is not None, f"no {name} header in {self}"
        return str(value)

    @property
    def location(self) -> str:
        """The target to send the next request to, without the host."""
        parts = urlsplit(self.header("Location"))
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def expect(self, status: int) -> Answer:
        assert self.status == status, f"expected {status}: {self}"
        return self

    def __str__(self) -> str:
        return f"{self.request} → {self.status}\n{self.headers}{self.body[:2000]!r}"


class Client:
    """The registry API, one method for each thing a test does with it."""

    def __init__(self, host: str, tls: ssl.SSLContext | None = None, **headers: str) -> None:
        """`headers` go with every request."""
        self.host = host
        self._tls = tls
        self._headers = headers

    def connect(self, seconds: float = REQUEST_SECONDS) -> http.client.HTTPConnection:
        """To a registry that may take `seconds` for each of its answers."""
        if self._tls is not None:
            return http.client.HTTPSConnection(self.host, timeout=seconds, context=self._tls)
        return http.client.HTTPConnection(self.host, timeout=seconds)

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Answer:
        """`target` goes out as it is. A body of several pieces is sent with chunked transfer encoding."""
        connection = self.connect()
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                connection.request(method, target, body=body, headers=self._headers | dict(headers or {}))
            if connection.sock is None:
                raise ConnectionResetError("the server was gone before it could be asked")
            # A refusal may come before all of the body was taken, and then it is there to be read.
            response = connection.getresponse()
            return Answer(f"{method} {target}", response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, target: str, **headers: str) -> Answer:
        return self.request("GET", target, {"Accept": ACCEPT, **headers})

    # blobs ------------------------------------------------------------------------------------------------

    def start_upload(self, repository: str, query: str = "") -> Answer:
        return self.request("POST", f"/v2/{repository}/blobs/uploads/{query}").expect(202)

    def patch(self, location: str, data: bytes) -> Answer:
        return self.request("PATCH", location, {"Content-Type": "application/octet-stream"}, data)

    def finish_upload(self, location: str, digest: str, data: bytes = b"") -> Answer:
        return self.request("PUT", with_query(location, digest=digest), body=data)

    def push_blob(self, repository: str, digest: str, data: bytes) -> None:
        """POST, PATCH, PUT: the way of most clients."""
        location = self.start_upload(repository).location
        location = self.patch(location, data).expect(202).location
        self.finish_upload(location, digest).expect(201)

    def pull_blob(self, repository: str, digest: str) -> bytes:
        """The blob's bytes; they are what the digest says."""
        data = self.get(f"/v2/{repository}/blobs/{digest}").expect(200).body
        return content.verified(data, digest)

    # manifests --------------------------------------------------------------------------------------------

    def put_manifest(self, repository: str, reference: str, manifest: Content) -> Answer:
        target = f"/v2/{repository}/manifests/{reference}"
        return self.request("PUT", target, {"Content-Type": manifest.media_type}, manifest.data)

    def push(self, repository: str, tag: str, package: Package) -> None:
        """All of it, children first, then the tag; content of another algorithm is tagged by `?tag=`."""
        for child in package.children:
            self.push(repository, child.manifest.digest, child)
        for blob in package.blobs:
            self.push_blob(repository, blob.digest, blob.data)
        by_parameter = package.manifest.algorithm != "sha256" and ":" not in tag
        reference = with_query(package.manifest.digest, tag=tag) if by_parameter else tag
        self.put_manifest(repository, reference, package.manifest).expect(201)

    def pull(self, repository: str, reference: str) -> dict[str, bytes]:
        """Everything reachable from `reference`, by digest; each piece is what its digest says."""
        answer = self.get(f"/v2/{repository}/manifests/{reference}").expect(200)
        digest = reference if ":" in reference else answer.header("Docker-Content-Digest")
        manifest = json.loads(content.verified(answer.body, digest))
        assert answer.header("Content-Type") == manifest["mediaType"], str(answer)
        pulled = {digest: answer.body}
        for blob in [manifest["config"], *manifest["layers"]] if "config" in manifest else []:
            pulled[blob["digest"]] = self.pull_blob(repository, blob["digest"])
        for child in manifest.get("manifests", []):
            pulled |= self.pull(repository, child["digest"])
        return pulled

    # lists ------------------------------------------------------------------------------------------------

    def tags(self, repository: str) -> list[str]:
        tags: list[str] = self.get(f"/v2/{repository}/tags/list").expect(200).json()["tags"]
        return tags

    def catalog(self, page_size: int = 100) -> list[str]:
        pages = self._pages(f"/v2/_catalog?n={page_size}")
        return [name for page in pages for name in page["repositories"]]

    def referrers(self, repository: str, digest: str) -> list[dict[str, Any]]:
        pages = self._pages(f"/v2/{repository}/referrers/{digest}")
        return [descriptor for page in pages for descriptor in page["manifests"]]

    def _pages(self, target: str) -> Iterator[dict[str, Any]]:
        following: str | None = target
        while following:
            answer = self.get(following).expect(200)
            yield answer.json()
            link = _NEXT.search(answer.headers.get("Link", ""))
            following = link and link[1]


def with_query(location: str, **parameters: str) -> str:
    """`location` with more query parameters, whatever it has already."""
    query = "&".join(f"{name}={quote(value, safe=':')}" for name, value in parameters.items())
    return f"{location}{'&' if '?' in location else '?'}{query}"
