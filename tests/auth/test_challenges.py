"""What a request needs and how it is refused: the bytes of the original."""

from __future__ import annotations

import io
import logging

import pytest
from tests.auth.serving import basic, serve

from lading.api.authorize import needs_of
from lading.api.request import Request
from lading.api.routes import Route, match
from lading.auth.headers import basic_challenge, bearer_challenge, parse_basic, parse_bearer, quote, scope_of
from lading.auth.silly import SillyAuthorizer
from lading.operations.accesslog import AccessLog
from lading.registry import audit
from lading.registry.access import Needs

DIGEST = "sha256:" + "a" * 64
PULL, PUSH = "repository:a/b:pull", "repository:a/b:pull repository:a/b:push"
DELETE = "repository:a/b:delete"

SCOPES = [
    ("GET", "/v2/", ""),
    ("POST", "/v2/", ""),
    ("GET", "/v2/_catalog", "registry:catalog:*"),
    ("DELETE", "/v2/_catalog?from=x", "registry:catalog:*"),
    ("GET", "/v2/a/b/tags/list", PULL),
    ("HEAD", "/v2/a/b/manifests/latest", PULL),
    ("GET", f"/v2/a/b/referrers/{DIGEST}", PULL),
    ("GET", f"/v2/a/b/blobs/{DIGEST}", PULL),
    ("GET", "/v2/a/b/blobs/uploads/x", PULL),
    ("PUT", "/v2/a/b/manifests/latest", PUSH),
    ("POST", "/v2/a/b/blobs/uploads/", PUSH),
    ("PATCH", "/v2/a/b/blobs/uploads/x", PUSH),
    ("PUT", "/v2/a/b/blobs/uploads/x", PUSH),
    ("DELETE", "/v2/a/b/blobs/uploads/x", DELETE),
    ("DELETE", "/v2/a/b/manifests/latest", DELETE),
    ("DELETE", f"/v2/a/b/blobs/{DIGEST}", DELETE),
    ("OPTIONS", "/v2/a/b/tags/list", ""),
    ("POST", f"/v2/a/b/blobs/uploads/?mount={DIGEST}&from=c/d", f"{PUSH} repository:c/d:pull"),
    ("POST", f"/v2/a/b/blobs/uploads/?from=a/b&mount={DIGEST}", f"{PUSH} {PULL}"),
    ("GET", "/v2/a/b/tags/list?from=c/d", f"{PULL} repository:c/d:pull"),
]


def needs(method: str, target: str) -> Needs:
    path, _, query = target.partition("?")

    async def receive() -> dict[str, object]:
        raise AssertionError("the body is not read")

    scope = {"method": method, "path": path, "headers": [], "query_string": query.encode()}
    route = match(path)
    assert isinstance(route, Route)
    return needs_of(Request(scope, receive), route)


@pytest.mark.parametrize(("method", "target", "scope"), SCOPES)
def test_needs(method: str, target: str, scope: str) -> None:
    assert " ".join(map(str, needs(method, target).all)) == scope


def test_scopes_join_the_actions_of_a_resource() -> None:
    mount = needs("POST", f"/v2/a/b/blobs/uploads/?mount={DIGEST}&from=c/d")
    assert scope_of(mount.all) == "repository:a/b:pull,push repository:c/d:pull"
    assert (
        scope_of(needs("POST", f"/v2/a/b/blobs/uploads/?mount={DIGEST}&from=a/b").all)
        == "repository:a/b:pull,push"
    )
    assert scope_of([]) == ""


def test_challenge_strings() -> None:
    assert basic_challenge("a realm") == 'Basic realm="a realm"'
    assert bearer_challenge("https://auth/token", "reg") == 'Bearer realm="https://auth/token",service="reg"'
    scoped = bearer_challenge("r", "s", "registry:catalog:*", "insufficient_scope")
    assert scoped == 'Bearer realm="r",service="s",scope="registry:catalog:*",error="insufficient_scope"'


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a", '"a"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("\r\n\t\x00\x7f", '"\\r\\n\\t\\x00\\x7f"'),
        ("ü\u2028", '"ü\\u2028"'),
    ],
)
def test_quoting_as_go_does(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_credentials_are_read_as_go_reads_them() -> None:
    assert parse_basic(basic("user", "pass:word")) == ("user", "pass:word")
    assert parse_basic("bAsIc dTo=") == ("u", "")
    for malformed in ("", "Basic", "Basic dQ==", "Basic dTo", "Basic *", "Bearer dTo=", "Basic ü"):
        assert parse_basic(malformed) is None
    assert parse_bearer("bearer a.b.c") == "a.b.c"
    for malformed in ("", "Bearer", "Bearer ", "Basic a", "Bearera"):
        assert parse_bearer(malformed) == ""


async def test_a_refusal_tells_what_is_needed() -> None:
    client = serve(SillyAuthorizer("r", "s"))
    base = (await client.get("/v2/")).expect(401)
    assert base.body == (
        b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":null}]}\n'
    )
    assert base.header("www-authenticate") == 'Bearer realm="r",service="s"'
    assert base.header("docker-distribution-api-version") == "registry/2.0"
    put = (await client.put("/v2/a/b/manifests/x")).expect(401)
    assert put.header("www-authenticate") == f'Bearer realm="r",service="s",scope="{PUSH}"'
    assert put.json()["errors"][0]["detail"] == [
        {"Type": "repository", "Class": "", "Name": "a/b", "Action": action} for action in ("pull", "push")
    ]


async def test_what_is_no_route_is_answered_without_credentials() -> None:
    client = serve(SillyAuthorizer("r", "s"))
    (await client.get("/")).expect(200)
    (await client.get("/v1/")).expect(404)
    (await client.get("/v2")).expect(301)
    (await client.send("PATCH", "/v2/a/b/tags/list")).expect(401)
    (await client.send("PATCH", "/v2/a/b/tags/list", {"Authorization": "x"})).expect(405)


def test_the_audit_log_is_not_filled_by_those_it_is_about(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    audit.record("refused", user="x" * 60_000, reason='a "b"\n', client="")
    [line] = caplog.messages
    assert len(line) < 600
    assert line.endswith('..." reason="a \\"b\\"\\n"')


async def test_the_access_log_names_the_user() -> None:
    lines = io.StringIO()
    client = serve(SillyAuthorizer("r", "s"), access_log=AccessLog(lines))
    await client.get("/v2/", {"Authorization": "x"})
    await client.get("/v2/")
    first, second = lines.getvalue().splitlines()
    assert " - silly [" in first
    assert " - - [" in second
