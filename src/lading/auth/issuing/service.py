"""What a caller is granted of what they ask for, and the token that says so."""

from __future__ import annotations

import datetime
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lading.auth.accounts import Account, Accounts
from lading.auth.issuing.refresh import RefreshTokens
from lading.auth.issuing.signing import KeyStore
from lading.auth.issuing.workloads import Workload, Workloads
from lading.auth.policy import Policy
from lading.registry.access import ANY_ACTION, CATALOG, DELETE, PULL, PUSH, Access

_TYPE = re.compile(r"([a-z0-9]+)(?:\(([a-z0-9]+)\))?", re.ASCII)
_ACTIONS = (PULL, PUSH, DELETE)

MAX_SCOPES = 100


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource and what is asked of it (specification: "Token Scope Documentation")."""

    type: str
    name: str
    actions: tuple[str, ...]
    kind: str = ""

    def __str__(self) -> str:
        kind = f"({self.kind})" if self.kind else ""
        return f"{self.type}{kind}:{self.name}:{','.join(self.actions)}"


def parse_scopes(texts: Iterable[str]) -> list[Scope]:
    """Scopes of one or several parameters; what is malformed grants nothing, and is left out."""
    found = []
    for text in " ".join(texts).split():
        head, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        match = _TYPE.fullmatch(head)
        if match is not None and name and actions:
            found.append(Scope(match[1], name, tuple(dict.fromkeys(actions.split(","))), match[2] or ""))
    return found[:MAX_SCOPES]


@dataclass(frozen=True, slots=True)
class Issued:
    """`issued_at` is RFC 3339, `expires_in` seconds."""

    token: str
    granted: list[Scope]
    expires_in: int
    issued_at: str


Caller = Account | Workload | None
"""None has not signed in."""


@dataclass(frozen=True)
class TokenService:
    """Tokens for `services`, good for `lifetime` seconds."""

    issuer: str
    services: tuple[str, ...]
    lifetime: int
    keys: KeyStore
    accounts: Accounts
    refresh_tokens: RefreshTokens
    policy: Policy | None = None
    workloads: Workloads = field(default_factory=Workloads)
    now: Callable[[], float] = time.time
    ruled: frozenset[str] = frozenset()
    """Those of `services` where the rules hold too, so that their catalogs show no more than these allow."""

    def issue(self, caller: Caller, service: str, asked: Iterable[Scope]) -> Issued:
        """Of what is asked, what is granted; all of it may be refused. Raises `FileError`."""
        now = int(self.now())
        granted = [scope for scope in (self.grant(caller, service, each) for each in asked) if scope.actions]
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": caller.user if caller is not None else "",
            "aud": service,
            "exp": now + self.lifetime,
            "nbf": now,
            "iat": now,
            "jti": secrets.token_urlsafe(16),
            "access": [_entry(scope) for scope in granted],
        }
        if caller is not None and caller.groups:
            claims["groups"] = sorted(caller.groups)
        moment = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat().replace("+00:00", "Z")
        return Issued(self.keys.current().sign(claims), granted, self.lifetime, moment)

    def grant(self, caller: Caller, service: str, scope: Scope) -> Scope:
        """The scope with those of its actions that the caller may do."""
        if scope.type == CATALOG.type:
            actions = scope.actions if scope.name == CATALOG.name and self._may_list(caller, service) else ()
        elif scope.type != "repository":
            actions = ()
        else:
            # A star would grant what comes to be later, too: each action is named.
            asked = _ACTIONS if ANY_ACTION in scope.actions else tuple(a for a in scope.actions if a in _ACTIONS)
            actions = tuple(action for action in asked if self._may(caller, scope.name, action))
        return Scope(scope.type, scope.name, actions, scope.kind)

    def _may_list(self, caller: Caller, service: str) -> bool:
        """A registry that does not know the rules lists everything to who has such a token."""
        if caller is None or self.policy is None or service in self.ruled:
            return caller is not None
        return self.policy.allows_all(self.policy.caller(caller.user, caller.groups))

    def _may(self, caller: Caller, name: str, action: str) -> bool:
        if self.policy is None:
            return caller is not None
        known = self.policy.caller("") if caller is None else self.policy.caller(caller.user, caller.groups)
        return self.policy.grants(known).allows(Access("repository", name, action))


def _entry(scope: Scope) -> dict[str, object]:
    entry: dict[str, object] = {"type": scope.type, "name": scope.name, "actions": list(scope.actions)}
    return {**entry, "class": scope.kind} if scope.kind else entry
