"""docs/spec/token.md, held to what the token service issues and the registry takes."""

from __future__ import annotations

import base64
import json
import re

import jwt
import pytest
from tests.auth.test_token_service import World, world
from tests.docs.test_docs import DOCS, text_of

from lading.auth.issuing.service import parse_scopes

__all__ = ["world"]

PAGE = text_of(DOCS / "spec/token.md")
ALICE = f"Basic {base64.b64encode(b'alice:secret').decode()}"


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> set[str]:
    """What the rows of the tables begin with, in backquotes."""
    return {name for row in re.findall(r"(?m)^\| (`[^|]+) \|", text) for name in re.findall(r"`([^`]+)`", row)}


@pytest.mark.parametrize("written", sorted(first_cells(section("Scope"))))
def test_scope_is_read_as_it_is_written(written: str) -> None:
    (scope,) = parse_scopes([written])
    assert str(scope) == written


async def test_answer_to_get(world: World) -> None:
    query = re.findall(r"[?&]([a-z_]+)=", section("Asking with GET"))
    assert {"service", "scope", "offline_token"} <= set(query)
    answer = await world.get("repository:team/app:pull", who=ALICE, offline_token="true", client_id="test")
    assert set(answer.expect(200).json()) == first_cells(section("Asking with GET"))


async def test_answer_to_post(world: World) -> None:
    told = section("Asking with POST: OAuth 2")
    form = {"grant_type": "password", "username": "alice", "password": "secret", "access_type": "offline"}
    assert {"grant_type", "access_type", "service", "scope", "client_id"} <= first_cells(told)
    document = (await world.post(**form, scope="repository:team/app:pull")).expect(200).json()
    said = told.partition("The answer has ")[2].partition(". A refusal")[0]
    assert set(document) - {"token"} == set(re.findall(r"`([^`]+)`", said))
    again = await world.post(grant_type="refresh_token", refresh_token=document["refresh_token"])
    assert again.status == 200
    refused = await world.post(grant_type="password", username="alice", password="wrong")
    assert refused.status in {400, 401}
    assert refused.json()["error"]


async def test_what_stands_in_a_token(world: World) -> None:
    answer = await world.get("repository:team/app:pull", who=ALICE)
    rows = first_cells(section("What stands in a token"))
    claims = world.read(answer)
    assert set(claims) <= rows
    assert {"iss", "aud", "sub", "exp", "nbf", "iat", "jti", "access"} == set(claims) - {"groups"}
    assert set(jwt.get_unverified_header(answer.json()["token"])) - {"typ"} <= rows
    example = json.loads(re.findall(r"(?s)```json\n(.*?)```", PAGE)[-1])
    assert set(example) <= set(claims)
    assert example["access"][0].keys() == {"type", "name", "actions"}
