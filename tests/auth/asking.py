"""An authorizer of tokens, and what it says to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.auth import tokens
from tests.auth.tokens import ISSUER, REALM, SERVICE, jwks

from lading.auth.keyring import FileSource, Keyring, Source
from lading.auth.keys import parse_bundle, parse_jwks
from lading.auth.token import Expectations, TokenAuthorizer
from lading.registry.access import Attempt, ChallengeError, Identity, Needs, repository

EXPECTED = Expectations(REALM, SERVICE, ISSUER)
PULL = Needs(repository("a/b", "pull"))
KEY = tokens.ec_key()
PLAIN = f'Bearer realm="{REALM}",service="{SERVICE}",scope="repository:a/b:pull"'


def authorizer(folder: Path, *entries: dict[str, Any], bundle: bytes = b"", **more: Any) -> TokenAuthorizer:
    sources: list[Source] = []
    file = folder / "jwks.json"
    file.write_text(jwks(*entries))
    sources.append(FileSource(str(file), parse_jwks))
    if bundle:
        (folder / "bundle.pem").write_bytes(bundle)
        sources.append(FileSource(str(folder / "bundle.pem"), parse_bundle))
    return TokenAuthorizer(more.pop("expected", EXPECTED), Keyring(sources), **more)


async def ask(made: TokenAuthorizer, text: str, needs: Needs = PULL) -> Identity:
    return await made.authorize(Attempt(f"Bearer {text}", "192.0.2.1", "registry.test"), needs)


async def refused(made: TokenAuthorizer, text: str, needs: Needs = PULL) -> ChallengeError:
    with pytest.raises(ChallengeError) as raised:
        await ask(made, text, needs)
    return raised.value
