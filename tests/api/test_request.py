"""The request as handlers see it: parameters, lengths, bodies (reference, 12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.api.request import Request, parse_integer
from lading.oci.errors import RegistryError


def request(query: str = "", headers: Sequence[tuple[bytes, bytes]] = (), messages: Sequence[Any] = ()) -> Request:
    queue = list(messages)

    async def receive() -> Any:
        return queue.pop(0)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": query.encode("latin-1"),
        "headers": list(headers),
        "scheme": "http",
    }
    return Request(scope, receive)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("", ""),
        ("a=1", "1"),
        ("a=1&a=2", "1"),
        ("b=0&a=1", "1"),
        ("a", ""),
        ("a=", ""),
        ("a=x+y", "x y"),
        ("a=x%2By", "x+y"),
        ("a=%C3%A4", "ä"),
        ("%61=1", "1"),
        ("A=1", ""),
        ("a==", "="),
        ("&&a=1&", "1"),
        # As in Go, a pair that cannot be decoded is none.
        ("a=%zz", ""),
        ("a=%", ""),
        ("a=%zz&a=2", "2"),
        ("a=1;b=2", ""),
    ],
)
def test_parameters(query: str, value: str) -> None:
    assert request(query).parameter("a") == value


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "tag"]), st.text()), max_size=5))
def test_what_is_encoded_is_decoded(pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{key}={quote_plus(value)}" for key, value in pairs)
    found = request(query)
    for name in ("a", "b", "tag"):
        assert found.parameters(name) == [value for key, value in pairs if key == name]


def test_very_many_parameters() -> None:
    assert request("&".join(f"tag={number}" for number in range(50_000))).parameter("tag") == "0"


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("7", 7), ("+7", 7), ("-7", -7), ("007", 7), ("9223372036854775807", 2**63 - 1), ("-0", 0)],
)
def test_integers(text: str, value: int) -> None:
    assert parse_integer(text) == value


@pytest.mark.parametrize(
    "text", ["", " 7", "7 ", "1_0", "1.0", "1e3", "0x1", "--1", "+", "٣", "²", "7\n", "nan", "1,0"]
)
def test_no_integers(text: str) -> None:
    assert parse_integer(text) is None


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"0", 0),
        (b"7", 7),
        (b"", None),
        (b"-1", None),
        (b"+1", None),
        (b"1.0", None),
        (b"a", None),
        (b"\xb2", None),
    ],
)
def test_content_length(value: bytes, length: int | None) -> None:
    assert request(headers=[(b"content-length", value)]).content_length == length


def test_a_content_length_of_any_length() -> None:
    """Python refuses to convert more than 4,300 digits."""
    length = request(headers=[(b"content-length", b"9" * 10_000)]).content_length
    assert length is None or length > 2**64


def more(data: bytes) -> dict[str, object]:
    return {"type": "http.request", "body": data, "more_body": True}


LAST = {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize(
    ("messages", "body"),
    [
        ([LAST], b""),
        ([{"type": "http.request"}], b""),
        ([{"type": "http.request", "body": b"one"}], b"one"),
        ([more(b"one"), more(b""), more(b"two"), LAST], b"onetwo"),
        ([more(b"12345678"), LAST], b"12345678"),
        ([more(b"1234"), more(b"56789"), LAST], None),
        ([more(b"123456789"), LAST], None),
    ],
)
async def test_bodies_up_to_a_limit(messages: list[Any], body: bytes | None) -> None:
    assert await request(messages=messages).read_body(8) == body


async def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    assert await request(headers=[(b"content-length", b"9")]).read_body(8) is None


async def test_a_body_that_breaks_off() -> None:
    body = request(messages=[more(b"one"), {"type": "http.disconnect"}]).body()
    assert await anext(body) == b"one"
    with pytest.raises(RegistryError) as gone:
        await anext(body)
    assert gone.value.status == 499


async def test_headers_have_lines() -> None:
    found = request(headers=[(b"accept", b"a"), (b"x", b"\xe4"), (b"accept", b"b")])
    assert found.header(b"accept") == "a"
    assert found.header_lines(b"accept") == ["a", "b"]
    assert found.header(b"x") == "ä"
    assert found.header(b"none") is None
