"""Documents that the store answers with: read by the SDK's descriptions, they are most of the time of a page."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus
from xml.etree import ElementTree

_ROOTS = {
    "complete_multipart_upload": "CompleteMultipartUploadResult",
    "copy_object": "CopyObjectResult",
    "create_multipart_upload": "InitiateMultipartUploadResult",
    "delete_objects": "DeleteResult",
    "list_multipart_uploads": "ListMultipartUploadsResult",
    "list_objects_v2": "ListBucketResult",
    "list_parts": "ListPartsResult",
    "upload_part_copy": "CopyPartResult",
}
_LISTS = {
    "Contents": "Contents",
    "CommonPrefixes": "CommonPrefixes",
    "Error": "Errors",
    "Part": "Parts",
    "Upload": "Uploads",
}
_CONVERTED: dict[str, Callable[[str], Any]] = {
    "Initiated": datetime.datetime.fromisoformat,
    "IsTruncated": lambda text: text == "true",
    "LastModified": datetime.datetime.fromisoformat,
    "NextPartNumberMarker": int,
    "PartNumber": int,
    "Size": int,
}
_ENCODED = ("Contents", "Key"), ("CommonPrefixes", "Prefix")
"""If the list says so."""


def expected(operation: str) -> bool:
    """Whether it is answered with a document, and not with headers alone or with an object."""
    return operation in _ROOTS


def read(operation: str, body: bytes) -> dict[str, Any] | None:
    """What is used of the answer, with the SDK's names; None where it is not what is expected."""
    try:
        # The SDK has the same parser: expat, which bounds what entities grow to.
        root = ElementTree.fromstring(body)  # noqa: S314
        if _local(root) != _ROOTS[operation]:
            return None
        answer = _fields(root)
    except (ElementTree.ParseError, ValueError):
        return None
    if answer.get("EncodingType") == "url":
        for name, field in _ENCODED:
            for each in answer.get(name, ()):
                each[field] = unquote_plus(each[field])
    return {"CopyPartResult": answer} if operation == "upload_part_copy" else answer


def _fields(element: ElementTree.Element) -> dict[str, Any]:
    """As of the SDK: a list that is empty is not there."""
    found: dict[str, Any] = {}
    for each in element:
        name = _local(each)
        if name in _LISTS:
            found.setdefault(_LISTS[name], []).append(_fields(each))
        else:
            text = each.text or ""
            convert = _CONVERTED.get(name)
            found[name] = text if convert is None else convert(text)
    return found


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
