"""Paths to endpoints: pure, and first match wins in the order of the original's route table.

Names are matched greedily: `/v2/a/manifests/tags/list` lists the tags of `a/manifests`.
"""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass

from lading.oci.digest import has_digest_shape
from lading.oci.names import has_name_shape, is_tag

REMEMBERED_LENGTH = 512
"""Where longer paths lead is found anew each time: memory is not for the client to fill."""

_UPLOAD_ID = re.compile(r"[a-zA-Z0-9\-_.=]+", re.ASCII)
_UNCLEAN = re.compile(r"//|/\.\.?(?:/|\Z)")


class Endpoint(enum.Enum):
    """Names as in the original's metrics; the specification's endpoint ids behind them."""

    BASE = "base"  # end-1
    BLOB = "blob"  # end-2, end-10
    MANIFEST = "manifest"  # end-3, end-7, end-9
    UPLOADS = "blob_upload"  # end-4, end-11
    UPLOAD = "blob_upload_chunk"  # end-5, end-6, end-13, end-14
    TAGS = "tags"  # end-8
    REFERRERS = "referrers"  # end-12
    CATALOG = "catalog"


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
    if not path.startswith("/v2/"):
        return None
    rest = path[4:]
    if not rest:
        return Route(Endpoint.BASE)
    return _tags(rest) or _item(rest) or _catalog(rest)


def _tags(rest: str) -> Route | None:
    name = rest.removesuffix("/tags/list")
    return Route(Endpoint.TAGS, name) if name != rest and has_name_shape(name) else None


def _item(rest: str) -> Route | None:
    head, _, item = rest.rpartition("/")
    name, _, collection = head.rpartition("/")
    match collection:
        case "manifests" if is_tag(item) or has_digest_shape(item):
            route = Route(Endpoint.MANIFEST, name, item)
        case "blobs" if has_digest_shape(item):
            route = Route(Endpoint.BLOB, name, item)
        case "referrers" if has_digest_shape(item):
            route = Route(Endpoint.REFERRERS, name, item)
        case "uploads" if name.endswith("/blobs") and (not item or _UPLOAD_ID.fullmatch(item)):
            name = name.removesuffix("/blobs")
            route = Route(Endpoint.UPLOAD if item else Endpoint.UPLOADS, name, item)
        case _:
            return None
    return route if has_name_shape(name) else None


def _catalog(rest: str) -> Route | None:
    return Route(Endpoint.CATALOG) if rest == "_catalog" else None


def _clean(path: str) -> str:
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    cleaned = "/" + "/".join(segments)
    return cleaned + "/" if path.endswith("/") and segments else cleaned
