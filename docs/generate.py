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
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from lading.config.load import PARAMETERS, parse
from lading.config.models.configuration import Configuration
from lading.config.models.values import Section, Segment
from lading.config.options import CONTROLLERS, DRIVERS
from lading.config.scalars import format_duration
from lading.config.schema import STORAGE_SECTIONS
from lading.config.supported import unsupported

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
    "access": (
        "access and tokenservice",
        "Lading's own; Distribution passes them over. [Authorization](auth.md) explains them.",
    ),
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

TEXTS = {
    "version": "Version of the format, not of the program. The file must say it; no variable can stand in.",
    "log.accesslog.disabled": "No access log.",
    "log.level": "Least level that is logged. Any case.",
    "log.formatter": "Form of the log's lines.",
    "log.fields": "Fields added to every line of the log, as text.",
    "log.hooks[].disabled": "This hook is not there.",
    "log.hooks[].type": "`mail` sends log entries by mail.",
    "log.hooks[].levels": "Levels that are mailed.",
    "log.hooks[].options.smtp.addr": "Mail server, `host:port`.",
    "log.hooks[].options.smtp.username": "User at the mail server.",
    "log.hooks[].options.smtp.password": "That user's password.",
    "log.hooks[].options.smtp.insecure": "Do not check the mail server's certificate.",
    "log.hooks[].options.from": "Sender.",
    "log.hooks[].options.to": "Recipients.",
    "log.reportcaller": "Log the place in the code, too.",
    "loglevel": "Older key for `log.level`, which wins.",
    "storage.inmemory": "Driver: content in memory, gone at the end. No parameters.",
    "storage.filesystem.rootdirectory": "Driver: content below this directory. A relative path starts at the "
    "working directory.",
    "storage.filesystem.maxthreads": "Calls that wait for the disk at a time, in a process. Less than 25 is 25.",
    "storage.s3": "Driver: Amazon S3 and what speaks its protocol.",
    "storage.s3aws": "Another name of `s3`.",
    "storage.azure": "Driver: Azure Blob Storage.",
    "storage.gcs": "Driver: Google Cloud Storage.",
    "storage.frostfs": "Driver: FrostFS.",
    "storage.cache.blobdescriptor": "Cache of sizes and types of blobs. Lading asks the storage instead: "
    "`inmemory` changes nothing. Another word warns.",
    "storage.cache.blobdescriptorsize": "Entries of the `inmemory` cache.",
    "storage.delete.enabled": "Clients may delete blobs, manifests and tags. Only a real `true` enables; anything "
    "else but `false` warns.",
    "storage.redirect.disable": "Serve all content itself. The drivers of this version never redirect. "
    "Required where the section is.",
    "storage.tag.concurrencylimit": "Tag links read at a time to find the tags of a digest. 0 is one per CPU.",
    "storage.maintenance.uploadpurging.enabled": "Remove stale uploads. Only a real `false` turns it off.",
    "storage.maintenance.uploadpurging.age": "Uploads that began longer ago are removed. Needs a unit.",
    "storage.maintenance.uploadpurging.interval": "Time between two runs. Needs a unit.",
    "storage.maintenance.uploadpurging.dryrun": "Count them only.",
    "storage.maintenance.readonly.enabled": "Refuse all writes with 405.",
    "auth": "Who may do what.",
    "auth.silly": "Type for tests: any `Authorization` header will do.",
    "auth.htpasswd": "Type: Basic authentication with a password file.",
    "auth.token": "Type: Bearer tokens of a token server.",
    "access.rules[].repositories": "Patterns of the repositories the rule is for.",
    "access.rules[].actions": "What it allows there.",
    "access.rules[].who": "Users, `@` and a group, `authenticated` for all who sign in, `anonymous` for everyone.",
    "access.groups": "Groups and the users in them.",
    "access.readonly": "Users, or `@` and a group, who may pull and nothing else.",
    "access.robots": "File of the robot accounts, which `lading auth robot` keeps.",
    "tokenservice.issuer": "Turns the token service on: what its tokens call it.",
    "tokenservice.services": "The `service` of each registry that takes the tokens.",
    "tokenservice.path": "Path of the token endpoint; `jwks.json` is beside it.",
    "tokenservice.keys": "Directory for the signing keys, which are made there.",
    "tokenservice.algorithm": "What new keys are for.",
    "tokenservice.rotation": "A new signing key is made after so long.",
    "tokenservice.expiry": "Lifetime of tokens.",
    "tokenservice.refresh": "Lifetime of refresh tokens.",
    "tokenservice.htpasswd": "Password file of the users.",
    "tokenservice.workloads[].name": "Its users are called `<name>+<user>`.",
    "tokenservice.workloads[].issuer": "Issuer of the OIDC tokens.",
    "tokenservice.workloads[].audience": "The audience that they must have.",
    "tokenservice.workloads[].jwks": "The issuer's keys: a URL or a file.",
    "tokenservice.workloads[].rules[].claims": "Claims that must all match; `*` is any text.",
    "tokenservice.workloads[].rules[].user": "Name of the user, made of claims.",
    "tokenservice.workloads[].rules[].groups": "Groups of the user.",
    "middleware.<name>[].name": "What is put around the registry, its repositories or its storage.",
    "middleware.<name>[].disabled": "This one is not there.",
    "middleware.<name>[].options": "Its options.",
    "http.net": "Listen on TCP or on a unix socket.",
    "http.addr": "Where to listen. Required with `tcp`; without a host on every interface.",
    "http.host": "Address of the registry in the URLs it hands out. Without scheme and host it has no effect, and "
    "warns.",
    "http.prefix": "The API is below this path. A slash at the end is taken off.",
    "http.secret": "Signs the URLs of uploads. The same on every registry behind a load balancer; else random at "
    "each start.",
    "http.relativeurls": "Hand out URLs without scheme and host.",
    "http.draintimeout": "Time for requests under way when the registry is stopped. 0 is 5 s.",
    "http.tls.certificate": "File with the certificate and its chain (PEM). Turns TLS on; needs `key`.",
    "http.tls.key": "File with the private key (PEM; PKCS#8 for HTTP/2). Without `certificate` it has no effect, "
    "and warns.",
    "http.tls.clientcas": "File with the authorities for client certificates (PEM). Clients must then have one.",
    "http.tls.clientauth": "What is asked of clients, where `clientcas` is set.",
    "http.tls.minimumtls": "Oldest version of TLS that is spoken.",
    "http.tls.ciphersuites": "Cipher suites of TLS 1.2. With `minimumtls: tls1.3` they have no effect, and warn.",
    "http.tls.letsencrypt.cachefile": "Directory for certificates from Let's Encrypt, despite the name.",
    "http.tls.letsencrypt.email": "Contact address.",
    "http.tls.letsencrypt.hosts": "Names to get certificates for.",
    "http.tls.letsencrypt.directoryurl": "Another authority with the same protocol.",
    "http.headers": "Headers added to every answer of the API, one for each item.",
    "http.debug.addr": "Where the debug listener listens.",
    "http.debug.prometheus.enabled": "Metrics on the debug listener.",
    "http.debug.prometheus.path": "Path of the metrics.",
    "http.http2.disabled": "No HTTP/2 over TLS.",
    "http.h2c.enabled": "HTTP/2 without TLS, beside HTTP/1.1, for clients that know beforehand.",
    "notifications.events.includereferences": "Name the references of a manifest in its event.",
    "notifications.endpoints[].name": "Name of the endpoint.",
    "notifications.endpoints[].disabled": "This one is not there.",
    "notifications.endpoints[].url": "Where events are posted.",
    "notifications.endpoints[].headers": "Headers of the request.",
    "notifications.endpoints[].timeout": "Time for the endpoint to answer.",
    "notifications.endpoints[].threshold": "Failures before it is left alone for a while.",
    "notifications.endpoints[].backoff": "How long it is left alone.",
    "notifications.endpoints[].ignoredmediatypes": "Older key for `ignore.mediatypes`; both count.",
    "notifications.endpoints[].ignore.mediatypes": "Events about these media types are not sent.",
    "notifications.endpoints[].ignore.actions": "Events of these actions are not sent.",
    "redis.addrs": "`host:port` of the servers: one is a single server, several are a cluster.",
    "redis.mastername": "Name of the master: then `addrs` are sentinels.",
    "redis.clientname": "Name of the connections.",
    "redis.db": "Number of the database.",
    "redis.protocol": "Version of the protocol.",
    "redis.username": "User.",
    "redis.password": "That user's password.",
    "redis.sentinelusername": "User at the sentinels.",
    "redis.sentinelpassword": "That user's password.",
    "redis.maxretries": "Tries of a command. 0 is 3, in a cluster none; -1 is none.",
    "redis.minretrybackoff": "Shortest pause between tries.",
    "redis.maxretrybackoff": "Longest pause between tries.",
    "redis.dialtimeout": "Time to connect.",
    "redis.readtimeout": "Time to read an answer.",
    "redis.writetimeout": "Time to write a command. 0 is that of `readtimeout`.",
    "redis.contexttimeoutenabled": "Deadlines of requests count, too.",
    "redis.poolfifo": "Use the connection that has been idle longest.",
    "redis.poolsize": "Connections. 0 is 10 for each CPU, in a cluster 5 for each CPU and node.",
    "redis.pooltimeout": "Time to wait for a connection. 0 is a second more than `readtimeout`.",
    "redis.minidleconns": "Idle connections that are kept at least.",
    "redis.maxidleconns": "Idle connections that are kept at most. 0 is no limit.",
    "redis.maxactiveconns": "Connections at most. 0 is no limit.",
    "redis.connmaxidletime": "Connections idle for longer are closed.",
    "redis.connmaxlifetime": "Connections older than this are closed. 0 is never.",
    "redis.maxredirects": "Redirects followed in a cluster.",
    "redis.readonly": "Read from replicas of a cluster.",
    "redis.routebylatency": "Read from the nearest node of a cluster.",
    "redis.routerandomly": "Read from any node of a cluster.",
    "redis.disableidentity": "Do not tell the server the name of the client library.",
    "redis.identitysuffix": "Added to that name.",
    "redis.unstableresp3": "Features of the protocol that may still change.",
    "redis.tls.enabled": "TLS. Without this key it is on when another of this section is set.",
    "redis.tls.certificate": "File with a client certificate.",
    "redis.tls.key": "File with its private key.",
    "redis.tls.rootcas": "Files with the authorities for the server's certificate.",
    "health.storagedriver.enabled": "Watch the storage.",
    "health.storagedriver.interval": "Time between two checks.",
    "health.storagedriver.threshold": "Failures before the registry is unhealthy.",
    "health.file[].file": "Unhealthy while this file is there.",
    "health.file[].interval": "Time between two checks.",
    "health.file[].threshold": "Failures before the registry is unhealthy.",
    "health.http[].uri": "Unhealthy while this URL does not answer as it should.",
    "health.http[].headers": "Headers of the request.",
    "health.http[].statuscode": "Status that it should answer with.",
    "health.http[].timeout": "Time to answer. 0 is no limit.",
    "health.http[].interval": "Time between two checks.",
    "health.http[].threshold": "Failures before the registry is unhealthy.",
    "health.tcp[].addr": "Unhealthy while `host:port` takes no connection.",
    "health.tcp[].timeout": "Time to connect. 0 is no limit.",
    "health.tcp[].interval": "Time between two checks.",
    "health.tcp[].threshold": "Failures before the registry is unhealthy.",
    "catalog.maxentries": "Most repositories a client may ask for on a page. Without a wish it gets 100, or this "
    "if less. 0 or less is 1000.",
    "tags.maxtags": "Most tags on a page that a client asked for. Without a wish it gets all. 0 is 1000.",
    "proxy.remoteurl": "Registry to pull from: makes this one a cache of it.",
    "proxy.username": "User there.",
    "proxy.password": "That user's password.",
    "proxy.exec.command": "Docker credential helper, instead of user and password.",
    "proxy.exec.lifetime": "How long its answer is good. 0 asks anew for every request, no value never.",
    "proxy.ttl": "How long content is kept. 0 or less is for ever.",
    "proxy.cachewritetimeout": "Time to write a blob into the cache.",
    "validation.enabled": "Older key. Where it is set, `disabled` does not count.",
    "validation.disabled": "Sizes, URLs and the children of indexes are not checked. Blobs must still exist.",
    "validation.manifests.urls.allow": "Patterns of which one must be found in each URL of a layer. Both lists "
    "empty: no URL is allowed.",
    "validation.manifests.urls.deny": "Patterns that must not be found in a URL.",
    "validation.manifests.indexes.platforms": "Which children of an index must exist: all, none, or those of "
    "`platformlist`. Any case.",
    "validation.manifests.indexes.platformlist[].os": "Operating system of a platform. An empty list is all.",
    "validation.manifests.indexes.platformlist[].architecture": "Its architecture.",
    "policy.repository.classes": "Kinds of images that may be pushed. Empty: all.",
}

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
    "access.rules[].actions": "`pull`, `push`, `delete`, `*`",
    "tokenservice.path": "starts with `/`",
    "tokenservice.expiry": "a minute or more",
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
    "auth.silly": [{}],
    "access.rules[].actions": [["pull"]],
    "tokenservice.path": ["/token"],
    "tokenservice.workloads[].rules[].claims": [{"sub": "x"}],
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
    for name, info in Configuration.model_fields.items():
        if name == "storage":
            yield from _drivers()
            for section, model in STORAGE_SECTIONS.items():
                yield from _section(model, f"storage.{section}.")
        elif name == "auth":
            yield Key("auth", "text or map", "`none`")
            yield from (Key(f"auth.{controller}", "map", "") for controller in CONTROLLERS)
        else:
            yield from _field(name, info, "")


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
    for name, info in model.model_fields.items():
        yield from _field(name, info, prefix)


def _field(name: str, info: FieldInfo, prefix: str) -> Iterator[Key]:
    first, *older = _names(name, info)
    path = prefix + first
    annotation = _bare(info.annotation)
    inner, suffix = _innermost(annotation)
    if isinstance(inner, type) and issubclass(inner, Section):
        yield from _section(inner, f"{path}{suffix}.")
        return
    words = tuple(map(str, get_args(inner))) if get_origin(inner) is Literal else ()
    yield Key(path, _type(annotation, secret=not info.repr), _default(info), words, tuple(older))


def _names(name: str, info: FieldInfo) -> list[str]:
    if isinstance(info.validation_alias, AliasChoices):
        return [str(choice) for choice in info.validation_alias.choices]
    return [info.alias or name]


def _bare(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    optional = [argument for argument in get_args(annotation) if argument is not type(None)]
    is_optional = len(optional) == 1 and len(get_args(annotation)) == 2 and get_origin(annotation) is not dict
    return _bare(optional[0]) if is_optional else annotation


def _innermost(annotation: Any) -> tuple[Any, str]:
    """What lists and maps are made of, and how that is written behind a key."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is list:
        inner, suffix = _innermost(_bare(arguments[0]))
        return inner, f"[]{suffix}"
    if origin is dict:
        inner, suffix = _innermost(_bare(arguments[1]))
        return inner, f".<name>{suffix}"
    return annotation, ""


def _type(annotation: Any, *, secret: bool) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "text"
    if origin is list:
        return f"list of {_type(_bare(arguments[0]), secret=False)}"
    if origin is dict:
        inner = _type(_bare(arguments[1]), secret=False)
        return "map" if inner == "anything" else f"map to {inner}"
    if annotation is Any:
        return "anything"
    return _WORDS[annotation] + (" (secret)" if secret and annotation is str else "")


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{format_duration(value) if value else '0s'}`"
    return f"`{value}`"


def _segments(model: type[Section], prefix: str) -> Iterator[tuple[str, str]]:
    for name, info in model.model_fields.items():
        path = prefix + _names(name, info)[0]
        inner, suffix = _innermost(_bare(info.annotation))
        yield from ((path, mark) for mark in info.metadata if isinstance(mark, Segment))
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
    if path.startswith("access."):  # of no effect where nobody signs in
        document["tokenservice"] = {"issuer": "x"}
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
