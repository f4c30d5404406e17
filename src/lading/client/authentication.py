"""Signing in to a registry: which credentials go where, and for which tokens.

The boundary: user name and password go to the registry's own host, and to a token server only if it is on the
same host, or if both are names under one registrable domain, or if the caller has named it. Nothing is sent
without being asked for.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import ipaddress
import json
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from publicsuffixlist import PublicSuffixList
from yarl import URL

from lading.client.challenges import Challenge
from lading.client.credentials import IDENTITY_TOKEN, Credentials, Login
from lading.client.errors import InvalidAnswerError, RefusedError

log = logging.getLogger(__name__)

MINIMUM_SECONDS = 60.0
"""The least a token is good for, and for how long one without a lifetime is."""

MARGIN = 0.9
"""A token is used for this part of its life: it must not end on its way."""

MAX_TOKENS = 1024

CLIENT_ID = "lading"

Fetch = Callable[[str, URL, dict[str, str], dict[str, str] | None], Awaitable[bytes]]
"""Method, URL, headers and form of a request to a token server; the body of its answer."""


def trusted(registry: URL, realm: URL, named: frozenset[str] = frozenset()) -> bool:
    """Whether credentials for the registry may be shown to the token server at `realm`.

    `named` are hosts that may see them beside, with their ports unless these are the scheme's. What the registry
    gets by TLS nobody gets without.
    """
    if realm.scheme not in {"http", "https"} or not realm.host or not registry.host:
        return False
    if registry.scheme == "https" and realm.scheme != "https":
        return False
    if not named.isdisjoint({realm.host_port_subcomponent, f"{realm.host_subcomponent}:{realm.port}"}):
        return True
    if (registry.host, registry.port) == (realm.host, realm.port):
        return True
    if _is_local(registry.host) or _is_local(realm.host):
        return False
    domain = _suffixes().privatesuffix(registry.host.rstrip("."))
    return domain is not None and domain == _suffixes().privatesuffix(realm.host.rstrip("."))


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@functools.cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


class Authenticator:
    """Knows what the registry wants to be shown, once it has said so, and has the tokens."""

    def __init__(
        self,
        registry: URL,
        credentials: Credentials | None,
        fetch: Fetch,
        token_servers: frozenset[str] = frozenset(),
    ) -> None:
        self._registry = registry
        self._token_servers = token_servers
        self._credentials = credentials
        self._fetch = fetch
        self._challenge: Challenge | None = None
        self._tokens: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._asking: dict[str, asyncio.Lock] = {}
        self._warned = False

    async def header(self, scope: str) -> str:
        """The value of Authorization for a request that needs `scope`, "" for none. Raises `ClientError`."""
        challenge = self._challenge
        if challenge is None:
            return ""
        if challenge.scheme == "basic":
            login = await self._login(self._registry, scope)
            return "" if login is None or login.registry_token else _basic(login)
        token = await self._token(challenge, scope)
        return f"Bearer {token}" if token else ""

    async def learn(self, challenges: list[Challenge], scope: str) -> bool:
        """What the registry wants after a 401, and that what it was shown is no good.

        Whether asking again may help. Raises `ClientError`.
        """
        self._tokens.pop(scope, None)
        for wanted in ("bearer", "basic"):
            for challenge in challenges:
                if challenge.scheme == wanted and (wanted == "basic" or await self._answers(challenge, scope)):
                    self._challenge = challenge
                    return wanted == "bearer" or self._credentials is not None
        return False

    async def _answers(self, challenge: Challenge, scope: str) -> bool:
        """Whether there can be a token: from a server that is believed, or one for the registry itself."""
        realm = _realm(challenge)
        if self._believes(realm):
            return True
        login = await self._login(self._registry, scope)
        if login is not None and login.registry_token:
            return True
        if not self._warned:
            self._warned = True
            log.warning(
                "%s names a token server on another domain, which is not asked: %s", self._registry.host, realm
            )
        return False

    def _believes(self, realm: URL) -> bool:
        return trusted(self._registry, realm, self._token_servers)

    async def _token(self, challenge: Challenge, scope: str) -> str:
        async with self._asking.setdefault(scope, asyncio.Lock()):
            until, token = self._tokens.get(scope, (0.0, ""))
            if time.monotonic() >= until:
                try:
                    token, seconds = await self._ask(challenge, scope)
                except BaseException:
                    self._asking.pop(scope, None)
                    raise
                self._tokens[scope] = (time.monotonic() + MARGIN * seconds, token)
                while len(self._tokens) > MAX_TOKENS:
                    self._asking.pop(self._tokens.popitem(last=False)[0], None)
        return token

    async def _ask(self, challenge: Challenge, scope: str) -> tuple[str, float]:
        realm = _realm(challenge)
        believed = self._believes(realm)
        login = await self._login(realm if believed else self._registry, scope)
        if login is not None and login.registry_token:
            return login.registry_token, math.inf
        if not believed:  # as another scope has a token for the registry itself
            return "", MINIMUM_SECONDS
        service = challenge.parameters.get("service", "")
        asked = {"service": service} if service else {}
        # A query has a parameter for each scope, a form has all in one (the two token specifications).
        query = {**asked, "scope": scope.split()} if scope else asked
        if login is not None and login.username == IDENTITY_TOKEN:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": login.password,
                "client_id": CLIENT_ID,
                **asked,
                **({"scope": scope} if scope else {}),
            }
            body = await self._fetch("POST", realm, {}, form)
        elif login is not None:
            url = realm.update_query({**query, "account": login.username})
            body = await self._fetch("GET", url, {"Authorization": _basic(login)}, None)
        else:
            body = await self._fetch("GET", realm.update_query(query), {}, None)
        try:
            answer = json.loads(body)
            token = answer.get("token") or answer["access_token"]
            if not isinstance(token, str) or not token.isascii() or not token.isprintable():
                raise TypeError(type(token))
            return token, max(float(answer.get("expires_in") or 0), MINIMUM_SECONDS)
        except (ValueError, RecursionError, OverflowError, KeyError, TypeError, AttributeError):
            raise InvalidAnswerError(f"{realm.host}: the token server's answer holds no token") from None

    async def _login(self, asked_by: URL, scope: str) -> Login | None:
        if self._credentials is None:
            return None
        kind, _, rest = scope.rpartition(" ")[2].partition(":")
        repository = rest.rpartition(":")[0] if kind == "repository" else ""
        return await self._credentials.login(asked_by.host_port_subcomponent or "", repository)


def _realm(challenge: Challenge) -> URL:
    """What is no URL is nobody's."""
    try:
        return URL(challenge.parameters.get("realm", ""))
    except ValueError:
        return URL()


def _basic(login: Login) -> str:
    if ":" in login.username:
        raise RefusedError("a user name with a colon cannot be sent", 401, "UNAUTHORIZED")
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode("ascii")
