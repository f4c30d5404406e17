from __future__ import annotations

import asyncio

import pytest
from tests.server.serving import ask, serving

from lading.server.proxies import Proxies

PROXIES = Proxies.named(["10.0.0.0/8", "2001:db8::1", "unix"])


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("192.0.2.9", {"x-forwarded-for": "198.51.100.1"}, "192.0.2.9"),
        ("10.0.0.1", {}, "10.0.0.1"),
        ("10.0.0.1", {"x-forwarded-for": "198.51.100.1"}, "198.51.100.1"),
        ("10.0.0.1", {"x-forwarded-for": "203.0.113.7, 198.51.100.1,10.1.1.1"}, "198.51.100.1"),
        ("10.0.0.1", {"x-forwarded-for": "10.3.3.3, 10.2.2.2"}, "10.3.3.3"),
        ("10.0.0.1", {"x-forwarded-for": "198.51.100.1, unknown, 10.2.2.2"}, "10.2.2.2"),
        ("10.0.0.1", {"x-forwarded-for": "198.51.100.1:4711"}, "198.51.100.1"),
        ("10.0.0.1", {"x-real-ip": "198.51.100.1"}, "198.51.100.1"),
        ("10.0.0.1", {"forwarded": "for=198.51.100.1;proto=https, for=10.2.2.2"}, "198.51.100.1"),
        ("10.0.0.1", {"forwarded": 'proto=https;For="[2001:db8::7]:4711"'}, "2001:db8::7"),
        ("10.0.0.1", {"forwarded": "for=_hidden", "x-forwarded-for": "198.51.100.1"}, "10.0.0.1"),
        ("2001:db8::1", {"x-forwarded-for": "::ffff:198.51.100.1"}, "198.51.100.1"),
        ("2001:db8::2", {"x-forwarded-for": "198.51.100.1"}, "2001:db8::2"),
        (None, {"x-forwarded-for": "198.51.100.1"}, "198.51.100.1"),
    ],
)
def test_who_the_client_is(peer: str | None, headers: dict[str, str], client: str) -> None:
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    judged, _ = PROXIES.judge(None if peer is None else (peer, 1), given)
    assert judged is not None
    assert judged[0] == client


def test_claims_of_others_are_taken_away() -> None:
    claims = [(b"forwarded", b"host=a"), (b"x-forwarded-proto", b"https"), (b"x-real-ip", b"::1"), (b"host", b"b")]
    assert PROXIES.judge(("192.0.2.9", 1), claims) == (("192.0.2.9", 1), [(b"host", b"b")])
    assert PROXIES.judge(("10.1.1.1", 1), claims[1:2]) == (("10.1.1.1", 1), claims[1:2])
    assert Proxies.named([]).judge(None, claims)[1] == [(b"host", b"b")]


@pytest.mark.parametrize(
    ("names", "body"), [(None, "127.0.0.1 https"), ([], "127.0.0.1 "), (["127.0.0.0/8"], "198.51.100.1 https")]
)
async def test_what_the_application_sees(names: list[str] | None, body: str) -> None:
    head = "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\n"
    async with serving(proxies=None if names is None else Proxies.named(names)) as running:
        answer = await asyncio.to_thread(ask, running.port, None, head)
        assert answer.text.endswith(f"\r\n\r\n{body}")
