"""Who is shown what: passwords, tokens and helpers, and that none of them goes astray."""

from __future__ import annotations

import base64
import stat
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
from tests.auth import token_server, tokens
from tests.pullthrough.conftest import NAME
from tests.pullthrough.upstream import Between, Fault, between
from tests.servers.content import Package
from tests.servers.process import Registry, StartRegistry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]

USER, PASSWORD = token_server.USER, token_server.PASSWORD
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture
def guarded(origin: Registry, start_distribution: StartRegistry, tmp_path: Path) -> Iterator[Between]:
    """The upstream's content, behind passwords."""
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "htpasswd").write_text(f"{USER}:{hashed}\n")
    htpasswd = {"realm": "upstream", "path": str(tmp_path / "htpasswd")}
    registry = start_distribution(root=origin.root, extra={"auth": {"htpasswd": htpasswd}})
    with between(registry.host) as made:
        yield made


def test_password(start_lading: StartRegistry, guarded: Between, package: Package) -> None:
    login = {"username": USER, "password": PASSWORD}
    cache = start_lading(extra={"proxy": {"remoteurl": f"http://{guarded.host}", **login}})
    assert cache.client.pull(NAME, "1.0") == package.everything()
    assert {shown for _, _, shown in guarded.requests} == {"", BASIC}
    assert PASSWORD not in cache.log.read_text().replace("user", "")


@pytest.mark.parametrize("login", [{}, {"username": USER, "password": "wrong"}], ids=["none", "wrong"])
def test_upstreams_refusal_is_passed_on(
    start_lading: StartRegistry, guarded: Between, package: Package, login: dict[str, str]
) -> None:
    cache = start_lading(extra={"proxy": {"remoteurl": f"http://{guarded.host}", **login}})
    for target in (f"manifests/{package.manifest.digest}", "manifests/1.0", f"blobs/{package.blobs[0].digest}"):
        answer = cache.client.get(f"/v2/{NAME}/{target}").expect(401)
        assert answer.json()["errors"][0]["code"] == "UNAUTHORIZED"


def test_helper(start_lading: StartRegistry, guarded: Between, package: Package, tmp_path: Path) -> None:
    helper, asked = tmp_path / "helper", tmp_path / "asked"
    answer = f'{{"ServerURL": "x", "Username": "{USER}", "Secret": "{PASSWORD}"}}'
    helper.write_text(f"#!/bin/sh\n(echo \"$1\"; cat; echo) >> {asked}\necho '{answer}'\n")
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    extra = {"remoteurl": f"http://{guarded.host}", "exec": {"command": str(helper)}, "password": "not this"}
    cache = start_lading(extra={"proxy": extra})
    assert cache.client.pull(NAME, "1.0") == package.everything()
    assert set(asked.read_text().split()) == {"get", guarded.host}


def test_credentials_do_not_follow_a_redirect(
    start_lading: StartRegistry, guarded: Between, origin: Registry, package: Package
) -> None:
    login = {"username": USER, "password": PASSWORD}
    cache = start_lading(extra={"proxy": {"remoteurl": f"http://{guarded.host}", **login}})
    cache.client.get(f"/v2/{NAME}/manifests/1.0").expect(200)
    blob = package.blobs[-1]
    with between(origin.host) as elsewhere:
        target = f"/v2/{NAME}/blobs/{blob.digest}"
        guarded.fault("/blobs/", Fault(307, {"Location": f"http://{elsewhere.host}{target}"}))
        assert cache.client.pull_blob(NAME, blob.digest) == blob.data
        assert elsewhere.requests == [("GET", target, "")]


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "another-host"])
def test_tokens(
    start_lading: StartRegistry,
    start_distribution: StartRegistry,
    origin: Registry,
    package: Package,
    tmp_path: Path,
    trusted: bool,
) -> None:
    """A token server is asked with the password, if it is where the upstream may send it."""
    with token_server.running() as (url, key), between(url.partition("//")[2]) as realm:
        (tmp_path / "keys.json").write_text(tokens.jwks(tokens.jwk(key, "independent")))
        with between(origin.host) as front:
            # An address counts with its port: only the upstream's own is trusted.
            host = front.host if trusted else realm.host
            token = {
                "realm": f"http://{host}/token",
                "service": tokens.SERVICE,
                "issuer": tokens.ISSUER,
                "jwks": str(tmp_path / "keys.json"),
            }
            registry = start_distribution(root=origin.root, extra={"auth": {"token": token}})
            front.target = registry.host
            front.elsewhere = {"/token": realm.target}
            login = {"username": USER, "password": PASSWORD}
            cache = start_lading(extra={"proxy": {"remoteurl": f"http://{front.host}", **login}})
            if trusted:
                assert cache.client.pull(NAME, "1.0") == package.everything()
                assert {shown for _, path, shown in front.requests if path.startswith("/token")} == {BASIC}
                shown = {shown.partition(" ")[0] for _, path, shown in front.requests if path.startswith("/v2/")}
                assert shown == {"", "Bearer"}
                assert front.asked("/token") <= 2  # one for each worker that was asked
            else:
                cache.client.get(f"/v2/{NAME}/manifests/1.0").expect(401)
                assert realm.requests == []
