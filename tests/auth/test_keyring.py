"""Keys that are fetched: when, how often, and what happens where they are not to be had."""

from __future__ import annotations

import asyncio
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
