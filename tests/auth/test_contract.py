"""Every authorizer keeps the promises of the port."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest
from tests.auth import tokens
from tests.auth.serving import basic

from lading.auth.accounts import Accounts
from lading.auth.basic import BasicAuthorizer
from lading.auth.htpasswd import parse
from lading.auth.keyring import FileSource, Keyring
from lading.auth.keys import parse_jwks
from lading.auth.silly import SillyAuthorizer
from lading.auth.throttle import Throttle
from lading.auth.token import Expectations, TokenAuthorizer
from lading.auth.watched import Watched
from lading.testing.auth import CASES, Case, Trial, case_name


async def _at_once(_: float) -> None:
    """Sleeping, for tests of anything but the sleep."""


def _silly(_: Path) -> Trial:
    return Trial(SillyAuthorizer("realm", "service"), good="anything", accepts_anything=True)


def _htpasswd(folder: Path) -> Trial:
    file = folder / "htpasswd"
    file.write_bytes(b"user:" + bcrypt.hashpw(b"password", bcrypt.gensalt(4)))
    accounts = Accounts(Watched(str(file), parse), None, throttle=Throttle(sleep=_at_once))
    bad = (basic("user", "passwort"), basic("nobody", "password"), basic("user", ""), basic("", "password"))
    return Trial(BasicAuthorizer("realm", accounts), good=basic("user", "password"), bad=bad)


def _token(folder: Path) -> Trial:
    key, file = tokens.ec_key(), folder / "jwks.json"
    file.write_text(tokens.jwks(tokens.jwk(key, "k")))
    keyring = Keyring([FileSource(str(file), parse_jwks)])
    made = TokenAuthorizer(Expectations("realm", tokens.SERVICE, tokens.ISSUER), keyring)
    good = tokens.token(key, tokens.claims(), kid="k")
    other = tokens.token(key, tokens.claims(iss="other"), kid="k")
    return Trial(made, good=f"Bearer {good}", bad=(f"Bearer {other}", f"Bearer {good[:-5]}", "Basic dTpw"))


AUTHORIZERS: dict[str, Callable[[Path], Trial]] = {"silly": _silly, "htpasswd": _htpasswd, "token": _token}


@pytest.mark.parametrize("case", CASES, ids=case_name)
@pytest.mark.parametrize("name", AUTHORIZERS)
async def test_contract(name: str, case: Case, tmp_path: Path) -> None:
    await AUTHORIZERS[name](tmp_path).check(case)
