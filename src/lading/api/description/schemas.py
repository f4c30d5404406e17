"""What bodies and parameters look like, as JSON Schema."""

from __future__ import annotations

from typing import Any

from lading.api.description.model import Schema


def string() -> dict[str, Any]:
    return {"type": "string"}


def integer(minimum: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": minimum}


def matching(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^(?:{pattern})$"}


BYTES: Schema = {"type": "string", "format": "binary"}
TEXT: Schema = string()
ERRORS: Schema = {
    "type": "object",
    "required": ["errors"],
    "properties": {
        "errors": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": string(), "message": string(), "detail": {}},
                "additionalProperties": False,
            },
        }
    },
    "additionalProperties": False,
}
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
