"""The composition of who signs in, and of where the keys of tokens come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lading.auth import htpasswd, robots
from lading.auth.accounts import Accounts
from lading.auth.keyring import FileSource, Source, UrlSource
from lading.auth.keys import Keys, parse_jwks
from lading.auth.watched import FileError, Watched
from lading.compose.error import BuildError
from lading.config.models.configuration import Configuration

T = TypeVar("T")


def accounts(configuration: Configuration, path: str, key: str) -> Accounts:
    """Of the password file `path`, which may be empty; `key` says where it was configured. Raises `BuildError`."""
    users = made(key, lambda: Watched(path, htpasswd.parse)) if path else None
    file = configuration.access.robots
    return Accounts(users, made("access.robots", lambda: Watched(file, robots.parse)) if file else None)


def source(key: str, path: str, parse: Callable[[bytes, str], Keys]) -> Source:
    """The keys of a file, or of a URL for a JWKS. Raises `BuildError`."""
    if parse is parse_jwks and path.startswith(("http://", "https://")):
        try:
            return UrlSource(path)
        except ValueError as error:
            raise BuildError(f"{key}: is not a URL: {error}") from None
    return made(key, lambda: FileSource(path, parse))


def made(key: str, make: Callable[[], T]) -> T:
    """What `make` returns; a file that is of no use is the configuration's fault. Raises `BuildError`."""
    try:
        return make()
    except FileError as error:
        raise BuildError(f"{key}: {error}") from None
