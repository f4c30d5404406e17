"""Lists that the store answers. Read by the SDK's description of them, they take most of the time of a page."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from typing import Any
from xml.etree import ElementTree

_ROOT = "ListBucketResult"
_EMPTY = b"<ListBucketResult/>"

_CONVERTED: dict[str, Callable[[str], Any]] = {
    "LastModified": datetime.datetime.fromisoformat,
    "Size": int,
}
_OF_OBJECTS = frozenset({"Key", "LastModified", "ETag", "Size"})
_OF_PAGES = frozenset({"NextContinuationToken", "EncodingType"})


def read_lists(client: Any) -> None:
    """Let a client of the SDK read its lists of objects here; signatures, retries and errors stay its own."""
    client.meta.events.register("before-parse.s3.ListObjectsV2", _read, unique_id="lading-lists")


def _read(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Whatever is not the list that is expected is left to the SDK."""
    if response_dict["status_code"] != 200:
        return
    try:
        page = _page(response_dict["body"])
    except (ElementTree.ParseError, ValueError):
        return
    if page is not None:
        customized_response_dict.update(page)
        response_dict["body"] = _EMPTY


def _page(body: bytes) -> dict[str, Any] | None:
    # The SDK has the same parser: expat, which bounds what entities grow to.
    root = ElementTree.fromstring(body)  # noqa: S314
    if _local(root) != _ROOT:
        return None
    page: dict[str, Any] = {"IsTruncated": False}
    objects: list[dict[str, Any]] = []
    prefixes: list[dict[str, Any]] = []
    for element in root:
        name = _local(element)
        if name == "Contents":
            objects.append(_fields(element, _OF_OBJECTS))
        elif name == "CommonPrefixes":
            prefixes.append(_fields(element, {"Prefix"}))
        elif name == "IsTruncated":
            page[name] = element.text == "true"
        elif name in _OF_PAGES:
            page[name] = element.text or ""
    # As of the SDK: a list that is empty is not there.
    return page | ({"Contents": objects} if objects else {}) | ({"CommonPrefixes": prefixes} if prefixes else {})


def _fields(element: ElementTree.Element, wanted: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in element:
        name = _local(each)
        if name in wanted:
            text = each.text or ""
            convert = _CONVERTED.get(name)
            found[name] = text if convert is None else convert(text)
    return found


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
