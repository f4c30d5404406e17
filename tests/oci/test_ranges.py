from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.oci.ranges import (
    MAX_SPANS,
    RangeSyntaxError,
    Span,
    UnsatisfiableRangeError,
    parse_chunk,
    parse_range,
)


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-99", [(0, 100)]),
        ("bytes=10-19", [(10, 20)]),
        ("bytes=90-", [(90, 100)]),
        ("bytes=-1", [(99, 100)]),
        ("bytes=-100", [(0, 100)]),
        ("bytes=-500", [(0, 100)]),
        ("bytes=50-9999999999999999999", [(50, 100)]),
        ("bytes=0-1,50-51", [(0, 2), (50, 52)]),
        ("bytes=50-51, 0-1", [(50, 52), (0, 2)]),
        ("bytes=0-1,,  ,2-3", [(0, 2), (2, 4)]),
        ("bytes = 5-6", [(5, 7)]),
        ("bytes=100-,0-1", [(0, 2)]),
        ("bytes=-0,0-1", [(0, 2)]),
        ("bytes=0-49,50-99", [(0, 50), (50, 100)]),
    ],
)
def test_spans(header: str, spans: list[tuple[int, int]]) -> None:
    assert parse_range(header, 100) == [Span(*span) for span in spans]


@pytest.mark.parametrize("header", ["bytes=0-99,0-0", "bytes=-60,-60", "bytes=0-,0-,0-"])
def test_more_than_everything_is_everything(header: str) -> None:
    assert parse_range(header, 100) == []


@pytest.mark.parametrize("header", ["bytes=0-0", "bytes=5-", "bytes=-5", "bytes=0-0,1-1"])
def test_of_nothing_there_is_no_part(header: str) -> None:
    assert parse_range(header, 0) == []


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=100-,200-300"])
def test_unsatisfiable(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, 100)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=5-4",
        "bytes=--5",
        "bytes=1-2-3",
        "bytes=0x1-0x2",
        "bytes=1 - 2",
        "bytes=+1-2",
        "bytes=1_0-20",
        "bytes=٣-٤",
        "items=0-1",
        "Bytes=0-1",
        "bytes=0-1,5-4",
        "bytes=" + "9" * 20 + "-",
        "bytes=" + "0-0," * (MAX_SPANS + 1),
    ],
)
def test_malformed(header: str) -> None:
    with pytest.raises(RangeSyntaxError):
        parse_range(header, 100)


@given(st.text(), st.integers(0, 2**63))
def test_any_text(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        try:
            spans = parse_range(header, size)
        except (RangeSyntaxError, UnsatisfiableRangeError):
            continue
        assert all(0 <= span.start < span.end <= size for span in spans)


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.integers(0, 1200), st.none() | st.integers(0, 1200)), min_size=1, max_size=8),
)
def test_spans_are_what_was_asked_and_is_there(size: int, asked: list[tuple[int, int | None]]) -> None:
    header = "bytes=" + ",".join(f"{first}-{'' if last is None else last}" for first, last in asked)
    everything = range(size)
    expected = [everything[first : None if last is None else last + 1] for first, last in asked]
    if any(last is not None and last < first for first, last in asked):
        with pytest.raises(RangeSyntaxError):
            parse_range(header, size)
    elif not any(expected):
        with pytest.raises(UnsatisfiableRangeError):
            parse_range(header, size)
    else:
        found = [part for part in expected if part]
        whole = len(found) > 1 and sum(map(len, found)) > size
        spans = parse_range(header, size)
        assert [range(span.start, span.end) for span in spans] == ([] if whole else found)
        assert [span.length for span in spans] == ([] if whole else list(map(len, found)))


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("0-0", (0, 1)),
        ("0-99", (0, 100)),
        ("5-9", (5, 10)),
        (" 5-9 ", (5, 10)),
        ("005-009", (5, 10)),
        ("5-4", (5, 5)),
        ("5-3", (5, 4)),
    ],
)
def test_chunks(header: str, span: tuple[int, int]) -> None:
    """One that ends before it starts is well-formed: it is out of order, not malformed."""
    assert parse_chunk(header) == Span(*span)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "-",
        "1",
        "1-",
        "-1",
        "a-b",
        "1-2/3",
        "bytes 1-2/3",
        "bytes=1-2",
        "1-2,3-4",
        "1--2",
        "+1-2",
        "١-٢",
        "1 - 2",
        "9" * 20 + "-1",
    ],
)
def test_no_chunks(header: str) -> None:
    with pytest.raises(RangeSyntaxError):
        parse_chunk(header)


@given(st.text())
def test_any_chunk(text: str) -> None:
    try:
        span = parse_chunk(text)
    except RangeSyntaxError:
        return
    assert span.start >= 0
    assert span.end >= 1
