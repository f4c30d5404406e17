"""A configuration as a YAML document that reads back as the same configuration."""

from __future__ import annotations

from typing import Any

import yaml

from lading.config.models.configuration import Configuration
from lading.config.models.section import Section, options_of
from lading.config.scalars import format_duration


def to_yaml(configuration: Configuration) -> str:
    """Every option with its value, secrets included: not for a log."""
    document = _plain(configuration)
    storage, auth = document["storage"], document["auth"]
    document["storage"] = {storage.pop("driver"): storage.pop("parameters"), **storage}
    document["auth"] = {auth["type"]: auth["parameters"]}
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        fields = {option.key: (option, getattr(value, option.name)) for option in options_of(type(value))}
        return {
            key: format_duration(field) if option.annotation is float else _plain(field)
            for key, (option, field) in fields.items()
            if field is not None
        }
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
