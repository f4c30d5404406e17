"""The composition of authorization: from the `auth` and `access` sections to an authorizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from lading.api.service import Page
from lading.auth import htpasswd, robots
from lading.auth.accounts import Accounts
from lading.auth.basic import BasicAuthorizer
from lading.auth.claims import ALGORITHMS, NOMINAL
from lading.auth.keyring import FileSource, Keyring, Source, UrlSource
from lading.auth.keys import Keys, parse_bundle, parse_jwks
from lading.auth.policy import Policy, Rule, check_pattern
from lading.auth.silly import SillyAuthorizer
from lading.auth.token import Expectations, TokenAuthorizer
from lading.auth.watched import FileError, Watched
from lading.build_error import BuildError
from lading.config.models.configuration import Configuration
from lading.registry.access import Authorizer

T = TypeVar("T")

REDIRECT_PATH = "/auth/token"


def prepare(configuration: Configuration) -> None:
    """Once, before there are workers: files are made, and everything is checked. Raises `BuildError`."""
    if configuration.auth.type == "htpasswd":
        made("auth.htpasswd.path", lambda: htpasswd.provision(option(configuration, "path")))
    if path := configuration.access.robots:
        made("access.robots", lambda: robots.prepare(path))
    authorizer(configuration)


def authorizer(configuration: Configuration) -> Authorizer:
    """Raises `BuildError`."""
    return _CONTROLLERS[configuration.auth.type](configuration)


def pages(_: Configuration) -> Mapping[str, Page]:
    return {}


def policy(configuration: Configuration) -> Policy | None:
    """Raises `BuildError`."""
    section = configuration.access
    if section.rules is None:
        for key in ("groups", "readonly"):
            if getattr(section, key):
                raise BuildError(f"access.{key}: has no effect without access.rules")
        return None
    made_rules = []
    for number, rule in enumerate(section.rules):
        key = f"access.rules[{number}]"
        for name in ("repositories", "actions", "who"):
            if not getattr(rule, name):
                raise BuildError(f"{key}.{name}: needs an entry")
        for pattern in rule.repositories:
            try:
                check_pattern(pattern)
            except ValueError as error:
                raise BuildError(f"{key}.repositories: {error}") from None
        _check_names(f"{key}.who", rule.who)
        made_rules.append(Rule(tuple(rule.repositories), frozenset(rule.actions), tuple(rule.who)))
    _check_names("access.readonly", section.readonly)
    groups = {name: frozenset(members) for name, members in section.groups.items()}
    return Policy(tuple(made_rules), groups, tuple(section.readonly))


def _check_names(key: str, names: list[str]) -> None:
    for name in names:
        if name in {"", "@"}:
            raise BuildError(f"{key}: {name!r} is nobody: name a user, a @group, anonymous or authenticated")


def accounts(configuration: Configuration, path: str, key: str) -> Accounts:
    """Of the password file `path`, which may be empty; `key` says where it was configured. Raises `BuildError`."""
    users = made(key, lambda: Watched(path, htpasswd.parse)) if path else None
    file = configuration.access.robots
    return Accounts(users, made("access.robots", lambda: Watched(file, robots.parse)) if file else None)


def _silly(configuration: Configuration) -> Authorizer:
    if configuration.access.rules is not None:
        raise BuildError("access.rules: have no effect with auth.silly, which asks nobody who they are")
    return SillyAuthorizer(option(configuration, "realm"), option(configuration, "service"))


def _htpasswd(configuration: Configuration) -> Authorizer:
    realm, path = option(configuration, "realm"), option(configuration, "path")
    return BasicAuthorizer(realm, accounts(configuration, path, "auth.htpasswd.path"), policy(configuration))


def _token(configuration: Configuration) -> Authorizer:
    parameters = configuration.auth.parameters
    redirect = parameters.get("autoredirect", False)
    if not isinstance(redirect, bool):
        raise BuildError('auth.token.autoredirect: token auth requires a valid option bool: "autoredirect"')
    path = parameters.get("autoredirectpath") or REDIRECT_PATH
    if redirect and not (isinstance(path, str) and path.startswith("/")):
        raise BuildError("auth.token.autoredirectpath: must be a path")
    expectations = Expectations(
        realm=option(configuration, "realm"),
        service=option(configuration, "service"),
        issuer=option(configuration, "issuer"),
        algorithms=_algorithms(configuration),
        redirect_path=str(path) if redirect else "",
    )
    return TokenAuthorizer(expectations, _keyring(configuration), policy(configuration))


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
    sources: list[Source] = []
    parameters = configuration.auth.parameters
    for name, parse in (("rootcertbundle", parse_bundle), ("jwks", parse_jwks)):
        path = parameters.get(name)
        if path is None or path == "":
            continue
        if not isinstance(path, str):
            raise BuildError(f"auth.token.{name}: must be the path of a file")
        sources.append(_source(f"auth.token.{name}", path, parse))
    keyring = Keyring(sources)
    if not any(isinstance(source, UrlSource) or source.keys for source in sources):
        raise BuildError("auth.token: token auth requires at least one token signing key")
    return keyring


def _source(key: str, path: str, parse: Callable[[bytes, str], Keys]) -> Source:
    if parse is parse_jwks and path.startswith(("http://", "https://")):
        return UrlSource(path)
    return made(key, lambda: FileSource(path, parse))


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


def made(key: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except FileError as error:
        raise BuildError(f"{key}: {error}") from None
