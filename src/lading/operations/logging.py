"""The operational log on standard error, in the original's formats: `text` (logfmt) or `json`."""

from __future__ import annotations

import datetime
import json
import logging
import re
from collections.abc import Mapping

_PLAIN = re.compile(r"[A-Za-z0-9._/@^+\-]*", re.ASCII)
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


class TextFormatter(logging.Formatter):
    """`time="…" level=info msg="…" key=value …`, keys sorted."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        super().__init__()
        self._fields = "".join(f" {key}={_quote(_text(fields[key]))}" for key in sorted(fields))

    def format(self, record: logging.LogRecord) -> str:
        line = f'time="{_time(record)}" level={_level(record)} msg={_quote(_message(self, record))}'
        return line + self._fields


class JsonFormatter(logging.Formatter):
    """One object a line, keys sorted."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        super().__init__()
        self._fields = dict(fields)

    def format(self, record: logging.LogRecord) -> str:
        entry = {"level": _level(record), "msg": _message(self, record), "time": _time(record)}
        return json.dumps({**self._fields, **entry}, sort_keys=True, ensure_ascii=False, default=str)


_FORMATTERS = {"text": TextFormatter, "json": JsonFormatter}


def configure(level: str, formatter: str, fields: Mapping[str, object]) -> None:
    """Everything that is logged in this process goes to standard error from here on."""
    handler = logging.StreamHandler()
    handler.setFormatter(_FORMATTERS[formatter](fields))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    message = record.getMessage()
    return f"{message}\n{formatter.formatException(record.exc_info)}" if record.exc_info else message


def _level(record: logging.LogRecord) -> str:
    return record.levelname.lower()


def _time(record: logging.LogRecord) -> str:
    return datetime.datetime.fromtimestamp(record.created).astimezone().isoformat()


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _quote(text: str) -> str:
    if text and _PLAIN.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=False)
