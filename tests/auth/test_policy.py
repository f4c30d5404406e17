"""The operator's rules."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.auth.serving import basic, serve
from tests.wire.content import OCI, as_json

from lading.auth.accounts import Account, Accounts
from lading.auth.basic import BasicAuthorizer
from lading.auth.policy import Policy, Rule, check_pattern
from lading.registry import layout
from lading.registry.access import CATALOG, Access, Attempt, ForbiddenError, Needs, repository
from lading.storage.memory import MemoryStorage

RULES = (
    Rule(("public/**",), frozenset({"pull"}), ("anonymous",)),
    Rule(("${user}/**",), frozenset({"*"}), ("authenticated",)),
    Rule(("team/*", "shared"), frozenset({"pull", "push"}), ("@developers", "carol")),
    Rule(("**",), frozenset({"pull"}), ("auditor",)),
)
POLICY = Policy(RULES, {"developers": frozenset({"alice", "bob"})}, ("bob",))


def decide(user: str, name: str, action: str, *groups: str) -> bool:
    return POLICY.decide(POLICY.caller(user, frozenset(groups)), name, action).allowed


@pytest.mark.parametrize(
    ("user", "name", "action", "allowed"),
    [
        ("", "public/app", "pull", True),
        ("", "public/app/deep", "pull", True),
        ("", "public", "pull", False),
        ("", "publicity/app", "pull", False),
        ("", "public/app", "push", False),
        ("alice", "public/app", "pull", True),
        ("alice", "alice/app", "delete", True),
        ("alice", "alice/app", "push", True),
        ("alice", "carol/app", "pull", False),
        ("alice", "alice", "pull", False),
        ("alice", "team/app", "push", True),
        ("alice", "team/app", "delete", False),
        ("alice", "team/app/deep", "pull", False),
        ("alice", "shared", "push", True),
        ("bob", "team/app", "push", False),
        ("bob", "team/app", "pull", True),
        ("bob", "bob/app", "delete", False),
        ("carol", "team/app", "push", True),
        ("dave", "team/app", "pull", False),
        ("auditor", "anything/at/all", "pull", True),
        ("auditor", "anything", "delete", False),
        ("", "/app", "pull", False),
        ("**", "team/app", "pull", False),
        (".*", "carol/app", "pull", False),
        ("Alice", "Alice/app", "pull", False),
        ("robot+ci", "robot+ci/app", "pull", False),
    ],
)
def test_decisions(user: str, name: str, action: str, allowed: bool) -> None:
    assert decide(user, name, action) is allowed


def test_groups_from_elsewhere_count() -> None:
    assert not decide("dave", "team/app", "push")
    assert decide("dave", "team/app", "push", "developers")
    assert not decide("", "team/app", "push")


def test_a_decision_says_why() -> None:
    assert POLICY.decide(POLICY.caller("alice"), "team/app", "push").why == (
        "access.rules[2]: @developers, carol may pull, push in team/*, shared"
    )
    assert "readonly" in POLICY.decide(POLICY.caller("bob"), "team/app", "push").why
    assert POLICY.decide(POLICY.caller("dave"), "team/app", "push").why == "no rule allows it"


@pytest.mark.parametrize("pattern", ["", "a/", "/a", "a**", "a/b**", "A", "a b", "${usr}/x", "a:b", "a//b", "***"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        check_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["a", "*", "**", "a/*-x/**", "${user}/**", "**/cache", "team-${user}", "a/**/b"]
)
def test_patterns(pattern: str) -> None:
    check_pattern(pattern)
    policy = Policy((Rule((pattern,), frozenset({"pull"}), ("authenticated",)),))
    matches = policy.decide(policy.caller("a"), "a/b/cache", "pull").allowed
    assert matches is (pattern in {"**", "${user}/**", "**/cache"})


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("*", ["a", "abc"], ["a/b"]),
        ("**", ["a", "a/b/c"], [""]),
        ("**/cache", ["cache", "a/cache", "a/b/cache"], ["a/cache/b", "acache"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a", "ab", "a/xb"]),
        ("a.b", ["a.b"], ["axb"]),
        ("pre-*", ["pre-", "pre-x"], ["pre", "pre-x/y"]),
    ],
)
def test_matching(pattern: str, names: list[str], others: list[str]) -> None:
    policy = Policy((Rule((pattern,), frozenset({"pull"}), ("anonymous",)),))
    for name in names + others:
        assert policy.decide(policy.caller(""), name, "pull").allowed is (name in names)


@given(
    st.lists(st.sampled_from(["a", "b", "a*", "*", "**", "${user}"]), min_size=1, max_size=4),
    st.lists(st.sampled_from(["a", "b", "ab", "u"]), min_size=1, max_size=5),
)
def test_whatever_is_matched_is_led_to(parts: list[str], names: list[str]) -> None:
    policy = Policy((Rule(("/".join(parts),), frozenset({"pull"}), ("authenticated",)),))
    caller = policy.caller("u")
    if policy.allows(caller, "/".join(names), "pull"):
        assert all(policy.leads(caller, "/".join(names[:count])) for count in range(1, len(names) + 1))


def test_the_catalog_is_for_those_who_signed_in() -> None:
    assert not POLICY.grants(POLICY.caller("")).allows(CATALOG)
    assert POLICY.grants(POLICY.caller("dave")).allows(CATALOG)
    assert not POLICY.grants(POLICY.caller("dave")).allows(Access("registry", "other", "*"))
    assert not POLICY.grants(POLICY.caller("auditor")).allows(Access("repository(plugin)", "a", "pull"))


# behind a registry ------------------------------------------------------------------------------------------


class Trusting(Accounts):
    """Everybody's password is their name."""

    def __init__(self) -> None:
        super().__init__(None, None)

    async def check(self, user: str, password: str, client: str) -> Account | None:
        return Account(user, frozenset(), "") if user == password else None


AUTHORIZER = BasicAuthorizer("realm", Trusting(), POLICY)
CONFIG = b"{}"


def signed(user: str) -> dict[str, str]:
    return {"Authorization": basic(user, user)} if user else {}


async def push(client, user: str, name: str, tag: str = "latest"):
    from tests.wire.content import descriptor, digest

    start = await client.post(f"/v2/{name}/blobs/uploads/?digest={digest(CONFIG)}", signed(user), CONFIG)
    if start.status != 201:
        return start
    manifest = as_json(
        {"schemaVersion": 2, "mediaType": OCI, "config": descriptor("application/x", CONFIG), "layers": []}
    )
    headers = {**signed(user), "Content-Type": OCI}
    return await client.put(f"/v2/{name}/manifests/{tag}", headers, manifest)


async def test_rules_over_http() -> None:
    client = serve(AUTHORIZER)
    assert (await push(client, "alice", "alice/app")).status == 201
    assert (await push(client, "alice", "team/app")).status == 201
    refused = await push(client, "dave", "team/app")
    assert (refused.status, refused.codes()) == (403, ["DENIED"])
    assert (await push(client, "", "public/app")).status == 401
    (await client.get("/v2/team/app/tags/list", signed("dave"))).expect(403)
    (await client.get("/v2/no/such/tags/list", signed("dave"))).expect(403)
    (await client.get("/v2/team/app/tags/list", signed("bob"))).expect(200)
    (await client.get("/v2/public/none/tags/list")).expect(404)
    (await client.get("/v2/public/none/tags/list", {"Authorization": "Basic Og=="})).expect(404)
    (await client.get("/v2/public/none/tags/list", {"Authorization": basic("alice", "bad")})).expect(401)
    (await client.get("/v2/")).expect(401)
    (await client.delete("/v2/team/app/manifests/latest", signed("alice"))).expect(403)
    (await client.delete("/v2/alice/app/manifests/latest", signed("alice"))).expect(202)


async def test_the_catalog_shows_what_the_caller_may_pull() -> None:
    client = serve(AUTHORIZER)
    for user, name in [("alice", f"alice/r{number:03}") for number in range(120)] + [("zoe", "zoe/app")]:
        assert (await push(client, user, name)).status == 201
    assert (await push(client, "carol", "team/app")).status == 201

    async def listed(user: str, query: str) -> tuple[list[str], str | None]:
        answer = (await client.get(f"/v2/_catalog{query}", signed(user))).expect(200)
        return answer.json()["repositories"], answer.header("link")

    assert await listed("zoe", "") == (["zoe/app"], None)
    assert await listed("dave", "") == ([], None)
    assert await listed("carol", "?n=1") == (["team/app"], None)
    names, link = await listed("alice", "?n=120")
    assert len(names) == 120
    assert link == '</v2/_catalog?last=alice%2Fr119&n=120>; rel="next"'
    assert await listed("alice", "?n=120&last=alice/r119") == (["team/app"], None)
    assert (await listed("auditor", "?n=1&last=team/app"))[0] == ["zoe/app"]
    (await client.get("/v2/_catalog")).expect(401)


class Counting(MemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str] = []

    def _names(self, key: str) -> Sequence[str]:
        self.listed.append(key.removeprefix(layout.REPOSITORIES).lstrip("/"))
        return super()._names(key)


async def test_who_may_see_little_costs_little() -> None:
    storage = Counting()
    for name in [f"{team}/{app}/{part}" for team in "abcdefghij" for app in range(30) for part in range(3)]:
        await storage.put(f"{layout.repository(name)}/{layout.MANIFESTS}/x", b"")
    await storage.put(f"{layout.repository('team/app')}/{layout.MANIFESTS}/x", b"")
    client = serve(AUTHORIZER, storage)
    for user, expected in {"carol": ["team/app"], "dave": [], "bob": ["team/app"]}.items():
        storage.listed.clear()
        answer = (await client.get("/v2/_catalog", signed(user))).expect(200)
        assert (answer.json()["repositories"], answer.header("link")) == (expected, None)
        assert len(storage.listed) < 8, storage.listed
    answer = (await client.get("/v2/_catalog?n=1000", signed("auditor"))).expect(200)
    assert len(answer.json()["repositories"]) == 901


async def test_a_mount_without_rights_on_the_source_is_an_upload() -> None:
    from tests.wire.content import digest

    client = serve(AUTHORIZER)
    assert (await push(client, "zoe", "zoe/app")).status == 201
    assert (await push(client, "alice", "alice/app")).status == 201

    async def mount(user: str, target: str, source: str) -> int:
        query = f"?mount={digest(CONFIG)}" + (f"&from={source}" if source else "")
        return (await client.post(f"/v2/{target}/blobs/uploads/{query}", signed(user))).status

    assert await mount("alice", "alice/new", "alice/app") == 201
    assert await mount("alice", "alice/newer", "zoe/app") == 202
    assert await mount("alice", "alice/newer", "no/such") == 202
    assert await mount("alice", "alice/newest", "") == 202, "nobody is told what others hold"
    assert await mount("alice", "zoe/new", "alice/app") == 403


async def test_without_rules_blobs_are_mounted_from_anywhere() -> None:
    from tests.wire.content import digest

    client = serve(BasicAuthorizer("realm", Trusting()), MemoryStorage())
    assert (await push(client, "zoe", "zoe/app")).status == 201
    mount = await client.post(f"/v2/alice/new/blobs/uploads/?mount={digest(CONFIG)}", signed("alice"))
    assert mount.status == 201


async def test_who_is_refused_is_named() -> None:
    with pytest.raises(ForbiddenError) as raised:
        await AUTHORIZER.authorize(Attempt(basic("dave", "dave")), Needs(repository("team/app", "pull")))
    assert (raised.value.user, raised.value.reason) == ("dave", "no rule allows it")
