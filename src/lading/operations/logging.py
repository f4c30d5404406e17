"""The operational log on standard error, in the original's formats: `text` (logfmt), `json` or `logstash`.

Every line carries the fields of the configuration, the version and the instance. Lines that are written while a
request is served carry the request's too: what they cost is paid only then.
"""

from __future__ import annotations

import datetime
import json
import logging
import platform
import re
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lading import __version__
from lading.api.request import Request, current

log = logging.getLogger(__name__)

PANIC = "panic"
"""What the original calls an error of the program, which ends a request and not the process."""

_PLAIN = re.compile(r"[A-Za-z0-9._/@^+\-]*", re.ASCII)
_UNPRINTABLE = re.compile(r'["\\]|[^ -~]')
_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_COLOURS = {"debug": 37, "info": 36, "warning": 33, "error": 31, PANIC: 31}
_ITEMS = {"blob": "digest", "referrers": "digest", "manifest": "reference", "blob_upload_chunk": "uuid"}

Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class Settings:
    """`level` and `formatter` are the configuration's words. `caller` adds the place in the code."""

    level: str = "info"
    formatter: str = "text"
    fields: Mapping[str, object] = field(default_factory=dict)
    caller: bool = False
    colour: bool = True
    """On a terminal only."""


def configure(settings: Settings) -> None:
    """Everything that is logged in this process, and in those it forks, goes to standard error from here on."""
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(settings))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[settings.level])
    # Tells nothing of the registry.
    logging.getLogger("asyncio").setLevel(max(root.level, logging.INFO))


def _formatter(settings: Settings) -> logging.Formatter:
    if settings.formatter == "text" and sys.stderr.isatty():
        return TerminalFormatter(settings.fields, caller=settings.caller, colour=settings.colour)
    return FORMATTERS[settings.formatter]({**_identity(), **settings.fields}, caller=settings.caller)


def _identity() -> Fields:
    return {
        "instance.id": str(uuid.uuid4()),
        "python.version": platform.python_version(),
        "version": __version__,
    }


class _Formatter(logging.Formatter):
    """What the formats have in common. `fields` are those of every line."""

    RESERVED = frozenset({"time", "level", "msg"})

    def __init__(self, fields: Mapping[str, object], *, caller: bool = False) -> None:
        super().__init__()
        self._caller = caller
        self._reserved = self.RESERVED | ({"func", "file"} if caller else set())
        self._fields = self._renamed(fields)

    def fields(self, record: logging.LogRecord) -> Fields:
        request = current.get()
        own: Mapping[str, object] = getattr(record, "fields", {})
        if request is None and not own:
            return self._fields
        return self._fields | self._renamed({**(request_fields(request) if request else {}), **own})

    def caller(self, record: logging.LogRecord) -> Fields:
        if not self._caller:
            return {}
        return {"func": f"{record.module}.{record.funcName}", "file": f"{record.pathname}:{record.lineno}"}

    def message(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        return f"{message}\n{self.formatException(record.exc_info)}" if record.exc_info else message

    def _renamed(self, fields: Mapping[str, object]) -> Fields:
        return {f"fields.{k}" if k in self._reserved else k: value for k, value in fields.items()}


class TextFormatter(_Formatter):
    """`time="…" level=info msg="…" key=value …`, keys sorted."""

    def format(self, record: logging.LogRecord) -> str:
        message = self.message(record)
        first: Fields = {"level": level_of(record)}
        if message:
            first["msg"] = message
        first |= self.caller(record)
        pairs = [f"{key}={_quote(value)}" for key, value in first.items()]
        pairs += [f"{key}={_quote(value)}" for key, value in sorted(self.fields(record).items())]
        return f'time="{_time(record)}" ' + " ".join(pairs)


class TerminalFormatter(_Formatter):
    """For people: the level, the seconds since the start, the message, then what is not said every time."""

    def __init__(self, fields: Mapping[str, object], *, caller: bool = False, colour: bool = True) -> None:
        super().__init__(fields, caller=caller)
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = level_of(record)
        paint = (lambda text: f"\x1b[{_COLOURS[level]}m{text}\x1b[0m") if self._colour else str
        caller = "".join(f" {value}" for value in self.caller(record).values())
        fields = [f" {paint(key)}={_quote(value)}" for key, value in sorted(self.fields(record).items())]
        seconds = int(record.relativeCreated / 1000)
        message = self.message(record)
        return f"{paint(level.upper()[:4])}[{seconds:04}]{caller} {message:<44} {''.join(fields)}".rstrip()


class JsonFormatter(_Formatter):
    """One object a line, keys sorted."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {"level": level_of(record), "msg": self.message(record), "time": _time(record)}
        return _json({**self.fields(record), **self.caller(record), **entry})


class LogstashFormatter(_Formatter):
    """As Logstash wants it, keys sorted. The original means to, and writes those of `json`."""

    RESERVED = frozenset({"@timestamp", "@version", "message", "level", "type"})

    def format(self, record: logging.LogRecord) -> str:
        caller = {"function" if key == "func" else key: value for key, value in self.caller(record).items()}
        entry = {
            "@timestamp": _time(record),
            "@version": "1",
            "level": level_of(record),
            "message": self.message(record),
            "type": "log",
        }
        text = _json({**self.fields(record), **caller, **entry})
        for character, escape in _HTML.items():
            text = text.replace(character, escape)
        return text


FORMATTERS: Mapping[str, Callable[..., _Formatter]] = {
    "text": TextFormatter,
    "json": JsonFormatter,
    "logstash": LogstashFormatter,
}


def level_of(record: logging.LogRecord) -> str:
    return PANIC if record.levelno >= logging.CRITICAL else record.levelname.lower()


def request_fields(request: Request) -> Fields:
    """Those that the request has. It is given its id when somebody first asks for it."""
    request.id = request.id or str(uuid.uuid4())
    query = f"?{request.query}" if request.scope["query_string"] else ""
    found: Fields = {
        "http.request.id": request.id,
        "http.request.method": request.method,
        "http.request.host": _header(request, b"host"),
        "http.request.uri": request.path + query,
        "http.request.referer": _header(request, b"referer"),
        "http.request.useragent": _header(request, b"user-agent"),
        "http.request.remoteaddr": _remote_address(request),
        "http.request.contenttype": _header(request, b"content-type"),
        "auth.user.name": request.identity.user,
    }
    if request.route is not None:
        found["vars.name"] = request.route.name
        found[f"vars.{_ITEMS.get(request.route.endpoint.value, 'item')}"] = request.route.item
    return {key: value for key, value in found.items() if value}


def _header(request: Request, name: bytes) -> str:
    """Bytes beyond ASCII are taken for UTF-8, which they are in practice."""
    return (request.header(name) or "").encode("latin-1").decode("utf-8", "replace")


def _remote_address(request: Request) -> str:
    """Whom a proxy names, or else the socket's peer."""
    forwarded = request.header(b"x-forwarded-for") or request.header(b"x-real-ip")
    if forwarded:
        return forwarded.partition(",")[0].strip()
    client = request.scope.get("client")
    if not client:
        return ""
    host, port = client
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _time(record: logging.LogRecord) -> str:
    """RFC 3339, without zeros at the end of the fraction."""
    text = datetime.datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="microseconds")
    head, dot, rest = text.partition(".")
    fraction = rest[:6].rstrip("0")
    return f"{head}{dot if fraction else ''}{fraction}{rest[6:].replace('+00:00', 'Z')}"


def _json(entry: Fields) -> str:
    return json.dumps(entry, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)


def _quote(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if _PLAIN.fullmatch(text):
        return text
    return f'"{_UNPRINTABLE.sub(lambda match: _escaped(match[0]), text)}"'


def _escaped(character: str) -> str:
    """As Go quotes it."""
    if character in '"\\':
        return f"\\{character}"
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if character.isprintable() and not 0xD800 <= code < 0xE000:
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
