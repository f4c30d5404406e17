"""The token service: sign-in by all its ways, what is granted, and what is refused."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import bcrypt
import jwt
import pytest
from tests.auth import tokens
from tests.auth.serving import basic, serve
from tests.auth.tokens import claims, token
from tests.wire.asgi import Answer, Client

from lading.api.standalone import Pages
from lading.auth import htpasswd, robots
from lading.auth.accounts import Accounts
from lading.auth.claims import TokenError
from lading.auth.issuing.endpoint import EXCHANGE, TokenEndpoint
from lading.auth.issuing.refresh import RefreshTokens
from lading.auth.issuing.service import Scope, TokenService, parse_scopes
from lading.auth.issuing.signing import AHEAD_SECONDS, LOOK_SECONDS, KeyStore
from lading.auth.issuing.workloads import MAX_SECONDS, ClaimRule, Provider, Workloads
from lading.auth.keyring import FileSource, Keyring
from lading.auth.keys import parse_jwks
from lading.auth.policy import Policy, Rule
from lading.auth.throttle import Throttle
from lading.auth.token import Expectations, TokenAuthorizer
from lading.auth.watched import FileError, Watched

SERVICE, ISSUER = "registry.test", "https://registry.test/auth"
RULES = (
    Rule(("public/**",), frozenset({"pull"}), ("anonymous",)),
    Rule(("${user}/**",), frozenset({"*"}), ("authenticated",)),
    Rule(("team/**",), frozenset({"pull", "push"}), ("@ci",)),
)
POLICY = Policy(RULES)
WORKLOAD_KEY = tokens.ec_key()


async def _at_once(_: float) -> None:
    """Sleeping, for tests of anything but the sleep."""


class World:
    """A token service, and a registry that trusts it."""

    def __init__(self, folder: Path, policy: Policy | None = POLICY) -> None:
        self.folder = folder
        self.moment = time.time()
        self.htpasswd = folder / "htpasswd"
        self.passwords(alice="secret", bob="other")
        self.robots = str(folder / "robots.json")
        self.robot = robots.create(self.robots, "ci", self.moment, 3600, frozenset({"ci"}))
        (folder / "workloads.json").write_text(tokens.jwks(tokens.jwk(WORKLOAD_KEY, "w")))
        self.keys = KeyStore(str(folder / "keys"), "ES256", 86400, 300, self.now)
        rules = (ClaimRule({"repository": "org/*", "ref": "refs/heads/main"}, "${repository}", frozenset({"ci"})),)
        keyring = Keyring([FileSource(str(folder / "workloads.json"), parse_jwks)])
        provider = Provider("forge", "https://forge.test", "https://registry.test", keyring, rules, self.now)
        self.service = TokenService(
            issuer=ISSUER,
            services=(SERVICE, "other.test"),
            lifetime=300,
            keys=self.keys,
            accounts=Accounts(
                Watched(str(self.htpasswd), htpasswd.parse),
                Watched(self.robots, robots.parse),
                self.now,
                Throttle(sleep=_at_once),
            ),
            refresh_tokens=RefreshTokens(self.keys.refresh_secret, 86400),
            policy=policy,
            workloads=Workloads((provider,)),
            now=self.now,
            ruled=frozenset({SERVICE}),
        )
        endpoint = TokenEndpoint(self.service)
        self.pages = {"/auth/token": endpoint.token, "/auth/jwks.json": endpoint.keys}
        self.client = Client(Pages(self.pages))
        source = FileSource(self.keys.jwks_path, parse_jwks)
        expected = Expectations("https://registry.test/auth/token", SERVICE, ISSUER)
        authorizer = TokenAuthorizer(expected, Keyring([source]), policy, self.now)
        self.registry = serve(authorizer, pages=self.pages, clock=self.now)

    def now(self) -> float:
        return self.moment

    def passwords(self, **users: str) -> None:
        lines = (
            f"{user}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}" for user, word in users.items()
        )
        self.htpasswd.write_text("\n".join(lines))

    async def get(self, *scopes: str, who: str = "", **query: str) -> Answer:
        text = urlencode([("service", SERVICE), *query.items(), *(("scope", scope) for scope in scopes)])
        return await self.client.get(f"/auth/token?{text}", {"Authorization": who} if who else {})

    async def post(self, **form: str) -> Answer:
        body = urlencode({"service": SERVICE, "client_id": "test", **form}).encode()
        return await self.client.post("/auth/token", {"Content-Type": "application/x-www-form-urlencoded"}, body)

    def read(self, answer: Answer) -> Mapping[str, Any]:
        document = answer.expect(200).json()
        text = document["access_token"]
        key = self.keys.current().private.public_key()
        return jwt.decode(
            text,
            key,
            ["ES256"],
            audience=SERVICE,
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


ALICE = basic("alice", "secret")


# what is asked and granted ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "scopes"),
    [
        (["repository:a/b:pull,push"], [Scope("repository", "a/b", ("pull", "push"))]),
        (["repository:a:pull repository:b:pull"], [Scope("repository", n, ("pull",)) for n in "ab"]),
        (["repository:h:5000/a:pull"], [Scope("repository", "h:5000/a", ("pull",))]),
        (["repository(plugin):a:pull"], [Scope("repository", "a", ("pull",), "plugin")]),
        (["registry:catalog:*"], [Scope("registry", "catalog", ("*",))]),
        (["", "repository", "repository:a", "repository::pull", "repository:a:", ":a:b", "(x):a:b"], []),
    ],
)
def test_scopes(texts: list[str], scopes: list[Scope]) -> None:
    assert parse_scopes(texts) == scopes


async def test_get_with_a_password(world: World) -> None:
    answer = await world.get("repository:alice/app:pull,push", who=ALICE)
    document = answer.expect(200).json()
    assert document["token"] == document["access_token"]
    assert document["expires_in"] == 300
    assert document["issued_at"].endswith("Z")
    assert "refresh_token" not in document
    assert answer.header("cache-control") == "no-store"
    told = world.read(answer)
    assert told["access"] == [{"type": "repository", "name": "alice/app", "actions": ["pull", "push"]}]
    assert (told["iss"], told["sub"], told["aud"]) == (ISSUER, "alice", SERVICE)
    assert told["exp"] - told["nbf"] == 300


@pytest.mark.parametrize(
    ("scope", "who", "granted"),
    [
        ("repository:alice/app:*", ALICE, ["pull", "push", "delete"]),
        ("repository:bob/app:pull", ALICE, []),
        ("repository:public/app:pull,push", ALICE, ["pull"]),
        ("repository:public/app:pull,push", "", ["pull"]),
        ("repository:public/app:fly", ALICE, []),
        ("registry:catalog:*", ALICE, ["*"]),
        ("registry:other:*", ALICE, []),
        ("machine:alice/app:pull", ALICE, []),
    ],
)
async def test_what_is_granted(world: World, scope: str, who: str, granted: list[str]) -> None:
    told = world.read(await world.get(scope, who=who))
    assert [each["actions"] for each in told["access"]] == ([granted] if granted else [])


async def test_without_rules_whoever_signs_in_may_do_everything(tmp_path: Path) -> None:
    world = World(tmp_path, None)
    told = world.read(await world.get("repository:x/y:pull,push", "repository(plugin):z:pull", who=ALICE))
    assert [each["actions"] for each in told["access"]] == [["pull", "push"], ["pull"]]
    assert told["access"][1]["class"] == "plugin"
    (await world.get("repository:x/y:pull")).expect(401)


async def test_who_is_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for who in (basic("alice", "wrong"), basic("nobody", "secret"), "Basic !", "Bearer x", basic("robot+ci", "x")):
        answer = (await world.get("repository:alice/app:pull", who=who)).expect(401)
        assert answer.header("www-authenticate") == 'Basic realm="token service"'
        assert answer.json()["errors"][0]["code"] == "UNAUTHORIZED"
    assert 'audit: refused token reason="unknown user or wrong password" user="alice"' in caplog.text
    caplog.clear()
    for scopes in ((), ("repository:alice/app:pull",)):
        (await world.get(*scopes)).expect(401)
    assert "audit" not in caplog.text, "nobody has shown anything"
    wrong = await world.client.get("/auth/token?service=elsewhere", {"Authorization": ALICE})
    assert wrong.expect(400).json()["error"] == "invalid_target"
    (await world.client.send("PUT", "/auth/token")).expect(405)
    (await world.client.post("/auth/token", (), b"x" * 200_000)).expect(413)
    (await world.post(grant_type="implicit")).expect(400)


async def test_granting_less_is_noted(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await world.get("repository:public/app:pull,push", who=ALICE)
    assert (
        'audit: granted less user="alice" client="192.0.2.7" asked="repository:public/app:pull,push" '
        'granted="repository:public/app:pull"'
    ) in caplog.text


# the ways of OAuth 2.0 --------------------------------------------------------------------------------------


async def test_post_with_a_password(world: World) -> None:
    answer = await world.post(
        grant_type="password", username="alice", password="secret", scope="repository:alice/app:pull"
    )
    document = answer.expect(200).json()
    assert document["token_type"] == "Bearer"
    assert document["scope"] == "repository:alice/app:pull"
    assert "refresh_token" not in document
    (await world.post(grant_type="password", username="alice", password="x")).expect(401)


async def test_refresh_tokens(world: World) -> None:
    offline = (await world.get(who=ALICE, offline_token="true")).expect(200).json()["refresh_token"]
    granted = await world.post(grant_type="password", username="alice", password="secret", access_type="offline")
    assert granted.expect(200).json()["refresh_token"]
    renewed = await world.post(grant_type="refresh_token", refresh_token=offline, scope="repository:alice/a:pull")
    assert renewed.expect(200).json()["refresh_token"] == offline
    assert world.read(renewed)["sub"] == "alice"
    for bad in ("", "x", offline[:-1], offline + "x", offline.replace(".", "", 1), "lading-refresh.a.b"):
        (await world.post(grant_type="refresh_token", refresh_token=bad)).expect(401)
    (await world.post(grant_type="refresh_token", refresh_token=offline, service="other.test")).expect(401)


async def test_refresh_tokens_end(world: World) -> None:
    offline = (await world.get(who=ALICE, offline_token="true")).json()["refresh_token"]
    world.moment += 86399
    (await world.post(grant_type="refresh_token", refresh_token=offline)).expect(200)
    world.moment += 1
    (await world.post(grant_type="refresh_token", refresh_token=offline)).expect(401)


async def test_refresh_tokens_end_with_the_password(world: World) -> None:
    offline = (await world.get(who=ALICE, offline_token="true")).json()["refresh_token"]
    world.passwords(alice="secret", bob="other")
    world.service.accounts.reload()
    (await world.post(grant_type="refresh_token", refresh_token=offline)).expect(401)


# robots -----------------------------------------------------------------------------------------------------


async def test_robots(world: World) -> None:
    told = world.read(await world.get("repository:team/app:pull,push,delete", who=basic("robot+ci", world.robot)))
    assert told["access"][0]["actions"] == ["pull", "push"]
    assert (told["sub"], told["groups"]) == ("robot+ci", ["ci"])
    assert world.robot not in Path(world.robots).read_text()
    assert stat.S_IMODE(os.stat(world.robots).st_mode) == 0o600
    offline = (await world.get(who=basic("robot+ci", world.robot), offline_token="true")).json()["refresh_token"]
    world.moment += 3600
    (await world.get(who=basic("robot+ci", world.robot))).expect(401)
    (await world.post(grant_type="refresh_token", refresh_token=offline)).expect(401)


async def test_a_revoked_robot(world: World) -> None:
    robots.revoke(world.robots, "ci")
    world.service.accounts.reload()
    (await world.get(who=basic("robot+ci", world.robot))).expect(401)
    with pytest.raises(robots.RobotError, match="no robot ci"):
        robots.revoke(world.robots, "ci")


def test_robots_that_cannot_be_made(tmp_path: Path) -> None:
    path = str(tmp_path / "robots.json")
    robots.create(path, "a", 100.0, 10, frozenset())
    with pytest.raises(robots.RobotError, match="already"):
        robots.create(path, "a", 105.0, 10, frozenset())
    robots.create(path, "a", 111.0, None, frozenset({"g"}))
    assert robots.load(path)["a"].groups == {"g"}
    for name in ("", "A", "a b", "a/b", "-a", "a:b", "+"):
        with pytest.raises(robots.RobotError, match="no name"):
            robots.create(path, name, 0, None, frozenset())
    Path(path).write_text("[]")
    with pytest.raises(FileError, match="is not a file of robot accounts"):
        robots.create(path, "b", 0, None, frozenset())


# workloads --------------------------------------------------------------------------------------------------


def job(**changes: Any) -> str:
    told = {"iss": "https://forge.test", "aud": "https://registry.test", "sub": "job", "repository": "org/app"}
    body = claims(**{**told, "ref": "refs/heads/main", "access": None, **changes})
    return token(WORKLOAD_KEY, body, kid="w")


async def test_a_job_gets_a_token_for_its_own(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scope = "repository:team/app:push"
    exchanged = await world.post(grant_type=EXCHANGE, subject_token=job(), scope=scope)
    told = world.read(exchanged)
    assert (told["sub"], told["groups"]) == ("forge+org/app", ["ci"])
    assert told["access"][0]["actions"] == ["push"]
    by_password = await world.get(scope, who=basic("oidc", job()), offline_token="true")
    assert "refresh_token" not in by_password.expect(200).json()
    assert 'audit: exchanged workload token user="forge+org/app" groups="ci"' in caplog.text


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://evil.test"}, "unknown issuer"),
        ({"aud": SERVICE}, "another service"),
        ({"exp": int(time.time()) - 100}, "expired"),
        ({"exp": int(time.time() + MAX_SECONDS) + 7200}, "too long"),
        ({"ref": "refs/heads/feature"}, "no rule of forge"),
        ({"ref": "refs/heads/main\n"}, "no rule of forge"),
        ({"repository": "organisation/app"}, "no rule of forge"),
        ({"repository": ["org/app"]}, "no rule of forge"),
        ({"repository": None}, "no rule of forge"),
    ],
)
async def test_jobs_that_get_none(world: World, changes: dict[str, Any], why: str) -> None:
    answer = (await world.post(grant_type=EXCHANGE, subject_token=job(**changes))).expect(401)
    assert why in answer.json()["error_description"]
    (await world.get(who=basic("oidc", job(**changes)))).expect(401)


async def test_a_job_with_a_foreign_signature(world: World) -> None:
    body = claims(iss="https://forge.test", aud="https://registry.test", repository="org/a", ref="refs/heads/main")
    for text in (token(tokens.ec_key(), body, kid="w"), token(tokens.ec_key(), body, kid="x"), "", "a.b.c", "x"):
        (await world.post(grant_type=EXCHANGE, subject_token=text)).expect(401)


async def test_a_registry_token_is_no_job(world: World) -> None:
    own = (await world.get(who=ALICE)).json()["token"]
    (await world.post(grant_type=EXCHANGE, subject_token=own)).expect(401)


def test_templates_need_their_claims() -> None:
    assert ClaimRule({"a": "*"}, "x-${a}-${n}").name_of({"a": "1", "n": 5}) == "x-1-5"
    for told in ({}, {"a": ["1"]}, {"a": True}, {"a": ""}):
        with pytest.raises(TokenError, match="no claim a"):
            ClaimRule({"a": "*"}, "${a}").name_of(told)


# keys -------------------------------------------------------------------------------------------------------


async def test_keys_are_published_before_they_sign_and_long_after(tmp_path: Path) -> None:
    moment = [1_000_000.0]
    store = KeyStore(str(tmp_path), "ES256", 86400, 300, lambda: moment[0])
    first = store.current().kid
    moment[0] += 86400
    assert store.current().kid == first
    assert len(parse_jwks(store.jwks(), "").by_id) >= 2
    other = KeyStore(str(tmp_path), "ES256", 86400, 300, lambda: moment[0])
    assert other.current().kid == first
    assert other.refresh_secret == store.refresh_secret
    moment[0] += AHEAD_SECONDS + LOOK_SECONDS
    second = store.current().kid
    assert second != first
    assert other.current().kid == second
    assert first in parse_jwks(Path(store.jwks_path).read_bytes(), "").by_id
    moment[0] += AHEAD_SECONDS + 300 + 3600
    store.current()
    assert first not in parse_jwks(Path(store.jwks_path).read_bytes(), "").by_id
    assert [name for name in os.listdir(tmp_path) if first in name] == []
    for name in os.listdir(tmp_path):
        mode = stat.S_IMODE((tmp_path / name).stat().st_mode)
        assert mode == (0o644 if name in {"jwks.json", ".lock"} else 0o600), name


def test_keys_can_be_replaced_by_hand(tmp_path: Path) -> None:
    moment = [1_000_000.0]
    store = KeyStore(str(tmp_path), "RS256", 86400, 300, lambda: moment[0])
    before = store.current()
    assert before.algorithm == "RS256"
    fresh = store.rotate()
    assert store.current().kid == before.kid
    moment[0] += AHEAD_SECONDS + 1
    assert store.current().kid == fresh.kid


def test_another_algorithm_is_another_key(tmp_path: Path) -> None:
    moment = [1_000_000.0]
    KeyStore(str(tmp_path), "RS256", 86400, 300, lambda: moment[0])
    store = KeyStore(str(tmp_path), "ES256", 86400, 300, lambda: moment[0])
    assert store.current().algorithm == "RS256"
    moment[0] += AHEAD_SECONDS + 1
    assert store.current().algorithm == "ES256"


def test_a_directory_that_is_of_no_use(tmp_path: Path) -> None:
    (tmp_path / "1-x.pem").write_text("nonsense")
    with pytest.raises(FileError, match=r"1-x\.pem: is not a private key"):
        KeyStore(str(tmp_path), "ES256", 86400, 300)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be used"):
        KeyStore(str(tmp_path / "file" / "keys"), "ES256", 86400, 300)


async def test_the_keys_are_served(world: World) -> None:
    answer = (await world.client.get("/auth/jwks.json")).expect(200)
    [key] = answer.json()["keys"]
    assert key["kid"] == world.keys.current().kid
    assert "d" not in key
    (await world.client.post("/auth/jwks.json")).expect(405)
    (await world.client.get("/")).expect(200)
    (await world.client.get("/v2/")).expect(404)


# with its registry ------------------------------------------------------------------------------------------


async def test_a_registry_that_is_its_own_token_server(world: World) -> None:
    challenge = (await world.registry.get("/v2/alice/app/tags/list")).expect(401).header("www-authenticate")
    assert challenge == (
        f'Bearer realm="https://registry.test/auth/token",service="{SERVICE}",scope="repository:alice/app:pull"'
    )
    answer = await world.registry.get(
        f"/auth/token?service={SERVICE}&scope=repository:alice/app:pull", {"Authorization": ALICE}
    )
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    (await world.registry.get("/v2/alice/app/tags/list", headers)).expect(404)
    (await world.registry.get("/v2/bob/app/tags/list", headers)).expect(401)
    world.moment += 361
    expired = (await world.registry.get("/v2/alice/app/tags/list", headers)).expect(401)
    assert 'error="invalid_token"' in str(expired.header("www-authenticate"))


async def test_groups_of_a_token_reach_the_rules_of_the_registry(world: World) -> None:
    who = basic("robot+ci", world.robot)
    answer = await world.get("repository:team/app:pull", who=who)
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    (await world.registry.get("/v2/team/app/tags/list", headers)).expect(404)


async def test_a_token_for_another_registry_is_refused(world: World) -> None:
    text = urlencode({"service": "other.test", "scope": "repository:alice/app:pull"})
    answer = await world.client.get(f"/auth/token?{text}", {"Authorization": ALICE})
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    refused = (await world.registry.get("/v2/alice/app/tags/list", headers)).expect(401)
    assert 'error="invalid_token"' in str(refused.header("www-authenticate"))


async def test_the_catalog_of_a_registry_that_does_not_know_the_rules(world: World) -> None:
    """It lists everything to whoever has the token."""

    async def granted(policy: Policy | None, service: str, who: str = ALICE) -> object:
        endpoint = TokenEndpoint(replace(world.service, policy=policy))
        text = urlencode({"service": service, "scope": "registry:catalog:*"})
        answer = await Client(Pages({"/t": endpoint.token})).get(f"/t?{text}", {"Authorization": who})
        options = {"verify_signature": False, "verify_aud": False}
        return jwt.decode(answer.expect(200).json()["token"], options=options)["access"] != []

    everything = Policy((*RULES, Rule(("**",), frozenset({"pull"}), ("bob",))))
    assert await granted(POLICY, SERVICE)
    assert not await granted(POLICY, "other.test")
    assert not await granted(everything, "other.test")
    assert await granted(everything, "other.test", basic("bob", "other"))
    assert await granted(None, "other.test")


async def test_a_failure_is_told_and_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(KeyStore):
        def current(self) -> Any:
            raise FileError("/keys: cannot be used: Permission denied")

    broken = Broken(str(world.folder / "more"), "ES256", 86400, 300)
    endpoint = TokenEndpoint(replace(world.service, keys=broken))
    answer = await Client(Pages({"/t": endpoint.token})).get("/t", {"Authorization": ALICE})
    assert answer.expect(500).json()["error"] == "server_error"
    assert "/keys: cannot be used" in caplog.text
    assert "/keys" not in answer.body.decode()
