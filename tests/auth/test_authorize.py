"""What was granted holds for a second, for the same request with the same credentials."""

from __future__ import annotations

from typing import Any

import pytest

from lading.api import routes
from lading.api.authorize import MAX_GRANTED, Authorization
from lading.api.request import Request
from lading.registry.access import Attempt, ChallengeError, Identity, Needs


class Recorder:
    """Grants everything to everybody but `mallory`."""

    def __init__(self) -> None:
        self.asked: list[Attempt] = []

    async def authorize(self, attempt: Attempt, needs: Needs) -> Identity:
        self.asked.append(attempt)
        if attempt.authorization in {"", "mallory"}:
            raise ChallengeError("Basic", "no")
        return Identity(attempt.authorization)


async def check(
    authorization: Authorization,
    now: float,
    shown: str = "alice",
    method: str = "GET",
    path: str = "/v2/a/tags/list",
    query: bytes = b"",
    client: str = "192.0.2.1",
) -> str:
    """Who the request is from; empty if it was refused."""

    async def receive() -> Any:
        raise AssertionError("nobody reads the body")

    headers = [(b"authorization", shown.encode("ascii"))] if shown else []
    scope = {"method": method, "path": path, "query_string": query, "headers": headers, "client": (client, 1)}
    request = Request(scope, receive)
    route = routes.match(path, "")
    assert isinstance(route, routes.Route)
    refused = await authorization.check(request, route, now)
    return request.identity.user if refused is None else ""


async def test_the_same_request_is_not_asked_about_again_within_a_second() -> None:
    recorder = Recorder()
    authorization = Authorization(recorder)
    assert [await check(authorization, now) for now in (7.0, 7.5, 7.999)] == ["alice"] * 3
    assert len(recorder.asked) == 1
    assert await check(authorization, 8.0) == "alice"
    assert len(recorder.asked) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"shown": "bob"},
        {"method": "DELETE"},
        {"path": "/v2/b/tags/list"},
        {"query": b"from=b"},
        {"client": "192.0.2.2"},
    ],
)
async def test_another_request_is(other: dict[str, Any]) -> None:
    recorder = Recorder()
    authorization = Authorization(recorder)
    await check(authorization, 7.0)
    assert await check(authorization, 7.0, **other) == other.get("shown", "alice")
    assert len(recorder.asked) == 2


@pytest.mark.parametrize("shown", ["", "mallory"])
async def test_a_refusal_is_not_remembered(shown: str) -> None:
    recorder = Recorder()
    authorization = Authorization(recorder)
    assert [await check(authorization, 7.0, shown) for _ in range(3)] == ["", "", ""]
    assert len(recorder.asked) == 3


async def test_what_is_remembered_is_bounded() -> None:
    recorder = Recorder()
    authorization = Authorization(recorder)
    for number in range(MAX_GRANTED * 2 + 10):
        await check(authorization, 7.0, f"user{number}")
        assert len(authorization._granted) <= MAX_GRANTED + 1
