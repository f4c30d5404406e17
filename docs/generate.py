"""Writes the tables of `docs/configuration.md` from the models: `python docs/generate.py`.

What the models know (keys, types, defaults, allowed words) is read from them. Whether a key is honoured is asked
of `lading.config.supported`, with a little configuration that sets it. Only the texts are kept here.
"""

from __future__ import annotations

import itertools
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from lading.config.load import PARAMETERS, parse
from lading.config.models.configuration import Configuration
from lading.config.models.section import Option, Section, Segment, bare, options_of
from lading.config.options import CONTROLLERS, DRIVERS
from lading.config.scalars import format_duration
from lading.config.schema import STORAGE_SECTIONS
from lading.config.supported import unsupported
from lading.config.texts import TEXTS

PAGE = Path(__file__).with_name("configuration.md")

BASE = {"version": "0.1", "storage": {"inmemory": {}}, "http": {"addr": ":5000"}}
STOPS = "stops the start"

_WORDS = {bool: "boolean", int: "integer", float: "duration", str: "text"}


INTRODUCTIONS = {
    "version": ("General", ""),
    "log": ("log", ""),
    "storage": (
        "storage",
        "A map with one driver, and sections beside it; a bare name is a driver without parameters. "
        "[Storage](storage.md) says what the drivers promise.",
    ),
    "auth": ("auth", "A map with one type and its options; a bare name is a type without options."),
    "middleware": ("middleware", "`<name>` is `registry`, `repository` or `storage`."),
    "http": ("http", "[Operations](operations.md) says more about TLS, proxies and stopping."),
    "notifications": ("notifications", ""),
    "redis": ("redis", ""),
    "health": ("health", "A threshold counts failures in a row."),
    "catalog": ("catalog and tags", ""),
    "proxy": ("proxy", ""),
    "validation": ("validation", "Checks of pushed manifests."),
    "policy": ("policy", ""),
}
"""Title and first words of the tables, by the first step of their keys. What has none joins the table before."""

ALLOWED = {
    "version": "`0.1`",
    "log.formatter": "`text`, `json`, `logstash`",
    "log.hooks[].type": "`mail`",
    "log.hooks[].levels": "levels",
    "storage.filesystem.maxthreads": "integer, or one in quotes",
    "storage.cache.blobdescriptor": "`inmemory`, `redis`",
    "storage.tag.concurrencylimit": "0 or more",
    "auth": "`none`, or one of the types below",
    "http.addr": "`host:port`, or a path",
    "http.host": "URL",
    "http.prefix": "starts with `/`",
    "http.tls.ciphersuites": "names of Go",
    "validation.manifests.urls.allow": "regular expressions",
    "validation.manifests.urls.deny": "regular expressions",
    "tags.maxtags": "0 or more",
    "policy.repository.classes": "`image`, `plugin`",
}
"""Where the models take any text."""

PROBES: dict[str, list[Any]] = {
    "version": ["0.1"],
    "log.formatter": ["text", "json", "logstash"],
    "log.hooks[].disabled": [True, False],
    "storage.cache.blobdescriptor": ["inmemory", "redis"],
    "auth": ["none"],
    "middleware.<name>[].disabled": [True, False],
    "http.addr": [":5000"],
    "http.prefix": ["/x"],
    "http.tls.clientcas": [["one"], ["one", "two"]],
    "http.tls.ciphersuites": [["TLS_RSA_WITH_AES_128_CBC_SHA"]],
    "notifications.endpoints[].disabled": [True, False],
    "redis.addrs": [["x"]],
    "health.storagedriver.enabled": [True],
}
"""Values to try where the type alone does not say which are good."""

SWITCHES = {
    "http.debug.": "http.debug.addr",
    "http.tls.letsencrypt.": "http.tls.letsencrypt.cachefile",
    "notifications.": "notifications.endpoints[].url",
    "redis.": "redis.addrs",
    "health.storagedriver.": "health.storagedriver.enabled",
    "proxy.": "proxy.remoteurl",
}
"""Keys below the first have an effect only with the second."""

NO_EFFECT = {"storage.cache.blobdescriptorsize"}
"""Accepted, and there is nothing to honour."""


@dataclass(frozen=True, slots=True)
class Key:
    """One row. `words` are the values the models allow, if they are few."""

    path: str
    type: str
    default: str
    words: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    """Other spellings of the last step, of old."""


def all_keys() -> Iterator[Key]:
    """Every key of the file, in the order of the models."""
    for option in options_of(Configuration):
        if option.name == "storage":
            yield from _drivers()
            for section, model in STORAGE_SECTIONS.items():
                yield from _section(model, f"storage.{section}.")
        elif option.name == "auth":
            yield Key("auth", "text or map", "`none`")
            yield from (Key(f"auth.{controller}", "map", "") for controller in CONTROLLERS)
        else:
            yield from _field(option, "")


def segments() -> Iterator[tuple[str, str]]:
    """Keys whose segment in names of variables is another than the key, with that segment."""
    yield from _segments(Configuration, "")


def render(page: str) -> str:
    """The page with its generated parts made anew."""
    return _replace(_replace(page, "keys", _tables()), "segments", _segment_table())


def honoured(path: str, words: Sequence[str], type_name: str) -> str:
    """What this version does with a key that is set."""
    values: Sequence[Any] = PROBES.get(path) or words or [_example(type_name)]
    stopping = [value for value in values if _stops(path, value)]
    if len(stopping) == len(values):
        return STOPS
    if stopping:
        return f"{', '.join(map(_shown, stopping))} {STOPS}"
    for prefix, switch in SWITCHES.items():
        if path.startswith(prefix) and _stops(switch, PROBES.get(switch, ["x"])[0]):
            return f"part of `{switch}`"
    return "no effect" if path in NO_EFFECT else "yes"


def _drivers() -> Iterator[Key]:
    for driver in DRIVERS:
        if driver in PARAMETERS:
            yield from _section(PARAMETERS[driver], f"storage.{driver}.")
        else:
            yield Key(f"storage.{driver}", "map", "")


def _section(model: type[Section], prefix: str) -> Iterator[Key]:
    for option in options_of(model):
        yield from _field(option, prefix)


def _field(option: Option, prefix: str) -> Iterator[Key]:
    path = prefix + option.key
    inner, suffix = _innermost(option.annotation)
    if isinstance(inner, type) and issubclass(inner, Section):
        yield from _section(inner, f"{path}{suffix}.")
        return
    words = tuple(map(str, get_args(inner))) if get_origin(inner) is Literal else ()
    type_name = _type(option.annotation, secret=option.hidden)
    yield Key(path, type_name, _default(option), words, option.keys[1:])


def _innermost(annotation: Any) -> tuple[Any, str]:
    """What lists and maps are made of, and how that is written behind a key."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is list:
        inner, suffix = _innermost(bare(arguments[0])[0])
        return inner, f"[]{suffix}"
    if origin is dict:
        inner, suffix = _innermost(bare(arguments[1])[0])
        return inner, f".<name>{suffix}"
    return annotation, ""


def _type(annotation: Any, *, secret: bool) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "text"
    if origin is list:
        return f"list of {_type(bare(arguments[0])[0], secret=False)}"
    if origin is dict:
        inner = _type(bare(arguments[1])[0], secret=False)
        return "map" if inner == "anything" else f"map to {inner}"
    if annotation is Any:
        return "anything"
    return _WORDS[annotation] + (" (secret)" if secret and annotation is str else "")


def _default(option: Option) -> str:
    if option.required:
        return "required"
    value = option.make_default()
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{format_duration(value) if value else '0s'}`"
    return f"`{value}`"


def _segments(model: type[Section], prefix: str) -> Iterator[tuple[str, str]]:
    for option in options_of(model):
        path = prefix + option.key
        inner, suffix = _innermost(option.annotation)
        yield from ((path, mark) for mark in option.marks if isinstance(mark, Segment))
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _segments(inner, f"{path}{suffix}.")


def _example(type_name: str) -> Any:
    examples = {"boolean": True, "integer": 1, "duration": "1s", "map": {}, "map to list of text": {"x": ["x"]}}
    return ["x"] if type_name.startswith("list") else examples.get(type_name, "x")


def _stops(path: str, value: Any) -> bool:
    """Whether a configuration that sets `path` is refused."""
    document = json.loads(json.dumps(BASE))
    if path.startswith("storage.") and path.split(".")[1] in DRIVERS:
        document["storage"] = {}
    _set(document, re.findall(r"\[\]|[^.\[\]]+", path.replace("<name>", "storage")), value)
    if path.startswith("http.tls.") and "letsencrypt" not in path:  # these have an effect only together
        document["http"]["tls"] = {"certificate": "c", "key": "k", "clientcas": ["a"]} | document["http"]["tls"]
    # JSON is YAML. What is said of a key by its name alone is not of interest: only that the start stops.
    return bool(unsupported(parse(json.dumps(document), path, {}).configuration))


def _set(node: Any, steps: list[str], value: Any) -> None:
    step, *rest = steps
    key: Any = 0 if step == "[]" else step
    if step == "[]" and not node:
        node.append(None)
    if not rest:
        node[key] = value
        return
    empty: Any = [] if rest[0] == "[]" else {}
    if isinstance(node, dict):
        node.setdefault(key, empty)
    elif node[key] is None:
        node[key] = empty
    _set(node[key], rest, value)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "more than one"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _tables() -> str:
    parts = []
    for section, rows in itertools.groupby(all_keys(), key=lambda key: key.path.partition(".")[0]):
        title, intro = INTRODUCTIONS.get(section, ("", ""))
        if title:
            parts.append(f"### {title}\n\n" + (f"{textwrap.fill(intro, 115)}\n\n" if intro else "") + _HEAD)
        parts[-1] += "".join(map(_row, rows))
    return "\n".join(parts)


_HEAD = "| key | type | default | allowed | what it does | this version |\n|---|---|---|---|---|---|\n"


def _row(key: Key) -> str:
    allowed = ALLOWED.get(key.path) or ", ".join(f"`{word}`" for word in key.words)
    text = TEXTS[key.path] + "".join(f" Older spelling: `{name}`." for name in key.older)
    cells = (f"`{key.path}`", key.type, key.default, allowed, text, honoured(key.path, key.words, key.type))
    return "| " + " | ".join(cells).replace("|  |", "| |").replace("|  |", "| |") + " |\n"


def _segment_table() -> str:
    rows = "".join(f"| `{key}` | `{segment}` |\n" for key, segment in segments())
    return f"| key | segment, beside its own |\n|---|---|\n{rows}"


def _replace(page: str, name: str, text: str) -> str:
    start, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n{text}\n{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")
