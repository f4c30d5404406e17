"""The absolute URLs this registry calls itself by, from the configuration or from what proxies tell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from lading.api.request import Request
from lading.oci.digest import Digest
from lading.oci.names import RepositoryName

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR = re.compile(rf'[ \t]*({_WORD})=(?:({_WORD})|"((?:[^"\\]|\\.)*)")[ \t]*([;,]|\Z)', re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.\-_\[\]:%]+", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Urls:
    """`root` comes from `configured_root`; `relative` is `http.relativeurls`, which a root overrides."""

    root: str = ""
    relative: bool = False

    def blob(self, request: Request, name: RepositoryName, digest: Digest) -> bytes:
        return f"{self._root(request)}v2/{name}/blobs/{digest}".encode("latin-1")

    def manifest(self, request: Request, name: RepositoryName, digest: Digest) -> bytes:
        return f"{self._root(request)}v2/{name}/manifests/{digest}".encode("latin-1")

    def upload(self, request: Request, name: RepositoryName, upload_id: str, state: str) -> bytes:
        query = urlencode({"_state": state})
        return f"{self._root(request)}v2/{name}/blobs/uploads/{upload_id}?{query}".encode("latin-1")

    def _root(self, request: Request) -> str:
        """Up to and with the slash before `v2/`."""
        if self.root:
            return self.root
        # What stands before /v2/ is the prefix of the configuration or of a proxy in front: it is kept.
        base = quote_path(request.path[: request.path.find("/v2/") + 1])
        return base if self.relative else f"{_origin(request)}{base}"


def configured_root(host: str) -> str:
    """The root that `http.host` stands for; empty, as the original has it, without scheme and host.

    Its path counts up to the last slash. Raises `ValueError`.
    """
    parts = urlsplit(host)
    if not parts.scheme or not parts.netloc:
        return ""
    return f"{parts.scheme}://{parts.netloc}{parts.path[: parts.path.rfind('/') + 1] or '/'}"


def quote_path(path: str) -> str:
    return quote(path, safe="/:@!$&'()*+,;=~-._")


def next_page(request: Request, parameters: dict[str, str]) -> tuple[bytes, bytes]:
    """The Link header (specification: "Pagination"): the request's own path, its parameters in their order."""
    if namespace := request.parameter("ns"):
        parameters = {**parameters, "ns": namespace}
    return b"link", f'<{quote_path(request.path)}?{urlencode(parameters)}>; rel="next"'.encode("latin-1")


def _origin(request: Request) -> str:
    own_scheme: str = request.scope["scheme"]
    own_host = request.header(b"host") or ""
    if _HOST.fullmatch(own_host) is None:
        own_host = _server(request)
    scheme, host = own_scheme, own_host
    forwarded = request.header(b"forwarded")
    if forwarded is not None:
        element = parse_forwarded(forwarded)
        scheme, host = element.get("proto", scheme), element.get("host", host)
    else:
        scheme = request.header(b"x-forwarded-proto") or scheme
        host = (request.header(b"x-forwarded-host") or "").partition(",")[0].strip() or host
    # A scheme or host that cannot stand in a URL is a mistake or an attack: the connection's own is used.
    if _SCHEME.fullmatch(scheme) is None:
        scheme = own_scheme
    if _HOST.fullmatch(host) is None:
        host = own_host
    return f"{scheme}://{host}"


def _server(request: Request) -> str:
    address, port = request.scope.get("server") or ("localhost", None)
    return f"{address}:{port}" if port else str(address)


def parse_forwarded(header: str) -> dict[str, str]:
    """The first element of a Forwarded header (RFC 7239), names in lower case; empty if it is malformed."""
    element: dict[str, str] = {}
    position = 0
    while match := _PAIR.match(header, position):
        name, token, quoted, separator = match.groups()
        if name.lower() in element:
            return {}
        element[name.lower()] = token if token is not None else re.sub(r"\\(.)", r"\1", quoted)
        position = match.end()
        if separator != ";":
            return element
    return {}
