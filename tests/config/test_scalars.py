from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.fuzzing import thorough

from lading.config.scalars import format_duration, parse_duration, parse_integer, resolve


@pytest.mark.parametrize("text", ["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
def test_true(text):
    assert resolve(text) is True


@pytest.mark.parametrize("text", ["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"])
def test_false(text):
    assert resolve(text) is False


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL"])
def test_null(text):
    assert resolve(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-0", 0),
        ("12", 12),
        ("+12", 12),
        ("-12", -12),
        ("1_000", 1000),
        ("0x1F", 31),
        ("-0x10", -16),
        ("0b101", 5),
        ("0o17", 15),
        ("0123", 83),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
    ],
)
def test_integers(text, value):
    resolved = resolve(text)
    assert (resolved, type(resolved)) == (value, int)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1e3", -1000.0),
        ("089", 89.0),
        ("18446744073709551616", 2.0**64),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
    ],
)
def test_floats(text, value):
    resolved = resolve(text)
    assert (resolved, type(resolved)) == (value, float)


def test_not_a_number():
    assert math.isnan(resolve(".NaN"))


@pytest.mark.parametrize(
    "text",
    ["tRUE", "1:30", "2024-01-02", "2024-01-02T03:04:05Z", "_1", "0x", "0b2", "1e999", "nan", "-", ".", "+x"],
)
def test_everything_else_is_text(text):
    assert resolve(text) == text


@thorough(60)
@given(st.text())
def test_resolving_never_fails(text):
    assert isinstance(resolve(text), str | int | float | None)


@thorough(60)
@given(st.from_regex(re.compile(r"[-+]?0?[xXbBoO]?[0-9a-f_]{0,200}"), fullmatch=True))
def test_numbers_of_any_length(text):
    assert isinstance(resolve(text), str | int | float | None)
    assert isinstance(parse_integer(text), int | None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("300ms", 0.3),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("-2m", -120),
        ("+5s", 5),
        ("10us", 1e-5),
        ("10µs", 1e-5),
        ("10μs", 1e-5),
        ("1ns", 1e-9),
        ("168h", 604800),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "5d", "1h30", "h1", "--5s", ".s", "1.2.3s", "5S", "3000000h", "9" * 99 + "s"]
)
def test_not_durations(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@thorough(60)
@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_durations_are_written_as_they_are_read(nanoseconds):
    seconds = nanoseconds * 1e-9
    assert parse_duration(format_duration(seconds)) == seconds
