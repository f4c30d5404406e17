"""Every authorizer keeps the promises of the port."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest
from tests.auth.serving import basic

from lading.auth.accounts import Accounts
from lading.auth.basic import BasicAuthorizer
from lading.auth.htpasswd import parse
from lading.auth.silly import SillyAuthorizer
from lading.auth.throttle import Throttle
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


AUTHORIZERS: dict[str, Callable[[Path], Trial]] = {"silly": _silly, "htpasswd": _htpasswd}


@pytest.mark.parametrize("case", CASES, ids=case_name)
@pytest.mark.parametrize("name", AUTHORIZERS)
async def test_contract(name: str, case: Case, tmp_path: Path) -> None:
    await AUTHORIZERS[name](tmp_path).check(case)
