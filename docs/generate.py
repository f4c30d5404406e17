"""Writes `docs/spec/api.md`, and the tables of `docs/configuration.md` from the models: `python docs/generate.py`.

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

from lading.commands import templates
from lading.config.differences import BETTER, NO_EFFECT
from lading.config.kinds import Kind, Leaf, MapOf
from lading.config.load import PARAMETERS, parse
from lading.config.models.configuration import Configuration
from lading.config.models.section import Option, Section, Segment, bare, options_of
from lading.config.options import CONTROLLERS, DRIVERS, SECRETS
from lading.config.problems import dotted
from lading.config.scalars import format_duration
from lading.config.schema import STORAGE_SECTIONS
from lading.config.supported import unsupported
from lading.config.texts import TEXTS

PAGE = Path(__file__).with_name("configuration.md")
API_PAGE, API_TEMPLATE = (Path(__file__).parent / "spec" / name for name in ("api.md", "api.md.jinja"))

BASE = {"version": "0.1", "storage": {"inmemory": {}}, "http": {"addr": ":5000"}}
REFUSED = "refused because "
ORIGINAL = "as the original"
OWN = "Lading's own"

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
    "access": (
        "access and tokenservice",
        "Lading's own; Distribution passes them over. [Authorization](auth.md) explains them.",
    ),
    "middleware": ("middleware", "`<name>` is `registry`, `repository` or `storage`."),
    "http": ("http", "[Operations](operations.md) says more about TLS, proxies and stopping."),
    "notifications": ("notifications", "[Notifications](notifications.md) explains them."),
    "redis": ("redis", "[The page about redis](redis.md) says what it is used for."),
    "health": ("health", "A threshold counts failures in a row."),
    "catalog": ("catalog and tags", ""),
    "proxy": (
        "proxy and upstreams",
        "[Pulling through](pull-through.md) explains them. `upstreams` is Lading's.",
    ),
    "validation": ("validation", "Checks of pushed manifests."),
    "policy": ("policy", ""),
    "retention": ("retention and immutable", "Lading's own. [Retention](retention.md) explains them."),
}
"""Title and first words of the tables, by the first step of their keys. What has none joins the table before."""

ALLOWED = {
    "version": "`0.1`",
    "log.formatter": "`text`, `json`, `logstash`",
    "log.hooks[].type": "`mail`",
    "log.hooks[].levels": "`panic`, `fatal`, `error`, `warn`, `info`, `debug`",
    "storage.filesystem.maxthreads": "integer, or one in quotes",
    "storage.cache.blobdescriptor": "`inmemory`, `redis`",
    "storage.tag.concurrencylimit": "0 or more",
    "storage.maintenance.garbagecollection.rate": "1 or more",
    "auth": "`none`, or one of the types below",
    "access.rules[].actions": "`pull`, `push`, `delete`, `*`",
    "tokenservice.path": "starts with `/`",
    "tokenservice.expiry": "a minute or more",
    "http.addr": "`host:port`, or a path",
    "http.host": "URL",
    "http.prefix": "starts with `/`",
    "http.socketmode": "octal",
    "http.trustedproxies": "CIDR, addresses, `unix`",
    "http.tls.ciphersuites": "names of Go",
    "validation.manifests.urls.allow": "regular expressions",
    "validation.manifests.urls.deny": "regular expressions",
    "tags.maxtags": "0 or more",
    "proxy.remoteurl": "URL",
    "proxy.maxbytes": "0 or more",
    "upstreams[].remoteurl": "URL",
    "upstreams[].maxbytes": "0 or more",
    "upstreams[].allow": "`*`, `**`",
    "upstreams[].deny": "`*`, `**`",
    "upstreams[].private": "`*`, `**`",
    "policy.repository.classes": "`image`, `plugin`",
    "immutable[].repositories": "`*`, `**`",
    "immutable[].tags": "`*`",
    "retention.rules[].repositories": "`*`, `**`",
    "retention.rules[].tags": "`*`",
    "retention.rules[].last": "1 or more",
    "retention.rules[].pushedwithin": "more than 0",
    "retention.rules[].pulledwithin": "more than 0",
}
"""Where the models take any text."""

PROBES: dict[str, list[Any]] = {
    "version": ["0.1"],
    "log.formatter": ["text", "json", "logstash"],
    "log.hooks[].disabled": [True, False],
    "log.hooks[].type": ["mail"],
    "log.hooks[].levels": [["error"]],
    "log.hooks[].options.smtp.addr": ["mail.example:25"],
    "storage.cache.blobdescriptor": ["inmemory", "redis"],
    "storage.maintenance.garbagecollection.quarantine": ["168h"],
    "auth": ["none"],
    "auth.silly": [{}],
    "access.rules[].actions": [["pull"]],
    "tokenservice.path": ["/token"],
    "tokenservice.workloads[].rules[].claims": [{"sub": "x"}],
    "middleware.<name>[].disabled": [True, False],
    "http.addr": [":5000"],
    "http.prefix": ["/x"],
    "http.socketmode": [0o660],
    "http.trustedproxies": [["10.0.0.0/8"]],
    "http.tls.ciphersuites": [["TLS_RSA_WITH_AES_128_CBC_SHA"]],
    "notifications.endpoints[].disabled": [True, False],
    "notifications.endpoints[].url": ["http://x"],
    "redis.addrs": [["x"]],
    "http.debug.addr": [":5001"],
    "http.debug.prometheus.path": ["/metrics"],
    "health.http[].uri": ["http://x"],
    "health.tcp[].addr": ["x:1"],
    "upstreams[].name": ["x"],
    "upstreams[].remoteurl": ["http://x"],
    "upstreams[].private": [["x/y"]],
    "immutable[].repositories": [["x/*"]],
    "retention.rules[].repositories": [["x/*"]],
    "health.storagedriver.enabled": [True],
}
"""Values to try where the type alone does not say which are good."""

SINCE = {
    "tags.maxtags": "3.1",
    "http.tls.clientauth": "3.1",
    "storage.s3.usefipsendpoint": "3.1",
    "storage.s3.redirectendpoint": "3.1",
    "storage.s3.sessiontoken": "Lading",
    "storage.s3.equalparts": "Lading",
    "storage.azure.max_retries": "3.1",
    "storage.azure.retry_delay": "3.1",
    "storage.azure.skipverify": "3.1",
    "proxy.exec.": "3.1",
    "proxy.interval": "Lading",
    "proxy.misses": "Lading",
    "proxy.maxbytes": "Lading",
    "upstreams[]": "Lading",
    "proxy.cachewritetimeout": "3.1",
    "redis.tls.rootcas": "3.1",
    "redis.tls.enabled": "Lading",
    "http.socketmode": "Lading",
    "http.trustedproxies": "Lading",
    "access.": "Lading",
    "notifications.endpoints[].secret": "Lading",
    "notifications.endpoints[].format": "Lading",
    "notifications.endpoints[].redis.": "Lading",
    "notifications.endpoints[].batch.": "Lading",
    "notifications.endpoints[].maxattempts": "Lading",
    "notifications.journal.": "Lading",
    "tokenservice.": "Lading",
    "immutable[]": "Lading",
    "retention.": "Lading",
    "storage.frostfs": "fork",
}
"""What has these keys first; of others, the v3 of mid-2024. A dot at the end stands for all below."""

OLDER_OPTIONS = {
    "storage.azure.copy_status_poll_max_retry": "storage.azure.max_retries",
    "storage.azure.copy_status_poll_delay": "storage.azure.retry_delay",
}
"""Spellings of the v3 of mid-2024, and what they are now."""

OPTION_DEFAULTS = {
    "storage.s3.secure": "`true`",
    "storage.s3.v4auth": "`true`",
    "storage.s3.chunksize": "`10485760`",
    "storage.s3.multipartcopychunksize": "`33554432`",
    "storage.s3.multipartcopymaxconcurrency": "`100`",
    "storage.s3.multipartcopythresholdsize": "`33554432`",
    "storage.s3.storageclass": "`STANDARD`",
    "storage.s3.objectacl": "`private`",
    "storage.azure.realm": "`core.windows.net`",
    "storage.azure.max_retries": "`5`",
    "storage.azure.retry_delay": "`100ms`",
    "storage.gcs.chunksize": "`16777216`",
    "storage.gcs.maxconcurrency": "`50`",
    "storage.frostfs.connection_timeout": "`4s`",
    "storage.frostfs.request_timeout": "`4s`",
    "storage.frostfs.rebalance_interval": "`20s`",
    "storage.frostfs.session_expiration_duration": "`100`",
    "auth.token.autoredirectpath": "`/auth/token`",
}
"""Of options of drivers and controllers, which no model knows yet."""


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
            for controller, kind in CONTROLLERS.items():
                yield Key(f"auth.{controller}", "map", "")
                yield from _options(kind, f"auth.{controller}")
        else:
            yield from _field(option, "")


def segments() -> Iterator[tuple[str, str]]:
    """Keys whose segment in names of variables is another than the key, with that segment."""
    yield from _segments(Configuration, "")


def render(page: str) -> str:
    """The page with its generated parts made anew."""
    return _replace(_replace(page, "keys", _tables()), "segments", _segment_table())


NEEDED = {
    "s3": {"region": "x", "bucket": "x"},
    "s3aws": {"region": "x", "bucket": "x"},
    "azure": {"accountname": "x", "container": "x"},
    "gcs": {"bucket": "x"},
}
"""What drivers do not go without."""
NAMED_CHECKS = {"file": {"file": "x"}, "http": {"uri": "http://x"}, "tcp": {"addr": "x:1"}}
"""What a health check does not go without."""


def _parent(path: str) -> str:
    """The driver or controller that `path` is an option of, "" if it is of none."""
    section, name, *rest = [*path.split("."), ""]
    known = {"storage": DRIVERS, "auth": CONTROLLERS}.get(section, {})
    return f"{section}.{name}" if rest and rest[0] and name in known and name not in PARAMETERS else ""


def honoured(path: str, words: Sequence[str], type_name: str) -> str:
    """What this version does with a key that is set."""
    parent = _parent(path)  # its options are looked at all together, when it is built
    at, values = (parent, [{}]) if parent else (path, PROBES.get(path) or words or [_example(type_name)])
    reasons = {_shown(value): reason for value in values if (reason := _refusal(at, value))}
    if reasons:
        reason = f"{REFUSED}{next(iter(reasons.values()))}"
        return reason if len(reasons) == len(values) else f"{', '.join(reasons)} {reason}"
    if path in NO_EFFECT:
        return "no effect"
    if path in BETTER:
        return f"better: {BETTER[path]}"
    return OWN if since(path) == "Lading" else ORIGINAL


def since(path: str) -> str:
    """Which version of the original has the key first."""
    return next(
        (word for key, word in SINCE.items() if path == key or path.startswith(key.rstrip(".") + ".")), "2024"
    )


def _drivers() -> Iterator[Key]:
    for driver in DRIVERS:
        if driver in PARAMETERS:
            yield from _section(PARAMETERS[driver], f"storage.{driver}.")
        else:
            yield Key(f"storage.{driver}", "map", "")
            if driver != "s3aws":  # the same as s3
                yield from _options(DRIVERS[driver], f"storage.{driver}")


def _options(kind: Kind, path: str) -> Iterator[Key]:
    """Options of drivers and controllers, which are checked when these are built."""
    if not isinstance(kind, MapOf):
        return
    for name, below in kind.fixed.items():
        if isinstance(below, MapOf):
            yield from _options(below, f"{path}.{name}")
        elif f"{path}.{name}" not in OLDER_OPTIONS:
            older = tuple(old.rpartition(".")[2] for old, new in OLDER_OPTIONS.items() if new == f"{path}.{name}")
            secret = " (secret)" if name in SECRETS else ""
            default = OPTION_DEFAULTS.get(f"{path}.{name}", "")
            yield Key(
                f"{path}.{name}", f"{'text' if below is Leaf.TEXT else 'anything'}{secret}", default, (), older
            )
    if isinstance(kind.item, MapOf):
        yield from _options(kind.item, f"{path}.<name>")


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


def _refusal(path: str, value: Any) -> str:
    """Why a configuration that sets `path` is refused, "" if it is not."""
    document = json.loads(json.dumps(BASE))
    if path.startswith("storage.") and path.split(".")[1] in DRIVERS:
        document["storage"] = {}
    _set(document, re.findall(r"\[\]|[^.\[\]]+", path.replace("<name>", "storage")), value)
    if path == "storage.delete.repositories":  # beside the other deletes alone
        document["storage"]["delete"]["enabled"] = True
    for driver in NEEDED.keys() & document["storage"].keys():
        document["storage"][driver] = NEEDED[driver] | document["storage"][driver]
    if path.startswith("access."):  # of no effect where nobody signs in
        document["tokenservice"] = {"issuer": "x"}
    if path.startswith("http.tls.") and "letsencrypt" not in path:  # these have an effect only together
        document["http"]["tls"] = {"certificate": "c", "key": "k", "clientcas": ["a"]} | document["http"]["tls"]
    for check in NAMED_CHECKS.keys() & document.get("health", {}).keys():
        document["health"][check] = [NAMED_CHECKS[check] | document["health"][check][0]]
    for hook in document.get("log", {}).get("hooks", []):
        given = hook.get("options", {})
        smtp = {"addr": "x:25"} | given.get("smtp", {})
        hook.setdefault("type", "mail")
        hook.setdefault("levels", ["error"])
        hook["options"] = {"from": "x", "to": ["x"]} | given | {"smtp": smtp}
    given = document.get("upstreams", [])
    document["upstreams"] = [{"name": "x", "remoteurl": "http://x"} | upstream for upstream in given]
    notifications = document.get("notifications", {})
    if "endpoints" in notifications:
        [given] = notifications["endpoints"]
        needed = {"name": "x", "redis": {"stream": "x"}} if "redis" in given else {"url": "http://x"}
        notifications["endpoints"] = [needed | given | {"redis": needed.get("redis", {}) | given.get("redis", {})}]
        document["redis"] = {"addrs": ["x:1"]}
    # JSON is YAML. What is said of a key by its name alone is not of interest: only that the start stops.
    refused = unsupported(parse(json.dumps(document), path, {}).configuration)
    lines = [f"{dotted(at)}: {what}" for at, what in refused]
    what = lines[0].partition(": ")[2] if lines else ""
    return what.partition(" (this version")[0]


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


_HEAD = "| key | type | default | allowed | what it does | since | this version |\n|---|---|---|---|---|---|---|\n"


def _row(key: Key) -> str:
    allowed = ALLOWED.get(key.path) or ", ".join(f"`{word}`" for word in key.words)
    text = TEXTS[key.path] + "".join(f" Older spelling: `{name}`." for name in key.older)
    verdict = honoured(key.path, key.words, key.type)
    cells = (f"`{key.path}`", key.type, key.default, allowed, text, since(key.path), verdict)
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
    API_PAGE.write_text(templates.render(API_TEMPLATE.read_text("utf-8")), "utf-8")
