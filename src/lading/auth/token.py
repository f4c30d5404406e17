"""`token`: what a token server has granted, told by a signed token with every request."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lading.auth import claims as jose
from lading.auth.claims import Claims, TokenError, UnknownKeyError
from lading.auth.headers import bearer_challenge, parse_bearer, scope_of
from lading.auth.keyring import Keyring
from lading.auth.keys import Keys
from lading.auth.policy import Permitted, Policy
from lading.registry.access import (
    ANY_ACTION,
    Access,
    Attempt,
    ChallengeError,
    ForbiddenError,
    Grants,
    Identity,
    Needs,
)

MAX_REMEMBERED = 8192
REMEMBER_SECONDS = 60.0
"""Then a token is verified again: the certificates that it brings may have expired before it does."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """What tokens must say, and how they are asked for."""

    realm: str
    service: str
    issuer: str
    algorithms: frozenset[str] = frozenset(jose.ALGORITHMS)
    redirect_path: str = ""
    """With one, the realm is this path on the host the client has called."""


class Granted:
    """The `access` claim. Where it says `*`, every action is granted; names have no wildcards."""

    def __init__(self, entries: object) -> None:
        self._actions: dict[tuple[str, str], set[str]] = {}
        self._classes: dict[str, set[str]] = {}
        for entry in entries if isinstance(entries, list) else []:
            if not isinstance(entry, dict) or not isinstance(entry.get("actions"), list | None):
                raise TokenError("the access claim is malformed")
            kind, name = str(entry.get("type", "")), str(entry.get("name", ""))
            actions = {action for action in entry.get("actions") or () if isinstance(action, str)}
            self._actions.setdefault((kind, name), set()).update(actions)
            self._classes.setdefault(name, set()).add(str(entry.get("class") or "image"))

    def allows(self, access: Access) -> bool:
        actions = self._actions.get((access.type, access.name), ())
        return access.action in actions or ANY_ACTION in actions

    def classes(self, name: str) -> frozenset[str]:
        return frozenset(self._classes.get(name, ()))


@dataclass(frozen=True, slots=True)
class Restricted:
    """What both the token and the rules grant. A token for the catalog shows it as far as the rules go."""

    granted: Granted
    permitted: Permitted | None

    @property
    def everything(self) -> bool:
        return False

    def allows(self, access: Access) -> bool:
        return self.granted.allows(access) and (self.permitted is None or self.permitted.allows(access))

    def shows(self, name: str) -> bool:
        return self.permitted is None or self.permitted.shows(name)

    def leads(self, name: str) -> bool:
        return self.permitted is None or self.permitted.leads(name)

    def classes(self, name: str) -> frozenset[str]:
        return self.granted.classes(name)


@dataclass(frozen=True, slots=True)
class _Verified:
    user: str
    groups: frozenset[str]
    granted: Granted
    until: float


class TokenAuthorizer:
    def __init__(
        self,
        expectations: Expectations,
        keyring: Keyring,
        policy: Policy | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`now` is in seconds since 1970."""
        self._expected = expectations
        self._keyring = keyring
        self._policy = policy
        self._now = now
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._verified_with = Keys()

    async def authorize(self, attempt: Attempt, needs: Needs) -> Identity:
        token = parse_bearer(attempt.authorization)
        if not token:
            return self._anonymous(attempt, needs)
        try:
            verified = await self._verify(token)
        except TokenError as error:
            raise self._challenge(attempt, needs, "invalid_token", str(error)) from None
        missing = [access for access in needs.required if not verified.granted.allows(access)]
        if missing:
            reason = "the token does not grant it"
            raise self._challenge(attempt, needs, "insufficient_scope", reason, verified.user)
        return self._identity(verified, needs)

    def _identity(self, verified: _Verified, needs: Needs) -> Identity:
        permitted = None
        if self._policy is not None:
            permitted = self._policy.grants(self._policy.caller(verified.user, verified.groups))
            if not all(map(permitted.allows, needs.required)):
                raise ForbiddenError("no rule allows it", verified.user)
        grants: Grants = Restricted(verified.granted, permitted)
        return Identity(verified.user, grants, verified.groups)

    def _anonymous(self, attempt: Attempt, needs: Needs) -> Identity:
        if self._policy is not None and needs.required and not attempt.authorization:
            permitted = self._policy.grants(self._policy.caller(""))
            if all(map(permitted.allows, needs.required)):
                return Identity("", permitted)
        raise self._challenge(attempt, needs, reason="not a Bearer token" if attempt.authorization else "")

    async def _verify(self, token: str) -> _Verified:
        """Raises `TokenError`."""
        keys = self._keyring.keys
        if keys is not self._verified_with:
            self._verified.clear()
            self._verified_with = keys
        mark = hashlib.sha256(token.encode("latin-1", "replace")).digest()
        known = self._verified.get(mark)
        if known is not None and known.until > self._now():
            return known
        try:
            verified = self._check(token, keys)
        except UnknownKeyError:
            await self._keyring.refresh()
            keys = self._keyring.keys
            verified = self._check(token, keys)
        if keys is self._verified_with:
            self._verified[mark] = verified
            if len(self._verified) > MAX_REMEMBERED:
                self._verified.popitem(last=False)
        return verified

    def _check(self, token: str, keys: Keys) -> _Verified:
        now, expected = self._now(), self._expected
        claims = jose.verify(token, keys, expected.algorithms, now)
        until = jose.check(claims, issuer=expected.issuer, audiences=(expected.service,), now=now)
        until = min(until, now + REMEMBER_SECONDS)
        return _Verified(_user(claims), _groups(claims), Granted(claims.get("access")), until)

    def _challenge(
        self, attempt: Attempt, needs: Needs, error: str = "", reason: str = "", user: str = ""
    ) -> ChallengeError:
        realm = self._expected.realm
        if self._expected.redirect_path:
            scheme = attempt.forwarded_proto or "https"
            realm = f"{scheme}://{attempt.host}{self._expected.redirect_path}"
        header = bearer_challenge(realm, self._expected.service, scope_of(needs.all), error)
        return ChallengeError(header, reason, user)


def _user(claims: Claims) -> str:
    user = claims.get("sub") or ""
    if not isinstance(user, str):
        raise TokenError("sub is not text")
    return user


def _groups(claims: Claims) -> frozenset[str]:
    groups = claims.get("groups")
    return frozenset(each for each in groups if isinstance(each, str)) if isinstance(groups, list) else frozenset()
