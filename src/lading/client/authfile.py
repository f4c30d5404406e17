"""The logins that `docker login` and `podman login` have stored: `config.json` and `auth.json`."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lading.client.credentials import IDENTITY_TOKEN, HelperCredentials, Login
from lading.client.errors import ClientError

HUB = "docker.io"
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io")
_HUB_SERVER = "https://index.docker.io/v1/"
"""What Docker's helpers know its own registry by."""


VARIABLE = "DOCKER_AUTH_CONFIG"
"""Holds what such a file holds, and comes before the files where programs look by themselves, as Docker has it."""


class AuthFileError(ClientError):
    """A file of logins that cannot be read, or is none; the text names it, and its entry, and holds no secret."""


def default_files(environment: Mapping[str, str] | None = None) -> list[str]:
    """Where Podman and Docker look, in their order; the file that REGISTRY_AUTH_FILE names stands alone."""
    known = os.environ if environment is None else environment
    if named := known.get("REGISTRY_AUTH_FILE"):
        return [named]
    home = known.get("HOME") or os.path.expanduser("~")
    runtime = known.get("XDG_RUNTIME_DIR")
    config = known.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    docker = known.get("DOCKER_CONFIG") or os.path.join(home, ".docker")
    return [
        os.path.join(runtime, "containers/auth.json") if runtime else f"/run/containers/{os.getuid()}/auth.json",
        os.path.join(config, "containers/auth.json"),
        os.path.join(docker, "config.json"),
    ]


class AuthFile:
    """The `Credentials` of one registry from the first file that has any.

    `registry` is a host with its port, as in references: that of Docker Hub is `docker.io`. Within a file the
    most particular entry counts, `host/namespace/repository` before `host/namespace` before `host`; helpers
    (`credHelpers`, `credsStore`) are asked before what the file holds itself. Of one entry `registrytoken` counts
    before `identitytoken`, and that before `auth`.
    """

    def __init__(self, registry: str, files: Sequence[str] | None = None) -> None:
        """Without `files` what DOCKER_AUTH_CONFIG holds, and `default_files`, which need not be there.

        If REGISTRY_AUTH_FILE names a file, that alone, which must be there.
        """
        self._registry = registry
        self._files = default_files() if files is None else list(files)
        self._optional = files is None and not os.environ.get("REGISTRY_AUTH_FILE")
        self._documents: list[tuple[str, Mapping[str, Any]]] | None = None
        self._helpers: dict[str, HelperCredentials] = {}

    async def login(self, host: str, repository: str = "") -> Login | None:  # noqa: ARG002
        """Raises `AuthFileError`."""
        if self._documents is None:
            self._documents = list(self._read())
        for name, document in self._documents:
            found = await self._from_helpers(name, document) or self._from(name, document, repository)
            if found is not None:
                return found
        return None

    def _read(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if self._optional and (text := os.environ.get(VARIABLE)):
            yield VARIABLE, _parsed(VARIABLE, text)
        for path in self._files:
            try:
                with open(path, "rb") as file:
                    data = file.read()
            except (FileNotFoundError, NotADirectoryError):
                if self._optional:
                    continue
                raise AuthFileError(f"{path}: no such file") from None
            except OSError as error:
                raise AuthFileError(f"{path}: {error.strerror}") from None
            yield path, _parsed(path, data)

    async def _from_helpers(self, name: str, document: Mapping[str, Any]) -> Login | None:
        named = _table(name, document, "credHelpers")
        for key in self._keys(""):
            if isinstance(helper := named.get(key), str):
                return await self._helped(helper)
        store = document.get("credsStore")
        return await self._helped(store) if isinstance(store, str) and store else None

    async def _helped(self, name: str) -> Login | None:
        helper = self._helpers.setdefault(name, HelperCredentials(f"docker-credential-{name}"))
        return await helper.login(_HUB_SERVER if self._registry == HUB else self._registry)

    def _from(self, name: str, document: Mapping[str, Any], repository: str) -> Login | None:
        # Old entries are written as URLs: what counts of them is the host.
        entries = {_plain(key): (key, entry) for key, entry in _table(name, document, "auths").items()}
        for wanted in self._keys(repository):
            key, entry = entries.get(_plain(wanted), ("", None))
            try:
                found = None if entry is None else _login(entry)
            except ValueError as error:
                raise AuthFileError(f"{name}: the entry {key!r} {error}") from None
            if found is not None:
                return found
        return None

    def _keys(self, repository: str) -> Iterator[str]:
        parts = [self._registry, *filter(None, repository.split("/"))]
        for length in range(len(parts), 0, -1):
            yield "/".join(parts[:length])
        if self._registry == HUB:
            yield from _HUB_KEYS


def _parsed(name: str, text: str | bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise AuthFileError(f"{name}: is not JSON") from None
    if not isinstance(document, dict):
        raise AuthFileError(f"{name}: is not a file of logins")
    return document


def _table(name: str, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key) or {}
    if not isinstance(found, dict):
        raise AuthFileError(f"{name}: {key} is no object")
    return found


def _plain(key: str) -> str:
    scheme, separator, rest = key.partition("://")
    bare = rest if separator else scheme
    return bare.removesuffix("/").removesuffix("/v1").removesuffix("/v2")


def _login(entry: Any) -> Login | None:
    """None for an entry that says nothing, as Docker writes it beside a helper. Raises `ValueError`."""
    if not isinstance(entry, dict):
        raise ValueError("is no object")
    registry_token, identity_token, auth, username, password = (
        _text(entry, key) for key in ("registrytoken", "identitytoken", "auth", "username", "password")
    )
    if registry_token:
        return Login("", "", registry_token)
    if identity_token:
        return Login(IDENTITY_TOKEN, identity_token)
    if auth:
        try:
            decoded = base64.b64decode(auth, validate=True).decode().rstrip("\0")
        except ValueError:  # the reason it gives may hold a part of the secret
            raise ValueError("has an auth that is not the base64 of UTF-8") from None
        username, colon, password = decoded.partition(":")
        if not colon:
            raise ValueError("has an auth that is not the base64 of USER:PASSWORD")
        return Login(username, password)
    return Login(username, password) if username else None


def _text(entry: Mapping[str, Any], key: str) -> str:
    found = entry.get(key) or ""
    if not isinstance(found, str):
        raise ValueError(f"has a {key} that is no text")
    return found
