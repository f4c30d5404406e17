"""What each request needs, and the answer to a caller who has it not."""

from __future__ import annotations

import functools

import orjson

from lading.api import response
from lading.api.request import Request
from lading.api.response import Response
from lading.api.routes import Endpoint, Route
from lading.oci import errors
from lading.registry import audit
from lading.registry.access import (
    CATALOG,
    DELETE,
    PULL,
    PUSH,
    Access,
    AccessError,
    Attempt,
    Authorizer,
    ChallengeError,
    Identity,
    Needs,
    ThrottledError,
    repository,
)

_ACTIONS = {
    "GET": (PULL,),
    "HEAD": (PULL,),
    "POST": (PULL, PUSH),
    "PUT": (PULL, PUSH),
    "PATCH": (PULL, PUSH),
    "DELETE": (DELETE,),
}


MAX_GRANTED = 1024
"""Requests whose permission is remembered; their credentials are in memory so long."""


def needs_of(request: Request, route: Route) -> Needs:
    """The records of a request in the original's order. Parameters count in the query alone."""
    if route.endpoint is Endpoint.CATALOG:
        return Needs((CATALOG,))
    if route.endpoint is Endpoint.BASE:
        return Needs()
    return _needs_in(route.name, request.method, request.parameter("from"))


@functools.lru_cache(maxsize=1024)
def _needs_in(name: str, method: str, source: str) -> Needs:
    required = repository(name, *_ACTIONS.get(method, ()))
    return Needs(required, repository(source, PULL) if source else ())


class Authorization:
    """Asks the authorizer, and within a second not again for the same request with the same credentials.

    What is granted could be taken back in that second: files of accounts and rules are not looked at more often.
    """

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._granted: dict[tuple[object, ...], Identity] = {}
        self._second = 0

    async def check(self, request: Request, route: Route, now: float) -> Response | None:
        """None if the request may go on: then its `identity` is known. Else the answer.

        `now` is in seconds; since when does not matter.
        """
        if (second := int(now)) != self._second or len(self._granted) > MAX_GRANTED:
            self._second = second
            self._granted.clear()
        scope, shown = request.scope, request.field(b"authorization")
        client = scope.get("client") or ("",)
        asked = shown, request.method, request.path, scope["query_string"], client[0], route.name
        known = self._granted.get(asked)
        if known is not None:
            request.identity = known
            return None
        needs = needs_of(request, route)
        attempt = attempt_of(request)
        try:
            request.identity = await self._authorizer.authorize(attempt, needs)
        except AccessError as refusal:
            if refusal.reason:
                told = {"client": attempt.client, "access": " ".join(map(str, needs.all))}
                audit.record("refused", reason=refusal.reason, user=refusal.user, **told)
            return _refuse(refusal, needs)
        if shown is not None and request.method in _ACTIONS:
            self._granted[asked] = request.identity
        return None


def attempt_of(request: Request) -> Attempt:
    client = request.scope.get("client")
    return Attempt(
        request.header(b"authorization") or "",
        client[0] if client else "",
        request.header(b"host") or "",
        request.header(b"x-forwarded-proto") or "",
    )


def _refuse(refusal: AccessError, needs: Needs) -> Response:
    detail = [_record(access) for access in needs.all] or orjson.Fragment(b"null")
    if isinstance(refusal, ChallengeError):
        answer = response.error(errors.UNAUTHORIZED(detail=detail))
        answer.headers.append((b"www-authenticate", refusal.header.encode("utf-8")))
        return answer
    if isinstance(refusal, ThrottledError):
        answer = response.error(errors.TOO_MANY_REQUESTS(detail="too many failed attempts to sign in"))
        answer.headers.append((b"retry-after", b"%d" % refusal.seconds))
        return answer
    return response.error(errors.DENIED(detail=detail))


def _record(access: Access) -> dict[str, str]:
    return {"Type": access.type, "Class": access.kind, "Name": access.name, "Action": access.action}
