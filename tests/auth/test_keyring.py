"""Keys that are fetched: when, how often, and what happens where they are not to be had."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
import urllib.error
import urllib.request
from http.client import HTTPMessage
from typing import Any

import pytest
from tests.auth import tokens
from tests.auth.asking import EXPECTED, KEY, ask, refused
from tests.auth.tokens import claims, jwk, jwks, token

from lading.auth import keyring
from lading.auth.keyring import BETWEEN_SECONDS, FRESH_SECONDS, Keyring, UrlSource
from lading.auth.token import TokenAuthorizer

OTHER = tokens.ec_key()


class Server:
    """A JWKS URL without a network."""

    def __init__(self, *entries: dict[str, Any]) -> None:
        self.entries = entries
        self.fetched = 0
        self.now = 0.0
        self.failing = False
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, url: str) -> bytes:
        assert url == "https://keys.test/"
        self.gate.wait(10)
        self.fetched += 1
        if self.failing:
            raise OSError("connection refused")
        return jwks(*self.entries).encode()

    def authorizer(self) -> TokenAuthorizer:
        return TokenAuthorizer(EXPECTED, Keyring([UrlSource("https://keys.test/", self, lambda: self.now)]))


async def test_keys_are_fetched_when_needed_and_then_known() -> None:
    server = Server(jwk(KEY, "k"))
    made = server.authorizer()
    text = token(KEY, claims(), kid="k")
    asked = await asyncio.gather(*(ask(made, text) for _ in range(10)))
    assert {identity.user for identity in asked} == {"user"}
    assert server.fetched == 1


async def test_an_unknown_key_is_looked_for_but_not_too_often() -> None:
    server = Server(jwk(KEY, "k"))
    made = server.authorizer()
    await ask(made, token(KEY, claims(), kid="k"))
    rotated = token(OTHER, claims(), kid="new")
    await refused(made, rotated)
    server.entries = (jwk(KEY, "k"), jwk(OTHER, "new"))
    await refused(made, rotated)
    assert server.fetched == 1, "there was an answer just now"
    server.now += BETWEEN_SECONDS
    assert (await ask(made, rotated)).user
    assert server.fetched == 2


async def test_keys_are_fetched_again_behind_the_requests() -> None:
    server = Server(jwk(KEY, "k"))
    made = server.authorizer()
    text = token(KEY, claims(), kid="k")
    await ask(made, text)
    server.now += FRESH_SECONDS
    server.gate.clear()
    await ask(made, text)  # although the server does not answer
    server.failing = True
    server.gate.set()
    server.now += BETWEEN_SECONDS
    await refused(made, token(OTHER, claims(), kid="new"))
    assert (await ask(made, text)).user, "old keys stay in force"


def test_a_redirect_does_not_leave_tls() -> None:
    request = urllib.request.Request("https://keys.test/")
    handler = keyring._SameScheme()
    same = handler.redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), "https://other.test/")
    assert same is not None
    with pytest.raises(urllib.error.HTTPError, match="another scheme"):
        handler.redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), "http://keys.test/")


async def test_a_server_that_is_down_is_no_crash() -> None:
    server = Server(jwk(KEY, "k"))
    server.failing = True
    made = server.authorizer()
    text = token(KEY, claims(), kid="k")
    await refused(made, text)
    server.failing, server.now = False, BETWEEN_SECONDS
    assert (await ask(made, text)).user


async def test_the_secrets_of_a_url_are_used_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" if len(asked) == 1 else b"HTTP/1.0 500 No\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    where = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    clock = [0.0]
    source = UrlSource(f"http://user:p%40ss@{where}/keys?token=secret", clock=lambda: clock[0])
    for _ in range(2):  # what is no set of keys, and no answer
        await source.refresh()
        clock[0] += BETWEEN_SECONDS
    server.close()
    await source.refresh()
    for head in asked:
        assert head.startswith("GET /keys?token=secret HTTP/1.1\r\n")
        assert f"Authorization: Basic {base64.b64encode(b'user:p@ss').decode()}\r\n" in head
    assert len(asked) == 2
    assert caplog.text.count(f"cannot fetch the keys of tokens from http://***@{where}/keys?***: ") == 3
    for part in ("p%40ss", "p@ss", "user", "secret"):
        assert part not in caplog.text
