"""The configuration that is in effect: every key with its value and where that comes from, secrets masked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from lading.config.kinds import Kind, Leaf, MapOf
from lading.config.load import PARAMETERS, Loaded
from lading.config.models.configuration import Configuration
from lading.config.models.section import Section, options_of
from lading.config.options import CONTROLLERS, DRIVERS, MIDDLEWARE, SECRETS
from lading.config.problems import Place, dotted, printable
from lading.config.scalars import format_duration
from lading.config.schema import STORAGE_SECTIONS
from lading.config.yaml import ListNode, MapNode, Node, is_null, named

MASK = "***"
DEFAULT = "default"

_LOGIN = re.compile(r"(?<=//)[^/?#\s]*@")
_QUERY = re.compile(r"(?<=\?).+", re.DOTALL)
_BARE_LOGIN = re.compile(r".*@", re.DOTALL)

Steps = tuple[str | int, ...]


class Shown(NamedTuple):
    """One value. `source` is a place in a file, the name of a variable, or `default`."""

    path: Steps
    value: Any
    source: str


def shown(loaded: Loaded) -> list[Shown]:
    """Every key, in the order of the schema."""
    configuration, root = loaded.configuration, loaded.root
    found: list[Shown] = []
    for option in options_of(type(configuration)):
        value, node = getattr(configuration, option.name), root.entries.get(option.key)
        if option.name == "storage":
            found += _storage(configuration.storage, node)
        elif option.name == "auth":
            found += _typed("auth", configuration.auth.type, configuration.auth.parameters, node, CONTROLLERS)
        elif option.name == "middleware":
            found += _middleware(value, node)
        elif option.name != "loglevel":
            found += _value((option.key,), value, node, option.annotation, hidden=option.hidden)
    if "level" not in configuration.log.given and "loglevel" in configuration.given:
        source = _source(root.entries.get("loglevel"))
        found = [each._replace(source=source) if each.path == ("log", "level") else each for each in found]
    return found


def as_json(loaded: Loaded) -> str:
    """An object with a member for each key: `{"http.addr": {"value": ":5000", "source": "config.yml:3:9"}}`."""
    document = {dotted(each.path): {"value": each.value, "source": each.source} for each in shown(loaded)}
    return json.dumps(document, indent=2)


def as_yaml(loaded: Loaded) -> str:
    """A document that reads as the same configuration, but for what is masked; sources are comments."""
    tree: dict[str | int, Any] = {}
    for each in shown(loaded):
        below = tree
        for step in each.path[:-1]:
            below = below.setdefault(step, {})
        below[each.path[-1]] = each
    lines = list(_lines(tree, ""))
    width = min(max(len(text) for text, _ in lines), 60)
    return "".join(f"{text:{width}}  # {source}\n" if source else f"{text}\n" for text, source in lines)


def masked(configuration: Configuration) -> dict[str, Any]:
    """Every key with its value, nested as in a file."""
    tree: dict[str | int, Any] = {}
    for each in shown(Loaded(configuration, [], "", MapNode(Place("")))):
        below = tree
        for step in each.path[:-1]:
            below = below.setdefault(step, {})
        below[each.path[-1]] = each.value
    nested: dict[str, Any] = _with_lists(tree)
    return nested


def _with_lists(tree: Any) -> Any:
    """What has numbers for keys is a list."""
    if not isinstance(tree, dict):
        return tree
    below = {key: _with_lists(value) for key, value in tree.items()}
    return list(below.values()) if 0 in below else below


def _lines(tree: dict[str | int, Any], indent: str) -> Iterator[tuple[str, str]]:
    """Each with its source. What has numbers for keys is a list."""
    for step, below in tree.items():
        key = f"{indent}{_flow(step)}:"
        if isinstance(below, Shown):
            yield f"{key} {_flow(below.value)}", below.source
            continue
        yield key, ""
        if 0 not in below:
            yield from _lines(below, f"{indent}  ")
            continue
        for item in below.values():
            for number, (text, source) in enumerate(_lines(item, f"{indent}    ")):
                yield text if number else f"{indent}  - {text.lstrip()}", source


def _flow(value: Any) -> str:
    """On one line."""
    text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=True, width=10**9, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _source(node: Node | None) -> str:
    return DEFAULT if node is None or is_null(node) else printable(str(node.place))


def _value(path: Steps, value: Any, node: Node | None, annotation: Any, *, hidden: bool) -> Iterator[Shown]:
    if isinstance(value, Section):
        yield from _section(path, value, node)
    elif isinstance(value, list) and any(isinstance(item, Section) for item in value):
        items = node.items if isinstance(node, ListNode) else []
        for index, item in enumerate(value):
            yield from _section((*path, index), item, items[index] if index < len(items) else node)
    elif annotation is float and value is not None:
        yield Shown(path, format_duration(value) if value else "0s", _source(node))
    else:
        yield Shown(path, _masked(value) if hidden else _without_logins(value, path), _source(node))


def _section(path: Steps, section: Section, node: Node | None) -> Iterator[Shown]:
    entries = node.entries if isinstance(node, MapNode) else {}
    for option in options_of(type(section)):
        key = next((key for key in option.keys if not _absent(entries.get(key))), option.key)
        value = getattr(section, option.name)
        if value is None and option.name not in section.given:
            continue
        below = entries.get(key)
        yield from _value((*path, option.key), value, below, option.annotation, hidden=option.hidden)


def _absent(node: Node | None) -> bool:
    return node is None or is_null(node)


def _storage(storage: Any, node: Node | None) -> Iterator[Shown]:
    entries = _entries(node)
    driver = storage.driver
    if driver in PARAMETERS:
        parameters = PARAMETERS[driver].read(storage.parameters, [])
        yield from _section(("storage", driver), parameters, entries.get(driver))
    else:
        yield from _typed("storage", driver, storage.parameters, node, DRIVERS)
    for name in STORAGE_SECTIONS:
        if name != "cache" or storage.cache.given:  # a cache section without a cache is warned about
            yield from _section(("storage", name), getattr(storage, name), entries.get(name))


def _typed(
    section: str, name: str, parameters: dict[str, Any], node: Node | None, known: dict[str, Kind]
) -> Iterator[Shown]:
    below = _entries(node).get(name)
    path = (section, name)
    if not parameters:
        yield Shown(path, {}, _source(node))
    kind = known.get(name, MapOf(Leaf.ANY))
    for key, value in parameters.items():
        child = below.entries.get(key) if isinstance(below, MapNode) else None
        yield Shown((*path, key), _option(key, value, kind), _source(child or below or node))


def _entries(node: Node | None) -> dict[str, Node]:
    found = None if node is None else named(node)
    return found.entries if isinstance(found, MapNode) else {}


def _middleware(points: dict[str, Any], node: Node | None) -> Iterator[Shown]:
    for point, elements in points.items():
        items = _entries(node).get(point)
        for index, element in enumerate(elements):
            path: Steps = ("middleware", point, index)
            at = items.items[index] if isinstance(items, ListNode) and index < len(items.items) else node
            entries = at.entries if isinstance(at, MapNode) else {}
            yield Shown((*path, "name"), element.name, _source(entries.get("name")))
            yield Shown((*path, "disabled"), element.disabled, _source(entries.get("disabled")))
            options = {key: _option(key, value, MIDDLEWARE) for key, value in element.options.items()}
            yield Shown((*path, "options"), options, _source(entries.get("options")))
    if not points:
        yield Shown(("middleware",), {}, _source(node))


def _option(key: str, value: Any, kind: Kind) -> Any:
    """An option of a driver and its like. What is not known might be a secret."""
    below = kind.fixed.get(key.lower()) if isinstance(kind, MapOf) else None
    if below is None or key.lower() in SECRETS:
        return _masked(value)
    if isinstance(below, MapOf):
        return _options(value, below)
    return _without_logins(value, (key,))


def _options(value: Any, kind: MapOf) -> Any:
    if not isinstance(value, dict):
        return _masked(value)
    if not kind.fixed and isinstance(kind.item, MapOf):  # by names of the operator's choice
        return {name: _options(each, kind.item) for name, each in value.items()}
    return {key: _option(key, each, kind) for key, each in value.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return value if value in ("", None) else MASK


def _without_logins(value: Any, path: Steps) -> Any:
    """URLs may carry passwords before an `@`, and tokens behind a `?`."""
    if isinstance(value, dict):
        return {key: _without_logins(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_logins(item, path) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such numbers
    if not isinstance(value, str):
        return value
    if "://" in value:
        return _QUERY.sub(MASK, _LOGIN.sub(f"{MASK}@", value))
    return _BARE_LOGIN.sub(f"{MASK}@", value) if path[-1] in ("addrs", "addr") else value
