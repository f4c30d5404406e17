"""The composition of the token service, from the `tokenservice` and `access` sections."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from lading.api.service import Page
from lading.api.standalone import Pages
from lading.auth.issuing.endpoint import TokenEndpoint
from lading.auth.issuing.refresh import RefreshTokens
from lading.auth.issuing.service import TokenService
from lading.auth.issuing.signing import KeyStore
from lading.auth.issuing.workloads import ClaimRule, Provider, Workloads
from lading.auth.keyring import FileSource, Keyring, Source
from lading.auth.keys import parse_jwks
from lading.auth.robots import PREFIX
from lading.compose.accounts import accounts, made, source
from lading.compose.error import BuildError
from lading.compose.policy import policy
from lading.config.models.configuration import Configuration
from lading.config.models.tokenservice import Workload
from lading.operations.accesslog import AccessLog

_LEAST_SECONDS = 60.0
"""Clients take any token to be good for so long."""

_NO_DIRECTORY = "tokenservice.keys: needs a directory for the keys that sign tokens"


def pages(configuration: Configuration) -> Mapping[str, Page]:
    """The token path, and `jwks.json` beside it. Raises `BuildError`."""
    endpoint = TokenEndpoint(service(configuration))
    path = configuration.tokenservice.path
    return {path: endpoint.token, f"{path.rpartition('/')[0]}/jwks.json": endpoint.keys}


def application(configuration: Configuration) -> Pages:
    """The service alone. Raises `BuildError`."""
    return Pages(pages(configuration), None if configuration.log.accesslog.disabled else AccessLog())


def service(configuration: Configuration) -> TokenService:
    """Raises `BuildError`."""
    check(configuration)
    section = configuration.tokenservice
    keys = key_store(configuration)
    return TokenService(
        issuer=section.issuer,
        services=tuple(section.services),
        lifetime=int(section.expiry),
        keys=keys,
        accounts=accounts(configuration, section.htpasswd, "tokenservice.htpasswd"),
        refresh_tokens=RefreshTokens(keys.refresh_secret, section.refresh),
        policy=policy(configuration),
        workloads=Workloads(tuple(map(_provider, range(len(section.workloads)), section.workloads))),
        ruled=_ruled(configuration),
    )


def _ruled(configuration: Configuration) -> frozenset[str]:
    """The registry beside the service has its rules."""
    auth = configuration.auth
    own = auth.type == "token" and auth.parameters.get("issuer") == configuration.tokenservice.issuer
    return frozenset({str(auth.parameters.get("service"))}) if own else frozenset()


def check(configuration: Configuration) -> None:
    """What can be told without reading or making a file, if there is to be a service. Raises `BuildError`."""
    section = configuration.tokenservice
    if not section.issuer:
        return
    if not section.services:
        raise BuildError("tokenservice.services: needs the service of each registry that is to take the tokens")
    if section.expiry < _LEAST_SECONDS:
        raise BuildError("tokenservice.expiry: clients rely on a minute at least")
    if not (section.htpasswd or configuration.access.robots or section.workloads):
        raise BuildError("tokenservice: nobody can sign in without htpasswd, access.robots or workloads")
    if not section.keys:
        raise BuildError(_NO_DIRECTORY)
    for number, workload in enumerate(section.workloads):
        _check_workload(f"tokenservice.workloads[{number}]", workload, section.workloads[:number])


def key_store(configuration: Configuration) -> KeyStore:
    """Makes the first key where there is none. Raises `BuildError`."""
    section = configuration.tokenservice
    if not section.keys:
        raise BuildError(_NO_DIRECTORY)
    make = functools.partial(KeyStore, section.keys, section.algorithm, section.rotation, section.expiry)
    return made("tokenservice.keys", make)


def own_keys(configuration: Configuration) -> Source:
    """The service's keys, for a registry beside it. Raises `BuildError`."""
    path = key_store(configuration).jwks_path
    return made("tokenservice.keys", lambda: FileSource(path, parse_jwks))


def _check_workload(key: str, workload: Workload, others: Sequence[Workload]) -> None:
    for name in ("name", "issuer", "audience", "jwks", "rules"):
        if not getattr(workload, name):
            raise BuildError(f"{key}.{name}: is needed")
    if not workload.name.isidentifier():
        raise BuildError(f"{key}.name: must be of letters, digits and _, such as github")
    # The names of users begin with it: those of one issuer must not be those of another, nor of robots.
    if f"{workload.name}+" == PREFIX or any(other.name == workload.name for other in others):
        raise BuildError(f"{key}.name: {workload.name} is in use already: users would be called the same")
    if any(other.issuer == workload.issuer for other in others):
        raise BuildError(f"{key}.issuer: is that of another entry, which would decide alone: join their rules")
    for index, rule in enumerate(workload.rules):
        if not rule.claims:
            raise BuildError(f"{key}.rules[{index}].claims: without any, every job of the issuer would match")


def _provider(number: int, workload: Workload) -> Provider:
    rules = (ClaimRule(rule.claims, rule.user, frozenset(rule.groups)) for rule in workload.rules)
    keyring = Keyring([source(f"tokenservice.workloads[{number}].jwks", workload.jwks, parse_jwks)])
    return Provider(workload.name, workload.issuer, workload.audience, keyring, tuple(rules))
