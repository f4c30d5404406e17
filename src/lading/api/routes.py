"""Paths to endpoints: pure, and first match wins in the order of the original's route table.

Names are matched greedily: `/v2/a/manifests/tags/list` lists the tags of `a/manifests`.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lading.oci.digest import DIGEST_PATTERN, has_digest_shape
from lading.oci.names import TAG_PATTERN, has_name_shape, is_tag

REMEMBERED_LENGTH = 512
"""Where longer paths lead is found anew each time: memory is not for the client to fill."""

UPLOAD_ID_PATTERN = r"[a-zA-Z0-9\-_.=]+"
REFERENCE_PATTERN = f"{TAG_PATTERN}|{DIGEST_PATTERN}"

_UPLOAD_ID = re.compile(UPLOAD_ID_PATTERN, re.ASCII)
_UNCLEAN = re.compile(r"//|/\.\.?(?:/|\Z)")


class Endpoint(enum.Enum):
    """Values as in the original's metrics. `template` is the path behind the prefix, in the order of matching."""

    template: str

    BASE = "base", "/v2/"
    TAGS = "tags", "/v2/{name}/tags/list"
    MANIFEST = "manifest", "/v2/{name}/manifests/{reference}"
    BLOB = "blob", "/v2/{name}/blobs/{digest}"
    REFERRERS = "referrers", "/v2/{name}/referrers/{digest}"
    UPLOADS = "blob_upload", "/v2/{name}/blobs/uploads/"
    UPLOAD = "blob_upload_chunk", "/v2/{name}/blobs/uploads/{uuid}"
    CATALOG = "catalog", "/v2/_catalog"
    REPOSITORY = "repository", "/v2/{name}/_lading/repository"

    def __new__(cls, handler: str, template: str) -> Endpoint:
        endpoint = object.__new__(cls)
        endpoint._value_ = handler
        endpoint.template = template
        return endpoint


_ITEMS: dict[str, Callable[[str], bool]] = {
    "": lambda item: not item,
    "{reference}": lambda item: is_tag(item) or has_digest_shape(item),
    "{digest}": has_digest_shape,
    "{uuid}": lambda item: _UPLOAD_ID.fullmatch(item) is not None,
}
"""Whether a text may stand where a template ends."""

_ROOT, _NAME = "/v2/", "{name}"
_FIXED = {endpoint.template: endpoint for endpoint in Endpoint if _NAME not in endpoint.template}


def _named() -> Iterator[tuple[Endpoint, str, Callable[[str], bool]]]:
    """The endpoints in a repository: what stands between its name and the item, and what the item may be."""
    for endpoint in Endpoint:
        if endpoint not in _FIXED.values():
            ending, brace, item = endpoint.template.removeprefix(_ROOT + _NAME).partition("{")
            yield endpoint, ending, _ITEMS[brace + item]


_NAMED = tuple(_named())


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint and the parts of its path: `item` is the reference, digest or upload id."""

    endpoint: Endpoint
    name: str = ""
    item: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """The path as it should have been written."""

    path: str


def match(path: str, prefix: str = "") -> Route | Moved | None:
    """Where a decoded path leads. `prefix` is what stands before `/v2/`, without a slash at its end."""
    return _remembered(path, prefix) if len(path) <= REMEMBERED_LENGTH else _find(path, prefix)


def _find(path: str, prefix: str) -> Route | Moved | None:
    if _UNCLEAN.search(path):
        return Moved(_clean(path))
    if not path.startswith(prefix):
        return None
    path = path[len(prefix) :]
    route = _match(path)
    if route is None:
        other = path[:-1] if path.endswith("/") else path + "/"
        if _match(other) is not None:
            return Moved(prefix + other)
    return route


_remembered = functools.lru_cache(maxsize=1024)(_find)


def _match(path: str) -> Route | None:
    endpoint = _FIXED.get(path)
    if endpoint is not None:
        return Route(endpoint)
    if not path.startswith(_ROOT):
        return None
    for endpoint, ending, fits in _NAMED:
        head, found, item = path.rpartition(ending)
        name = head.removeprefix(_ROOT)
        if found and fits(item) and name != head and has_name_shape(name):
            return Route(endpoint, name, item)
    return None


def _clean(path: str) -> str:
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    cleaned = "/" + "/".join(segments)
    return cleaned + "/" if path.endswith("/") and segments else cleaned
