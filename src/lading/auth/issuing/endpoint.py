"""The service over HTTP: GET and POST of the token path, and the keys (specification: "Token Authentication").

A GET signs in with Basic credentials or not at all; a POST with the grants of OAuth 2.0: `password`,
`refresh_token`, and `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693) for workloads.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from lading.api import response
from lading.api.request import Request, parse_query
from lading.api.response import Header, Response
from lading.auth.accounts import Account
from lading.auth.claims import TokenError
from lading.auth.headers import basic_challenge, parse_basic
from lading.auth.issuing.service import Caller, Scope, TokenService, parse_scopes
from lading.auth.watched import FileError
from lading.oci.errors import RegistryError
from lading.registry import audit
from lading.registry.access import Identity, ThrottledError

log = logging.getLogger(__name__)

WORKLOAD_USER = "oidc"
"""Clients that know of names and passwords alone sign in as this, with a workload's token for a password."""

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_MAX_FORM = 128 * 1024
_NO_STORE: Header = (b"cache-control", b"no-store")


class RefusedError(Exception):
    """The request gets no token. `error` is of OAuth 2.0 (RFC 6749, section 5.2)."""

    def __init__(self, status: int, error: str, reason: str, user: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.error = error
        self.reason = reason
        self.user = user


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request asks for."""

    service: str
    scopes: list[Scope]
    offline: bool
    client: str


class TokenEndpoint:
    def __init__(self, service: TokenService) -> None:
        self._service = service

    async def token(self, request: Request) -> Response:
        """Never raises: a failure is logged, and told."""
        client = request.scope.get("client")
        address = client[0] if client else ""
        try:
            return await self._answer(request, address)
        except RefusedError as refusal:
            if refusal.user or refusal.status != 401:
                audit.record("refused token", reason=refusal.reason, user=refusal.user, client=address)
            return _refuse(refusal)
        except ThrottledError as refusal:
            audit.record("refused token", reason=refusal.reason, user=refusal.user, client=address)
            return _refused(429, "slow_down", refusal.reason, [(b"retry-after", b"%d" % refusal.seconds)])
        except FileError as error:
            log.error("cannot issue tokens: %s", error)
        except RegistryError as refusal:
            return response.error(refusal)
        except Exception:
            log.exception("cannot issue tokens")
        return _refused(500, "server_error", "the registry's log tells why")

    async def keys(self, request: Request) -> Response:
        """The JWKS."""
        if request.method not in {"GET", "HEAD"}:
            return response.plain(405, "Method not allowed", [(b"allow", b"GET, HEAD")])
        caching: Header = (b"cache-control", b"max-age=300")
        return Response(200, [(b"content-type", b"application/json"), caching], self._service.keys.jwks())

    async def _answer(self, request: Request, address: str) -> Response:
        if request.method in {"GET", "HEAD"}:
            parameters = parse_query(request.query)
            demand = self._demand(parameters, "offline_token", "true", address)
            caller = await self._basic(request, address)
            _name(request, caller)
            return self._issue(caller, demand, offline=demand.offline)
        if request.method != "POST":
            return response.plain(405, "Method not allowed", [(b"allow", b"GET, HEAD, POST")])
        body = await request.read_body(_MAX_FORM)
        if body is None:
            raise RefusedError(413, "invalid_request", "the request is too large")
        parameters = parse_query(body.decode("utf-8", "replace"))
        demand = self._demand(parameters, "access_type", "offline", address)
        form = dict(parameters)
        caller, renewed = await self._grant(form, demand)
        _name(request, caller)
        return self._issue(caller, demand, offline=demand.offline, oauth=True, renewed=renewed)

    def _demand(self, parameters: list[tuple[str, str]], key: str, offline: str, client: str) -> Demand:
        values = dict(parameters)
        services = self._service.services
        service = values.get("service") or services[0]
        if service not in services:
            raise RefusedError(400, "invalid_target", "there are no tokens here for this service")
        scopes = parse_scopes(value for name, value in parameters if name == "scope")
        return Demand(service, scopes, values.get(key) == offline, client)

    async def _basic(self, request: Request, address: str) -> Caller:
        header = request.header(b"authorization") or ""
        credentials = parse_basic(header)
        if not header or credentials == ("", ""):
            return None
        if credentials is None:
            raise RefusedError(401, "invalid_client", "not Basic credentials")
        return await self._password(*credentials, address)

    async def _password(self, user: str, password: str, address: str) -> Caller:
        if user == WORKLOAD_USER and password.count(".") == 2 and self._service.workloads.providers:
            return await self._workload(password)
        account = await self._service.accounts.check(user, password, address)
        if account is None:
            raise RefusedError(401, "invalid_grant", "unknown user or wrong password", user or "-")
        return account

    async def _workload(self, token: str) -> Caller:
        try:
            workload = await self._service.workloads.exchange(token)
        except TokenError as error:
            raise RefusedError(401, "invalid_grant", str(error), WORKLOAD_USER) from None
        audit.record("exchanged workload token", user=workload.user, groups=",".join(sorted(workload.groups)))
        return workload

    async def _grant(self, form: Mapping[str, str], demand: Demand) -> tuple[Caller, str]:
        """The caller, and the refresh token that they keep."""
        kind = form.get("grant_type")
        if kind == "password":
            return await self._password(form.get("username", ""), form.get("password", ""), demand.client), ""
        if kind == EXCHANGE:
            return await self._workload(form.get("subject_token", "")), ""
        if kind != "refresh_token":
            known = "password, refresh_token or token-exchange"
            raise RefusedError(400, "unsupported_grant_type", f"grant_type is to be {known}")
        service, token = self._service, form.get("refresh_token", "")
        account = service.refresh_tokens.redeem(token, demand.service, service.accounts, service.now())
        if account is None:
            raise RefusedError(401, "invalid_grant", "the refresh token is of no use", "-")
        return account, token

    def _issue(
        self, caller: Caller, demand: Demand, *, offline: bool, oauth: bool = False, renewed: str = ""
    ) -> Response:
        service = self._service
        issued = service.issue(caller, demand.service, demand.scopes)
        if caller is None and not issued.granted:
            raise RefusedError(401, "invalid_client", "sign in first")
        asked, got = _told(demand.scopes), _told(issued.granted)
        if asked != got:
            user = caller.user if caller is not None else ""
            audit.record("granted less", user=user, client=demand.client, asked=asked, granted=got or "nothing")
        document: dict[str, object] = {
            "access_token": issued.token,
            "expires_in": issued.expires_in,
            "issued_at": issued.issued_at,
        }
        if oauth:
            document |= {"token_type": "Bearer", "scope": got}
        else:
            document["token"] = issued.token
        if isinstance(caller, Account) and (offline or renewed):
            document["refresh_token"] = renewed or service.refresh_tokens.issue(
                caller, demand.service, service.now()
            )
        return response.json(200, document, [_NO_STORE])


def _name(request: Request, caller: Caller) -> None:
    """For the access log."""
    if caller is not None:
        request.identity = Identity(caller.user, groups=caller.groups)


def _told(scopes: list[Scope]) -> str:
    return " ".join(map(str, scopes))


def _refuse(refusal: RefusedError) -> Response:
    headers = [(b"www-authenticate", basic_challenge("token service").encode())] if refusal.status == 401 else []
    return _refused(refusal.status, refusal.error, refusal.reason, headers)


def _refused(status: int, error: str, reason: str, headers: list[Header] | None = None) -> Response:
    """In the words of OAuth 2.0 and in those of registries: clients look for one or the other."""
    codes = {401: "UNAUTHORIZED", 429: "TOOMANYREQUESTS", 500: "UNKNOWN"}
    entry = {"code": codes.get(status, "UNSUPPORTED"), "message": reason}
    document = {"error": error, "error_description": reason, "errors": [entry]}
    return response.json(status, document, [_NO_STORE, *(headers or [])])
