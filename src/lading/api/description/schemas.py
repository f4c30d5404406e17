"""What bodies and parameters look like, as JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lading.api.description.model import Schema
from lading.oci.errors import Code


def string() -> dict[str, Any]:
    return {"type": "string"}


def integer(minimum: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": minimum}


def matching(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^(?:{pattern})$"}


def errors_of(codes: Iterable[Code]) -> Schema:
    """The document of errors, each with one of `codes`."""
    allowed = {"enum": sorted({code.code for code in codes})}
    error = {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": allowed, "message": string(), "detail": {}},
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "required": ["errors"],
        "properties": {"errors": {"type": "array", "minItems": 1, "items": error}},
        "additionalProperties": False,
    }


BYTES: Schema = {"type": "string", "format": "binary"}
TEXT: Schema = string()
TAGS: Schema = {
    "type": "object",
    "required": ["name", "tags"],
    "properties": {"name": string(), "tags": {"type": "array", "items": string()}},
    "additionalProperties": False,
}
CATALOG: Schema = {
    "type": "object",
    "required": ["repositories"],
    "properties": {"repositories": {"type": "array", "items": string()}},
    "additionalProperties": False,
}
DESCRIPTOR: Schema = {
    "type": "object",
    "required": ["mediaType", "digest", "size"],
    "properties": {
        "mediaType": string(),
        "digest": string(),
        "size": integer(minimum=0),
        "artifactType": string(),
        "annotations": {"type": "object", "additionalProperties": string()},
    },
}
INDEX: Schema = {
    "type": "object",
    "required": ["schemaVersion", "mediaType", "manifests"],
    "properties": {
        "schemaVersion": {"const": 2},
        "mediaType": string(),
        "manifests": {"type": "array", "items": DESCRIPTOR},
    },
}
ANY_MANIFEST: Schema = {"type": "object"}
