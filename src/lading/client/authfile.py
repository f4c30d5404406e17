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


class AuthFileError(ClientError):
    """A file of logins that cannot be read, or is none; the text names it and holds nothing of its content."""


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
    (`credHelpers`, `credsStore`) are asked before what the file holds itself.
    """

    def __init__(self, registry: str, files: Sequence[str] | None = None) -> None:
        """Without `files` those of `default_files`, which need not be there."""
        self._registry = registry
        self._files = default_files() if files is None else list(files)
        self._optional = files is None and "REGISTRY_AUTH_FILE" not in os.environ
        self._documents: list[Mapping[str, Any]] | None = None
        self._helpers: dict[str, HelperCredentials] = {}

    async def login(self, host: str, repository: str = "") -> Login | None:  # noqa: ARG002
        """Raises `AuthFileError`."""
        if self._documents is None:
            self._documents = list(self._read())
        for document in self._documents:
            found = await self._from_helpers(document) or self._from(document, repository)
            if found is not None:
                return found
        return None

    def _read(self) -> Iterator[Mapping[str, Any]]:
        for path in self._files:
            try:
                with open(path, "rb") as file:
                    document = json.loads(file.read())
            except (FileNotFoundError, NotADirectoryError):
                if self._optional:
                    continue
                raise AuthFileError(f"{path}: no such file") from None
            except OSError as error:
                raise AuthFileError(f"{path}: {error.strerror}") from None
            except (ValueError, RecursionError):
                raise AuthFileError(f"{path}: is not JSON") from None
            if not isinstance(document, dict):
                raise AuthFileError(f"{path}: is not a file of logins")
            yield document

    async def _from_helpers(self, document: Mapping[str, Any]) -> Login | None:
        named = _table(document, "credHelpers")
        for key in self._keys(""):
            if isinstance(name := named.get(key), str):
                return await self._helped(name)
        store = document.get("credsStore")
        return await self._helped(store) if isinstance(store, str) and store else None

    async def _helped(self, name: str) -> Login | None:
        helper = self._helpers.setdefault(name, HelperCredentials(f"docker-credential-{name}"))
        return await helper.login(_HUB_SERVER if self._registry == HUB else self._registry)

    def _from(self, document: Mapping[str, Any], repository: str) -> Login | None:
        # Old entries are written as URLs: what counts of them is the host.
        entries = {_plain(key): entry for key, entry in _table(document, "auths").items()}
        for key in self._keys(repository):
            if isinstance(entry := entries.get(_plain(key)), dict) and (found := _login(entry)) is not None:
                return found
        return None

    def _keys(self, repository: str) -> Iterator[str]:
        parts = [self._registry, *filter(None, repository.split("/"))]
        for length in range(len(parts), 0, -1):
            yield "/".join(parts[:length])
        if self._registry == HUB:
            yield from _HUB_KEYS


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _plain(key: str) -> str:
    scheme, separator, rest = key.partition("://")
    bare = rest if separator else scheme
    return bare.removesuffix("/").removesuffix("/v1").removesuffix("/v2")


def _login(entry: Mapping[str, Any]) -> Login | None:
    if isinstance(token := entry.get("identitytoken"), str) and token:
        return Login(IDENTITY_TOKEN, token)
    if isinstance(text := entry.get("auth"), str) and text:
        try:
            username, colon, password = base64.b64decode(text, validate=True).decode().rstrip("\0").partition(":")
        except ValueError:
            return None
        return Login(username, password) if colon else None
    plain = entry.get("username"), entry.get("password")
    if isinstance(plain[0], str) and isinstance(plain[1], str) and plain[0]:
        return Login(plain[0], plain[1])
    return None
