"""Registries that ask who their callers are: Lading and the original, by password and by token."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bcrypt
from tests.auth import token_server, tokens
from tests.auth.token_server import PASSWORD, USER
from tests.servers import process
from tests.servers.process import Registry

from lading.client import Registries, StaticCredentials, Timing

TIMING = Timing(attempts=3, pause=0.05, idle=20)


@dataclass(frozen=True)
class Site:
    """A registry, and the host of its token server."""

    registry: Registry
    token_server: str

    def registries(self, *, password: str = PASSWORD) -> Registries:
        return Registries(
            credentials=lambda _: StaticCredentials(USER, password),
            plain_http=True,
            timing=TIMING,
            token_servers=frozenset({self.token_server}),
        )


@contextlib.contextmanager
def site(program: str, kind: str, folder: Path) -> Iterator[Site]:
    """`program` is lading or distribution, `kind` htpasswd or token."""
    folder.mkdir(parents=True)
    file = folder / "htpasswd"
    file.write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()}")
    with token_server.running() as (address, signing):
        keys = folder / "jwks.json"
        keys.write_text(tokens.jwks(tokens.jwk(signing, "independent")))
        token = {
            "realm": f"{address}/token",
            "service": tokens.SERVICE,
            "issuer": tokens.ISSUER,
            "jwks": str(keys),
        }
        auth = {"token": token} if kind == "token" else {"htpasswd": {"realm": "test", "path": str(file)}}
        run = process.lading() if program == "lading" else process.distribution()
        with process.registries(run, folder) as start:
            yield Site(start(extra={"auth": auth}), address.partition("://")[2])
