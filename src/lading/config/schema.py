"""The kinds of the whole schema, read from the models, with the shapes the file has and the models have not."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from lading.config.kinds import Kind, Leaf, ListOf, MapOf, Struct
from lading.config.models.configuration import Configuration, Middleware
from lading.config.models.storage import Cache, Delete, Maintenance, Redirect, TagLookup
from lading.config.models.values import Section, Segment
from lading.config.options import CONTROLLERS, DRIVERS, MIDDLEWARE

STORAGE_SECTIONS: dict[str, type[Section]] = {
    "cache": Cache,
    "delete": Delete,
    "redirect": Redirect,
    "tag": TagLookup,
    "maintenance": Maintenance,
}


def _kind(annotation: Any) -> Kind:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is list:
        return ListOf(_kind(arguments[0]))
    if origin is dict:
        return MapOf(_kind(arguments[1]))
    if annotation is str or origin is Literal:
        return Leaf.TEXT
    if annotation is Any:
        return Leaf.ANY
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return struct(annotation)
    optional = [a for a in arguments if a is not type(None)]
    return _kind(optional[0]) if len(optional) == 1 else Leaf.OTHER


def _keys(name: str, info: FieldInfo) -> list[str]:
    if isinstance(info.validation_alias, AliasChoices):
        return [str(choice) for choice in info.validation_alias.choices]
    return [info.alias or name]


def struct(model: type[Section]) -> Struct:
    fields: dict[str, Kind] = {}
    segments: dict[str, str] = {}
    for name, info in model.model_fields.items():
        kind = MIDDLEWARE if model is Middleware and name == "options" else _kind(info.annotation)
        for key in _keys(name, info):
            fields[key] = kind
            segments[key.upper()] = key
            segments.update({mark: key for mark in info.metadata if isinstance(mark, Segment)})
    return Struct(fields, segments, model.GROUP)


def _root() -> Struct:
    options = MapOf(Leaf.ANY)
    sections = {name: struct(model) for name, model in STORAGE_SECTIONS.items()}
    whole = struct(Configuration)
    storage = MapOf(options, {**sections, **DRIVERS}, word=True)
    auth = MapOf(options, CONTROLLERS, word=True)
    return replace(whole, fields={**whole.fields, "storage": storage, "auth": auth})


ROOT = _root()
