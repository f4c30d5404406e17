"""`tokenservice`: tokens of our own, for registries that ask for tokens. Lading's own section."""

from __future__ import annotations

from typing import Annotated, Literal

from lading.config.models.section import Section, Then, option
from lading.config.models.values import Duration, Text, one_of, positive_or

SigningAlgorithm = Literal["ES256", "RS256"]
_UNKNOWN = "unknown algorithm <x> (allowed: ES256, RS256)"

_DAY = 24 * 3600.0


def _check_path(path: str) -> str:
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError('must start with "/" and not end with it')
    return path


class ClaimRule(Section):
    """`claims` are patterns, all of which must match; `user` is a template of claims."""

    claims: dict[str, Text] = option(factory=dict)
    user: Text = "${sub}"
    groups: list[Text] = option(factory=list)


class Workload(Section):
    """An issuer of OIDC tokens; `jwks` is a URL or a file."""

    name: Text = ""
    issuer: Text = ""
    audience: Text = ""
    jwks: Text = ""
    rules: list[ClaimRule] = option(factory=list)


class TokenServer(Section):
    """There is one with an `issuer`."""

    issuer: Text = ""
    services: list[Text] = option(factory=list)
    path: Annotated[Text, Then(_check_path)] = "/auth/token"
    keys: Text = ""
    algorithm: Annotated[SigningAlgorithm, one_of(SigningAlgorithm, _UNKNOWN)] = "ES256"
    rotation: Annotated[Duration, Then(positive_or(30 * _DAY))] = 30 * _DAY
    expiry: Annotated[Duration, Then(positive_or(300.0))] = 300.0
    refresh: Annotated[Duration, Then(positive_or(30 * _DAY))] = 30 * _DAY
    htpasswd: Text = ""
    workloads: list[Workload] = option(factory=list)
