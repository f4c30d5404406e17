"""The types fields are made of. Each takes a `Scalar` of the tree, and a plain Python value from code."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args

from lading.config.models.section import HIDDEN, Reads, without_nulls
from lading.config.scalars import NANOSECOND, parse_duration
from lading.config.yaml import Scalar

T = TypeVar("T")


def resolved(data: object) -> object:
    """The plain value of a field without a type: text stays text only where it was quoted or reads as such."""
    match data:
        case Scalar():
            return data.value
        case dict():
            return {key: resolved(value) for key, value in data.items()}
        case list():
            return [resolved(item) for item in data]
    return data


def shown(data: object) -> str:
    """What stands where something else belongs. Only for fields that never hold a secret."""
    match data:
        case Scalar():
            return f'"{data.text}"' if len(data.text) <= 10 else f'"{data.text[:7]}..."'
        case dict():
            return "a mapping"
        case list():
            return "a list"
    return repr(data)


def _text(data: object) -> str:
    match data:
        case Scalar():
            return "" if data.value is None else data.text
        case str():
            return data
        case dict() | list():
            raise ValueError(f"must be text, not {shown(data)}")
    raise ValueError("must be text")


def value_of(data: object) -> object:
    return data.value if isinstance(data, Scalar) else data


def _flag(data: object) -> bool:
    value = value_of(data)
    if isinstance(value, bool):
        return value
    hint = " (without quotes)" if isinstance(value, str) and value.lower() in ("true", "false") else ""
    raise ValueError(f"must be true or false{hint}, not {shown(data)}")


def _integer(data: object) -> int:
    value = value_of(data)
    if isinstance(value, int | float) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return int(value)
    raise ValueError(f"must be a whole number, not {shown(data)}")


def _duration(data: object) -> float:
    if not isinstance(data, Scalar):
        if isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data):
            return float(data)
        raise ValueError(f"must be a duration, not {shown(data)}")
    value = data.value
    if isinstance(value, int | float) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return int(value) * NANOSECOND
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"{shown(data)} is {error}; a bare number counts nanoseconds") from None


class AnyCase(Reads):
    """Of the words of a `Literal`, in any case."""


def one_of(words: object, otherwise: str, *, empty: str | None = None, fold: bool = False) -> Reads:
    """One of the words of a `Literal`; "" is `empty`, if given. `otherwise` complains, of `<x>`."""
    allowed = get_args(words)

    def check(data: object) -> str:
        text = _text(data)
        word = text.lower() if fold else text
        if not word and empty is not None:
            return empty
        if word not in allowed:
            raise ValueError(otherwise.replace("<x>", text))
        return word

    return AnyCase(check) if fold else Reads(check)


def positive_or(default: float) -> Callable[[float], float]:
    return lambda value: value if value > 0 else default


def nonzero_or(default: float) -> Callable[[float], float]:
    return lambda value: value or default


Text = Annotated[str, Reads(_text)]
Secret = Annotated[str, Reads(_text), HIDDEN]
Flag = Annotated[bool, Reads(_flag)]
Integer = Annotated[int, Reads(_integer)]
Duration = Annotated[float, Reads(_duration)]
"""Seconds. Read from a Go duration, or from a bare number of nanoseconds; from code, a number of seconds."""
Untyped = Annotated[Any, Reads(resolved)]
Lists = Annotated[dict[str, list[T]], Reads(without_nulls)]
