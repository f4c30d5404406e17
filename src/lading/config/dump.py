"""A configuration as a YAML document that reads back as the same configuration."""

from __future__ import annotations

import yaml

from lading.config.models.configuration import Configuration


def to_yaml(configuration: Configuration) -> str:
    """Every option with its value, secrets included: not for a log."""
    document = configuration.model_dump(mode="json", by_alias=True, exclude_none=True)
    storage, auth = document["storage"], document["auth"]
    document["storage"] = {storage.pop("driver"): storage.pop("parameters"), **storage}
    document["auth"] = {auth["type"]: auth["parameters"]}
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
