"""The composition of authorization: from the `auth` and `access` sections to an authorizer."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping

from lading.api.service import Page
from lading.auth import htpasswd, robots
from lading.auth.basic import BasicAuthorizer
from lading.auth.claims import ALGORITHMS, NOMINAL
from lading.auth.keyring import Keyring, Source, UrlSource
from lading.auth.keys import parse_bundle, parse_jwks
from lading.auth.silly import SillyAuthorizer
from lading.auth.token import Expectations, TokenAuthorizer
from lading.auth.watched import Watched, reload_all
from lading.compose import tokens
from lading.compose.accounts import accounts, made, source
from lading.compose.error import BuildError
from lading.compose.policy import policy
from lading.config.models.configuration import Configuration
from lading.registry.access import Authorizer

REDIRECT_PATH = "/auth/token"


def prepare(configuration: Configuration) -> None:
    """Once, before there are workers: files are made, and everything is checked. Raises `BuildError`."""
    if configuration.auth.type == "htpasswd":
        made("auth.htpasswd.path", lambda: htpasswd.provision(option(configuration, "path")))
    prepare_tokens(configuration)
    authorizer(configuration)


def prepare_tokens(configuration: Configuration) -> None:
    """As `prepare`, for the accounts and the token service alone."""
    if path := configuration.access.robots:
        made("access.robots", lambda: robots.prepare(path))
    if configuration.tokenservice.issuer:
        tokens.service(configuration)


def problems(configuration: Configuration) -> list[str]:
    """What would stop the start, as far as that can be told without reading or making a file."""
    kind = configuration.auth.type
    checks: list[Callable[[], object]] = [
        functools.partial(option, configuration, key) for key in _REQUIRED.get(kind, ())
    ]
    if kind == "token":
        checks += [functools.partial(check, configuration) for check in (_redirect_path, _algorithms, _key_paths)]
    checks += [functools.partial(check, configuration) for check in (_check_rules, policy, tokens.check)]
    found: list[str] = []
    for check in checks:
        try:
            check()
        except BuildError as error:
            found.append(str(error))
    return found


def check_files(configuration: Configuration) -> None:
    """Read what is there; nothing is made. Raises `BuildError`."""
    kind, path = configuration.auth.type, configuration.auth.parameters.get("path")
    if kind == "token" and _key_paths(configuration):
        authorizer(configuration)
    elif kind == "htpasswd" and isinstance(path, str) and os.path.lexists(path):
        made("auth.htpasswd.path", lambda: Watched(path, htpasswd.parse))


def authorizer(configuration: Configuration) -> Authorizer | None:
    """None where nobody is asked. Raises `BuildError`."""
    make = _CONTROLLERS.get(configuration.auth.type)
    return None if make is None else make(configuration)


def pages(configuration: Configuration) -> Mapping[str, Page]:
    """Raises `BuildError`."""
    return tokens.pages(configuration) if configuration.tokenservice.issuer else {}


def reload() -> None:
    """Read accounts and keys again, in this process."""
    reload_all()


def _check_rules(configuration: Configuration) -> None:
    if configuration.auth.type == "silly" and configuration.access.rules is not None:
        raise BuildError("access.rules: have no effect with auth.silly, which asks nobody who they are")


def _silly(configuration: Configuration) -> Authorizer:
    _check_rules(configuration)
    return SillyAuthorizer(option(configuration, "realm"), option(configuration, "service"))


def _htpasswd(configuration: Configuration) -> Authorizer:
    realm, path = option(configuration, "realm"), option(configuration, "path")
    return BasicAuthorizer(realm, accounts(configuration, path, "auth.htpasswd.path"), policy(configuration))


def _token(configuration: Configuration) -> Authorizer:
    expectations = Expectations(
        realm=option(configuration, "realm"),
        service=option(configuration, "service"),
        issuer=option(configuration, "issuer"),
        algorithms=_algorithms(configuration),
        redirect_path=_redirect_path(configuration),
    )
    return TokenAuthorizer(expectations, _keyring(configuration), policy(configuration))


def _redirect_path(configuration: Configuration) -> str:
    parameters = configuration.auth.parameters
    redirect = parameters.get("autoredirect", False)
    if not isinstance(redirect, bool):
        raise BuildError('auth.token.autoredirect: token auth requires a valid option bool: "autoredirect"')
    path = parameters.get("autoredirectpath") or REDIRECT_PATH
    if redirect and not (isinstance(path, str) and path.startswith("/")):
        raise BuildError("auth.token.autoredirectpath: must be a path")
    return str(path) if redirect else ""


def _algorithms(configuration: Configuration) -> frozenset[str]:
    names = configuration.auth.parameters.get("signingalgorithms")
    if names is None:
        return frozenset(ALGORITHMS)
    key = "auth.token.signingalgorithms"
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BuildError(f"{key}: signingalgorithms must be a list of signing algorithms")
    for name in names:
        if name not in {*ALGORITHMS, *NOMINAL}:
            raise BuildError(f"{key}: unsupported signing algorithm: {name}")
    return frozenset(names) & frozenset(ALGORITHMS) if names else frozenset(ALGORITHMS)


def _keyring(configuration: Configuration) -> Keyring:
    parsers = {"rootcertbundle": parse_bundle, "jwks": parse_jwks}
    paths = _key_paths(configuration)
    sources: list[Source] = [source(f"auth.token.{name}", path, parsers[name]) for name, path in paths.items()]
    if not sources:
        sources.append(tokens.own_keys(configuration))
    if not any(isinstance(source, UrlSource) or source.keys for source in sources):
        raise BuildError(_NO_KEY)
    return Keyring(sources)


def _key_paths(configuration: Configuration) -> dict[str, str]:
    """Empty where the keys are those of the token service beside the registry."""
    parameters, paths = configuration.auth.parameters, {}
    for name in ("rootcertbundle", "jwks"):
        path = parameters.get(name)
        if path is None or path == "":
            continue
        if not isinstance(path, str):
            raise BuildError(f"auth.token.{name}: must be the path of a file")
        paths[name] = path
    own = configuration.tokenservice.issuer
    if not paths and not (own and own == parameters.get("issuer")):
        raise BuildError(_NO_KEY)
    return paths


_NO_KEY = "auth.token: token auth requires at least one token signing key"
_REQUIRED = {"silly": ("realm", "service"), "htpasswd": ("realm", "path"), "token": ("realm", "service", "issuer")}


_CONTROLLERS: dict[str, Callable[[Configuration], Authorizer]] = {
    "silly": _silly,
    "htpasswd": _htpasswd,
    "token": _token,
}


def option(configuration: Configuration, key: str) -> str:
    """A text that the type of `auth` requires. Raises `BuildError`."""
    kind, value = configuration.auth.type, configuration.auth.parameters.get(key)
    if not isinstance(value, str) or not value:
        if kind == "token":
            raise BuildError(f'auth.token.{key}: token auth requires a valid option string: "{key}"')
        raise BuildError(f'auth.{kind}.{key}: "{key}" must be set for {kind} access controller')
    return value
