"""The kinds of the whole schema, read from the models, with the shapes the file has and the models have not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

from lading.config.kinds import Kind, Leaf, ListOf, MapOf, Struct
from lading.config.models.configuration import Configuration, Middleware
from lading.config.models.section import Section, Segment, bare, options_of
from lading.config.models.storage import Cache, Delete, Maintenance, Redirect, TagLookup
from lading.config.options import CONTROLLERS, DRIVERS, MIDDLEWARE

STORAGE_SECTIONS: dict[str, type[Section]] = {
    "cache": Cache,
    "delete": Delete,
    "redirect": Redirect,
    "tag": TagLookup,
    "maintenance": Maintenance,
}


def _kind(annotation: Any) -> Kind:
    annotation, _ = bare(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
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
    return Leaf.OTHER


def struct(model: type[Section]) -> Struct:
    fields: dict[str, Kind] = {}
    segments: dict[str, str] = {}
    for option in options_of(model):
        kind = MIDDLEWARE if model is Middleware and option.name == "options" else _kind(option.annotation)
        for key in option.keys:
            fields[key] = kind
            segments[key.upper()] = key
            segments.update({mark: key for mark in option.marks if isinstance(mark, Segment)})
    return Struct(fields, segments, model.GROUP)


def _root() -> Struct:
    options = MapOf(Leaf.ANY)
    sections = {name: struct(model) for name, model in STORAGE_SECTIONS.items()}
    whole = struct(Configuration)
    storage = MapOf(options, {**sections, **DRIVERS}, word=True)
    auth = MapOf(options, CONTROLLERS, word=True)
    return replace(whole, fields={**whole.fields, "storage": storage, "auth": auth})


ROOT = _root()
