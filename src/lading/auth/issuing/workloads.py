"""Workload identity: the OIDC token of a job, from an issuer that is configured, stands for an account."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lading.auth import claims as jose
from lading.auth.claims import Claims, TokenError, UnknownKeyError
from lading.auth.keyring import Keyring
from lading.auth.keys import encode

MAX_SECONDS = 24 * 3600.0
"""Tokens that say they are good for longer are none of a job's."""

_CLAIM = re.compile(r"\$\{([A-Za-z0-9_.:/-]+)\}")


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """A token all of whose named claims match stands for a member of `groups`. `*` is any text."""

    claims: Mapping[str, str]
    user: str = "${sub}"
    groups: frozenset[str] = field(default_factory=frozenset)

    def matches(self, told: Claims) -> bool:
        return all(_matches(pattern, told.get(name)) for name, pattern in self.claims.items())

    def name_of(self, told: Claims) -> str:
        """Raises `TokenError` where the token lacks a claim of the template."""

        def value(match: re.Match[str]) -> str:
            found = told.get(match[1])
            if not isinstance(found, str | int) or isinstance(found, bool) or found == "":
                raise TokenError(f"the token has no claim {match[1]}")
            return str(found)

        return _CLAIM.sub(value, self.user)


@dataclass(frozen=True, slots=True)
class Workload:
    """A caller without an account of their own."""

    user: str
    groups: frozenset[str]


@dataclass(frozen=True)
class Provider:
    """An issuer of workload tokens. Its users are called `<name>+<user of the rule>`."""

    name: str
    issuer: str
    audience: str
    keyring: Keyring
    rules: tuple[ClaimRule, ...]
    now: Callable[[], float] = time.time

    async def exchange(self, token: str) -> Workload:
        """The first rule that matches decides. Raises `TokenError`."""
        now = self.now()
        try:
            told = jose.verify(token, self.keyring.keys, jose.ALGORITHMS, now)
        except UnknownKeyError:
            await self.keyring.refresh()
            told = jose.verify(token, self.keyring.keys, jose.ALGORITHMS, now)
        until = jose.check(told, issuer=self.issuer, audiences=(self.audience,), now=now)
        if until - now > MAX_SECONDS:
            raise TokenError("the token is good for too long")
        for rule in self.rules:
            if rule.matches(told):
                return Workload(f"{self.name}+{rule.name_of(told)}", rule.groups)
        raise TokenError(f"no rule of {self.name} matches the token")


@dataclass(frozen=True)
class Workloads:
    providers: tuple[Provider, ...] = ()

    async def exchange(self, token: str) -> Workload:
        """Raises `TokenError`."""
        issuer = jose.unverified(token).get("iss")
        for provider in self.providers:
            if provider.issuer == issuer:
                return await provider.exchange(token)
        raise TokenError(f"unknown issuer of workload tokens, {encode(str(issuer).encode())[:40]} in base64url")


def _matches(pattern: str, value: object) -> bool:
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str | int):
        return False
    expression = ".*".join(map(re.escape, pattern.split("*")))
    return re.fullmatch(expression, str(value), re.DOTALL) is not None
