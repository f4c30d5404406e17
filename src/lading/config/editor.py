"""JSON Schema of the file, for editors: what keys there are, what they take, and what they do."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args, get_origin

from lading.config.kinds import Kind, Leaf, MapOf
from lading.config.load import PARAMETERS, VERSION
from lading.config.models.configuration import Configuration
from lading.config.models.section import Option, Section, bare, options_of
from lading.config.models.values import AnyCase
from lading.config.options import CONTROLLERS, DRIVERS
from lading.config.scalars import format_duration
from lading.config.schema import STORAGE_SECTIONS
from lading.config.texts import TEXTS

Schema = dict[str, Any]

ABOUT = {
    "access": "Lading's own: who may pull, push and delete where.",
    "tokenservice": "Lading's own: the service that issues tokens, in the registry or alone.",
}
"""Sections that no editor can know from Distribution."""

DURATION = r"^[-+]?(0|([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$"

_TEXT: Schema = {"type": ["string", "number", "boolean", "null"]}
_TYPES: dict[Any, Schema] = {
    str: _TEXT,
    bool: {"type": ["boolean", "null"]},
    int: {"type": ["integer", "null"]},
    float: {"type": ["string", "integer", "null"], "pattern": DURATION},
    Any: {},
}


def schema() -> Schema:
    """The whole file, all spellings of its keys included. Unknown keys are marked, though Lading only warns."""
    properties: Schema = {}
    for option in options_of(Configuration):
        if option.name == "version":
            properties["version"] = {"description": TEXTS["version"], "enum": [float(VERSION), VERSION]}
        elif option.name == "storage":
            properties["storage"] = _storage()
        elif option.name == "auth":
            types = {name: _options(kind, f"auth.{name}") for name, kind in CONTROLLERS.items()}
            properties["auth"] = _by_name(["none", *CONTROLLERS], types, TEXTS["auth"])
        else:
            properties.update(_option(option, ""))
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of Lading and of CNCF Distribution v3",
        "type": "object",
        "properties": properties,
        "required": ["version"],
        "additionalProperties": False,
    }


def as_json() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False)


def _storage() -> Schema:
    below: Schema = {}
    for driver, kind in DRIVERS.items():
        path = f"storage.{driver}"
        below[driver] = _section(PARAMETERS[driver], path) if driver in PARAMETERS else _options(kind, path)
    for name, model in STORAGE_SECTIONS.items():
        below[name] = _section(model, f"storage.{name}")
    return _by_name(list(DRIVERS), below, "Where content is kept: one driver, and sections beside it.")


def _by_name(words: list[str], properties: Schema, description: str) -> Schema:
    """What is a mapping by a name, or the bare name."""
    mapping = {"type": "object", "properties": properties, "additionalProperties": {"type": ["object", "null"]}}
    return {"description": description, "anyOf": [{"enum": [*words, None]}, mapping]}


def _section(model: type[Section], path: str) -> Schema:
    properties: Schema = {}
    for option in options_of(model):
        properties.update(_option(option, f"{path}."))
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}


def _option(option: Option, prefix: str) -> Schema:
    path = prefix + option.key
    made = dict(_schema(option.annotation, option.marks, path))
    if path in ABOUT:
        made["description"] = ABOUT[path]
    if path in TEXTS:
        made["description"] = TEXTS[path]
        if TEXTS[path].startswith("Older key"):
            made["deprecated"] = True
    default = None if option.required else option.make_default()
    if isinstance(default, float):
        made["default"] = format_duration(default) if default else "0s"
    elif default not in (None, "", [], {}) and not isinstance(default, Section):
        made["default"] = default
    older = {**made, "description": f"Older spelling of {option.key}.", "deprecated": True}
    return {option.key: made, **dict.fromkeys(option.keys[1:], older)}


def _schema(hint: Any, marks: tuple[Any, ...], path: str) -> Schema:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        cases = (str.lower, str.upper, str.capitalize) if any(isinstance(m, AnyCase) for m in marks) else (str,)
        return {"enum": [*dict.fromkeys(case(word) for case in cases for word in arguments), None]}
    if origin is list:
        return {"type": ["array", "null"], "items": _schema(*bare(arguments[0]), f"{path}[]")}
    if origin is dict:
        below = _schema(*bare(arguments[1]), f"{path}.<name>")
        return {"type": ["object", "null"], "additionalProperties": below}
    if isinstance(hint, type) and issubclass(hint, Section):
        return _section(hint, path)
    return _TYPES[hint]


def _options(kind: Kind, path: str) -> Schema:
    """What is known of the options of drivers and controllers: text, or anything."""
    about = {"description": TEXTS[path]} if path in TEXTS else {}
    if not isinstance(kind, MapOf):
        return {**(_TEXT if kind is Leaf.TEXT else {}), **about}
    made: Schema = {"type": ["object", "null"], **about}
    if kind.fixed:
        made["properties"] = {name: _options(below, f"{path}.{name}") for name, below in kind.fixed.items()}
    made["additionalProperties"] = False if kind.closed else _options(kind.item, f"{path}.<name>")
    return made
