"""The same credentials are accepted and the same challenges come back, from the same configuration."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from tests.auth import tokens
from tests.auth.serving import basic
from tests.auth.tokens import claims, entry, jwk, thumb, token
from tests.servers import process
from tests.servers.client import Answer, Client

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]

ROOT_KEY, MIDDLE_KEY, LEAF_KEY = (tokens.ec_key() for _ in range(3))
ROOT = tokens.certificate("root", ROOT_KEY, authority=True)
MIDDLE = tokens.certificate("middle", MIDDLE_KEY, ROOT, ROOT_KEY, authority=True)
LEAF = tokens.certificate("leaf", LEAF_KEY, MIDDLE, MIDDLE_KEY)
OTHER_KEY = tokens.ec_key()

KEYS: dict[str, tokens.PrivateKey] = {
    "ES256": tokens.ec_key(),
    "ES384": tokens.ec_key(ec.SECP384R1()),
    "ES512": tokens.ec_key(ec.SECP521R1()),
    "RS256": tokens.rsa_key(),
    "PS384": tokens.rsa_key(),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
KEY = KEYS["ES256"]

DIGEST = "sha256:" + "0" * 64
REQUESTS = [
    ("GET", "/"),
    ("GET", "/v2/"),
    ("HEAD", "/v2/"),
    ("POST", "/v2/"),
    ("GET", "/v2"),
    ("GET", "/v2/_catalog"),
    ("DELETE", "/v2/_catalog"),
    ("GET", "/v2/a/b/tags/list"),
    ("HEAD", "/v2/a/b/manifests/latest"),
    ("PUT", "/v2/a/b/manifests/latest"),
    ("DELETE", "/v2/a/b/manifests/latest"),
    ("GET", f"/v2/a/b/blobs/{DIGEST}"),
    ("DELETE", f"/v2/a/b/blobs/{DIGEST}"),
    ("POST", "/v2/a/b/blobs/uploads/"),
    ("POST", f"/v2/a/b/blobs/uploads/?mount={DIGEST}&from=c/d"),
    ("POST", f"/v2/a/b/blobs/uploads/?mount={DIGEST}&from=a/b"),
    ("PATCH", "/v2/a/b/blobs/uploads/x"),
    ("GET", "/v2/a/b/blobs/uploads/x"),
    ("DELETE", "/v2/a/b/blobs/uploads/x"),
    ("GET", "/v2/a/b/tags/list?from=c/d"),
    ("OPTIONS", "/v2/a/b/tags/list"),
    ("GET", "/nowhere"),
]

NOW = int(time.time())
TOKENS = {
    **{f"good, {name}": token(key, claims(), name, kid=name) for name, key in KEYS.items()},
    "by thumbprint of the bundle": token(ROOT_KEY, claims(), kid=thumb(ROOT_KEY)),
    "by certificates": token(LEAF_KEY, claims(), x5c=tokens.x5c(LEAF, MIDDLE)),
    "by the root itself": token(ROOT_KEY, claims(), x5c=tokens.x5c(ROOT)),
    "by an embedded key of a trusted name": token(KEY, claims(), jwk=jwk(KEY, "ES256")),
    "by an embedded key with certificates": token(
        LEAF_KEY, claims(), jwk=jwk(LEAF_KEY, "x", x5c=tokens.x5c(LEAF, MIDDLE))
    ),
    "within the leeway": token(KEY, claims(exp=NOW - 20, nbf=NOW + 20), kid="ES256"),
    "a list of audiences": token(KEY, claims(aud=["x", tokens.SERVICE]), kid="ES256"),
    "star": token(KEY, claims(entry("a/b", "*")), kid="ES256"),
    "pull only": token(KEY, claims(entry("a/b", "pull")), kid="ES256"),
    "another repository": token(KEY, claims(entry("a", "*")), kid="ES256"),
    "catalog": token(KEY, claims({"type": "registry", "name": "catalog", "actions": ["*"]}), kid="ES256"),
    "no access": token(KEY, claims(access=None), kid="ES256"),
    "no user": token(KEY, claims(sub=None), kid="ES256"),
    "both repositories": token(KEY, claims(entry("a/b", "pull", "push"), entry("c/d", "pull")), kid="ES256"),
    "expired": token(KEY, claims(exp=NOW - 3600), kid="ES256"),
    "no expiry": token(KEY, claims(exp=None), kid="ES256"),
    "from tomorrow": token(KEY, claims(nbf=NOW + 86400), kid="ES256"),
    "foreign issuer": token(KEY, claims(iss="other"), kid="ES256"),
    "another service": token(KEY, claims(aud="other"), kid="ES256"),
    "unknown key": token(OTHER_KEY, claims(), kid="other"),
    "no key": token(KEY, claims()),
    "an embedded key": token(OTHER_KEY, claims(), jwk=jwk(OTHER_KEY, "other")),
    "certificates without the middle": token(LEAF_KEY, claims(), x5c=tokens.x5c(LEAF)),
    "expired certificate": token(
        LEAF_KEY,
        claims(),
        x5c=tokens.x5c(tokens.certificate("leaf", LEAF_KEY, MIDDLE, MIDDLE_KEY, days=-1), MIDDLE),
    ),
    "alg none": tokens.b64(b'{"alg":"none","kid":"ES256"}') + "." + tokens.b64(b"{}") + ".",
    "garbage": "garbage",
    "two parts": "a.b",
}
ASKED = [
    ("GET", "/v2/"),
    ("GET", "/v2/a/b/tags/list"),
    ("DELETE", f"/v2/a/b/blobs/{DIGEST}"),
    ("PATCH", "/v2/a/b/blobs/uploads/x"),
    ("GET", "/v2/_catalog"),
]


def essence(answer: Answer) -> dict[str, Any]:
    """What a client sees of authorization; the original gives scopes and their actions in random order."""
    challenge = answer.headers["WWW-Authenticate"]
    return {
        "status": answer.status,
        "challenge": None if challenge is None else re.sub(r'scope="([^"]*)"', _sorted, challenge),
        "body": answer.body if answer.status == 401 else b"",
    }


def _sorted(match: re.Match[str]) -> str:
    scopes = []
    for scope in match[1].split(" "):
        head, _, actions = scope.rpartition(":")
        scopes.append(f"{head}:{','.join(sorted(actions.split(',')))}")
    return f'scope="{" ".join(sorted(scopes))}"'


Pair = tuple[Client, Client]


def both(stack: ExitStack, folder: Path, auth: dict[str, Any]) -> Pair:
    clients = []
    for program in (process.distribution(), process.lading()):
        start = stack.enter_context(process.registries(program, folder))
        clients.append(start(extra={"auth": auth}).client)
    return clients[0], clients[1]


@pytest.fixture(scope="module")
def with_htpasswd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("htpasswd")
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    kinds = "\n".join(f"user{kind}:${kind}${hashed[4:]}" for kind in ("2a", "2b", "2y"))
    long = bcrypt.hashpw(b"a" * 72, bcrypt.gensalt(4)).decode()
    (folder / "file").write_text(f"# users\n{kinds}\n\nlong:{long}\nold:$apr1$abc$def\n")
    with ExitStack() as stack:
        yield both(stack, folder, {"htpasswd": {"realm": 'the "realm"', "path": str(folder / "file")}})


@pytest.fixture(scope="module")
def with_silly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield both(stack, tmp_path_factory.mktemp("silly"), {"silly": {"realm": "r", "service": "s"}})


def options(folder: Path) -> dict[str, Any]:
    (folder / "bundle.pem").write_bytes(tokens.pem(ROOT))
    (folder / "jwks.json").write_text(tokens.jwks(*(jwk(key, name) for name, key in KEYS.items())))
    return {
        "realm": tokens.REALM,
        "service": tokens.SERVICE,
        "issuer": tokens.ISSUER,
        "rootcertbundle": str(folder / "bundle.pem"),
        "jwks": str(folder / "jwks.json"),
    }


@pytest.fixture(scope="module")
def with_tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("token")
    with ExitStack() as stack:
        yield both(stack, folder, {"token": options(folder)})


def same(pair: Pair, method: str, target: str, authorization: str | None = None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    original, ours = (essence(client.request(method, target, headers)) for client in pair)
    assert ours == original


@pytest.mark.parametrize(("method", "target"), REQUESTS)
def test_challenges(with_htpasswd: Pair, with_silly: Pair, with_tokens: Pair, method: str, target: str) -> None:
    for pair in (with_htpasswd, with_silly, with_tokens):
        same(pair, method, target)


@pytest.mark.parametrize(("method", "target"), ASKED)
@pytest.mark.parametrize("name", TOKENS)
def test_tokens(with_tokens: Pair, name: str, method: str, target: str) -> None:
    same(with_tokens, method, target, f"Bearer {TOKENS[name]}")


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer ", "bearer " + TOKENS["star"], "Bearer a b", "Basic dTpw", "nonsense", " ", "BEARER x"],
)
def test_headers_of_tokens(with_tokens: Pair, authorization: str) -> None:
    same(with_tokens, "GET", "/v2/a/b/tags/list", authorization)


@pytest.mark.parametrize(
    "authorization",
    [
        *(basic(f"user{kind}", "secret") for kind in ("2a", "2b", "2y")),
        basic("user2b", "wrong"),
        basic("user2b", ""),
        basic("nobody", "secret"),
        basic("", ""),
        basic("long", "a" * 72),
        basic("long", "a" * 80),
        basic("long", "a" * 71),
        basic("old", "x"),
        basic("user2b", "secret").replace("Basic", "bAsIC"),
        "Basic",
        "Basic !",
        "Bearer x",
    ],
)
def test_passwords(with_htpasswd: Pair, authorization: str) -> None:
    for method, target in ASKED:
        same(with_htpasswd, method, target, authorization)


def test_any_header_is_good_for_silly(with_silly: Pair) -> None:
    for authorization in ("x", "Basic", "Bearer x"):
        same(with_silly, "GET", "/v2/a/b/tags/list", authorization)


def test_a_mount_with_and_without_rights_on_its_source(with_tokens: Pair) -> None:
    target = f"/v2/a/b/blobs/uploads/?mount={DIGEST}&from=c/d"
    same(with_tokens, "POST", target, f"Bearer {TOKENS['both repositories']}")
    # Without: the original refuses, Lading lets the client upload (specification: "Mounting a blob ...").
    headers = {"Authorization": f"Bearer {TOKENS['star']}"}
    original, ours = (client.request("POST", target, headers) for client in with_tokens)
    assert (original.status, ours.status) == (401, 202)


def test_a_signature_that_does_not_verify(with_tokens: Pair) -> None:
    """The original does not say what is wrong (reference, section 11, number 54)."""
    headers = {"Authorization": f"Bearer {token(OTHER_KEY, claims(), kid='ES256')}"}
    original, ours = (essence(client.request("GET", "/v2/", headers)) for client in with_tokens)
    assert original["status"] == ours["status"] == 401
    assert ours["challenge"] == original["challenge"] + ',error="invalid_token"'


def test_the_names_libtrust_gave_keys(with_tokens: Pair) -> None:
    """The original knows them no more (number 55)."""
    headers = {"Authorization": f"Bearer {token(ROOT_KEY, claims(), kid=tokens.libtrust(ROOT_KEY))}"}
    original, ours = (client.request("GET", "/v2/", headers) for client in with_tokens)
    assert (original.status, ours.status) == (401, 200)


def test_autoredirect_and_chosen_algorithms(tmp_path: Path) -> None:
    more = {"autoredirect": True, "autoredirectpath": "/our/token", "signingalgorithms": ["RS256", "HS256"]}
    with ExitStack() as stack:
        pair = both(stack, tmp_path, {"token": options(tmp_path) | more})
        for headers in (
            {"Host": "here:1"},
            {"Host": "here", "X-Forwarded-Proto": "http"},
            {"Host": "here", "X-Forwarded-Host": "there", "Forwarded": "host=there"},
        ):
            original, ours = (essence(client.request("GET", "/v2/", headers)) for client in pair)
            assert ours == original
        for name in ("good, RS256", "good, ES256"):
            for client in pair:
                status = client.request("GET", "/v2/", {"Authorization": f"Bearer {TOKENS[name]}"}).status
                assert status == (200 if "RS256" in name else 401)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("silly", {"realm": None}),
        ("silly", {"service": None}),
        ("htpasswd", {"realm": None}),
        ("htpasswd", {"path": None}),
        ("token", {"realm": None}),
        ("token", {"service": None}),
        ("token", {"issuer": None}),
        ("token", {"rootcertbundle": None, "jwks": None}),
        ("token", {"rootcertbundle": "/no/such"}),
        ("token", {"jwks": "/no/such"}),
        ("token", {"signingalgorithms": ["none"]}),
        ("token", {"signingalgorithms": "ES256"}),
        ("ldap", {}),
    ],
)
def test_what_stops_the_start(tmp_path: Path, kind: str, change: dict[str, Any]) -> None:
    full = {
        "silly": {"realm": "r", "service": "s"},
        "htpasswd": {"realm": "r", "path": str(tmp_path / "htpasswd")},
        "token": options(tmp_path),
        "ldap": {"realm": "r"},
    }[kind]
    made = {name: value for name, value in {**full, **change}.items() if value is not None}
    for program in (process.distribution(), process.lading()):
        with process.registries(program, tmp_path) as start:
            with pytest.raises(process.RegistryProcessError) as raised:
                start(extra={"auth": {kind: made}})
            if program.name == "lading":
                [line] = [line for line in str(raised.value).splitlines() if "configuration error" in line]
                assert "Traceback" not in str(raised.value)
                assert f"auth.{kind}" in line or "auth: unable to configure authorization" in line
