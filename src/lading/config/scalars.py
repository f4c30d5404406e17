"""What the texts of a YAML document stand for: the YAML 1.1 resolver of the original, and Go's durations."""

from __future__ import annotations

import math
import re
from decimal import Decimal

Value = str | int | float | bool | None

NANOSECOND = 1e-9

_WORDS: dict[str, Value] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INTEGER = re.compile(
    r"([-+]?)(?:0[xX](?P<x>[0-9a-fA-F]+)|0[bB](?P<b>[01]+)|0[oO]?(?P<o>[0-7]+)|(?P<d>0|[1-9][0-9]*))"
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASES = {"x": 16, "b": 2, "o": 8, "d": 10}
_MAX_DIGITS = 70  # 64 bits written in binary, and some; int() is slow, then refuses, on thousands

_SECONDS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),  # U+00B5, the micro sign
    "μs": Decimal("1e-6"),  # U+03BC, the Greek letter
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_LONGEST_DURATION = Decimal(2**63) * Decimal("1e-9")


def resolve(text: str) -> Value:
    """The value of a plain scalar. What looks like a date stays text; there are no base-60 numbers."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    integer = parse_integer(digits)
    if integer is not None and -(2**63) <= integer < 2**64:
        return integer
    if _FLOAT.fullmatch(digits) and math.isfinite(number := float(digits)):
        return number
    return text


def parse_integer(text: str) -> int | None:
    """A whole number as Go writes it (`0x`, `0b`, `0o`, a leading zero for octal), or None."""
    found = _INTEGER.fullmatch(text) if len(text) <= _MAX_DIGITS else None
    if found is None or found.lastgroup is None:
        return None
    return int(found[1] + found[found.lastgroup], _BASES[found.lastgroup])


def parse_duration(text: str) -> float:
    """Seconds, from a Go duration such as `1h30m`, `1.5h` or `-300ms`. Raises `ValueError`."""
    sign, rest = (text[0], text[1:]) if text[:1] in ("-", "+") else ("", text)
    if rest == "0":
        return 0.0
    seconds, position = Decimal(0), 0
    while len(rest) <= _MAX_DIGITS and (found := _DURATION_PART.match(rest, position)):
        seconds += Decimal(found[1]) * _SECONDS[found[2]]
        position = found.end()
    if not rest or position != len(rest) or seconds >= _LONGEST_DURATION:
        raise ValueError("not a duration such as 30s, 1h30m or 300ms")
    return float(-seconds if sign == "-" else seconds)


def format_duration(seconds: float) -> str:
    """The shortest single-unit text that `parse_duration` reads back as the same number."""
    exact = Decimal(repr(seconds))
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count = exact / _SECONDS[unit]
        if count == count.to_integral_value():
            return f"{count:f}".split(".")[0] + unit
    return f"{exact:f}s"
