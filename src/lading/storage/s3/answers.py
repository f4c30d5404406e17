"""Lists that the store answers. Read by the SDK's description of them, they are most of the time of a page."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_plus
from xml.etree import ElementTree

_ROOT = "ListBucketResult"

_CONVERTED: dict[str, Callable[[str], Any]] = {
    "LastModified": datetime.datetime.fromisoformat,
    "Size": int,
}
_OF_OBJECTS = frozenset({"Key", "LastModified", "ETag", "Size"})
_ENCODED = ("Key", "Prefix")
"""If the list says so."""


def page(body: bytes) -> dict[str, Any] | None:
    """What is used of a list of objects, with the SDK's names; None where it is not one."""
    try:
        return _page(body)
    except (ElementTree.ParseError, ValueError):
        return None


def _page(body: bytes) -> dict[str, Any] | None:
    # The SDK has the same parser: expat, which bounds what entities grow to.
    root = ElementTree.fromstring(body)  # noqa: S314
    if _local(root) != _ROOT:
        return None
    page: dict[str, Any] = {"IsTruncated": False}
    encoded = False
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
        elif name == "NextContinuationToken":
            page[name] = element.text or ""
        elif name == "EncodingType":
            encoded = element.text == "url"
    for each in itertools.chain(objects, prefixes) if encoded else ():
        each.update({name: unquote_plus(each[name]) for name in _ENCODED if name in each})
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
