"""A configuration as a YAML document that reads back as the same configuration."""

from __future__ import annotations

import re
from typing import Any

import yaml
from pydantic import BaseModel

from lading.config.models.configuration import Configuration

_MASK = "***"
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def masked(section: BaseModel) -> dict[str, Any]:
    """Every option with its value, for people to look at: what may be secret is hidden."""
    shown: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        shown[field.alias or name] = _MASK if value and not field.repr else _shown(value)
    return shown


def _shown(value: object) -> object:
    match value:
        case BaseModel():
            return masked(value)
        case dict():
            return {key: _shown(item) for key, item in value.items()}
        case list():
            return [_shown(item) for item in value]
        case str():
            return _CREDENTIALS.sub(_MASK, value)
    return value


def to_yaml(configuration: Configuration) -> str:
    """Every option with its value, secrets included: not for a log."""
    document = configuration.model_dump(mode="json", by_alias=True, exclude_none=True)
    storage, auth = document["storage"], document["auth"]
    document["storage"] = {storage.pop("driver"): storage.pop("parameters"), **storage}
    document["auth"] = {auth["type"]: auth["parameters"]}
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
