"""Bearer tokens: which are believed, and which challenge answers the others."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.auth import tokens
from tests.auth.asking import KEY, PLAIN, PULL, ask, authorizer, refused
from tests.auth.serving import serve
from tests.auth.tokens import ISSUER, REALM, SERVICE, claims, entry, jwk, jwks, token

from lading.auth.keys import names_of, parse_bundle, parse_jwks, thumbprint
from lading.auth.policy import Policy, Rule
from lading.auth.token import REMEMBER_SECONDS, Expectations
from lading.auth.watched import FileError
from lading.registry.access import Attempt, ChallengeError, ForbiddenError, Needs, repository

# what is believed -------------------------------------------------------------------------------------------

KEYS: dict[str, Callable[[], tokens.PrivateKey]] = {
    "ES256": tokens.ec_key,
    "ES384": lambda: tokens.ec_key(ec.SECP384R1()),
    "ES512": lambda: tokens.ec_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    **dict.fromkeys(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], tokens.rsa_key),
}


@pytest.mark.parametrize("algorithm", KEYS)
async def test_algorithms(algorithm: str, tmp_path: Path) -> None:
    key = KEYS[algorithm]()
    made = authorizer(tmp_path, jwk(key, "k"))
    identity = await ask(made, token(key, claims(), algorithm, kid="k"))
    assert identity.user == "user"
    others = authorizer(tmp_path, jwk(key, "k"), expected=Expectations("r", SERVICE, ISSUER, frozenset({"X"})))
    assert "not allowed" in (await refused(others, token(key, claims(), algorithm, kid="k"))).reason


def test_names_of_keys() -> None:
    """RFC 7638, section 3.1, has this key and its thumbprint."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4"
        "n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0"
        "zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-c"
        "sFCur-kEgU8awapJzKnqDKgw"
    )
    keys = parse_jwks(json.dumps({"keys": [{"kty": "RSA", "n": n, "e": "AQAB"}]}).encode(), "f")
    assert "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" in keys.by_id
    for key in (tokens.rsa_key(), KEY, ed25519.Ed25519PrivateKey.generate()):
        assert tokens.libtrust(key) in names_of(key.public_key())


def test_a_short_coordinate_has_two_thumbprints() -> None:
    """The original leaves leading zeros out."""
    while True:
        key = tokens.ec_key()
        if key.public_key().public_numbers().x < 1 << 248:
            break
    numbers = key.public_key().public_numbers()
    short = {
        "crv": "P-256",
        "kty": "EC",
        "x": tokens.b64(numbers.x.to_bytes((numbers.x.bit_length() + 7) // 8, "big")),
        "y": tokens.b64(numbers.y.to_bytes((numbers.y.bit_length() + 7) // 8, "big")),
    }
    print_of = tokens.b64(hashlib.sha256(json.dumps(short, separators=(",", ":")).encode()).digest())
    assert print_of != thumbprint(key.public_key())
    assert print_of in names_of(key.public_key())


async def test_keys_of_a_bundle_by_all_their_names(tmp_path: Path) -> None:
    key = tokens.ec_key()
    made = authorizer(tmp_path, bundle=b"junk\n" + tokens.pem(tokens.certificate("ca", key, authority=True)))
    for name in (thumbprint(key.public_key()), tokens.libtrust(key)):
        assert (await ask(made, token(key, claims(), kid=name))).user == "user"
        assert (await ask(made, token(key, claims(), jwk=jwk(key, name)))).user == "user"
    await refused(made, token(key, claims(), kid="other"))


async def test_chains(tmp_path: Path) -> None:
    root_key, middle_key, leaf_key, evil_key = (tokens.ec_key() for _ in range(4))
    root = tokens.certificate("root", root_key, authority=True)
    middle = tokens.certificate("middle", middle_key, root, root_key, authority=True)
    leaf = tokens.certificate("leaf", leaf_key, middle, middle_key)
    made = authorizer(tmp_path, bundle=tokens.pem(root))
    assert (await ask(made, token(leaf_key, claims(), x5c=tokens.x5c(leaf, middle)))).user == "user"
    embedded = jwk(leaf_key, "any", x5c=tokens.x5c(leaf, middle))
    assert (await ask(made, token(leaf_key, claims(), jwk=embedded))).user == "user"
    assert (await ask(made, token(root_key, claims(), x5c=tokens.x5c(root)))).user == "user"

    no_root = "the certificates lead to no root of the bundle"
    assert (await refused(made, token(leaf_key, claims(), x5c=tokens.x5c(leaf)))).reason == no_root
    under_leaf = tokens.certificate("evil", evil_key, leaf, leaf_key)
    chain = tokens.x5c(under_leaf, leaf, middle)
    assert (await refused(made, token(evil_key, claims(), x5c=chain))).reason == no_root
    itself = tokens.certificate("root", evil_key, authority=True)
    assert (await refused(made, token(evil_key, claims(), x5c=tokens.x5c(itself)))).reason == no_root
    expired = tokens.certificate("leaf", leaf_key, middle, middle_key, days=-1)
    assert (await refused(made, token(leaf_key, claims(), x5c=tokens.x5c(expired, middle)))).reason == no_root
    # Failure is final: a name that is trusted does not help.
    known = thumbprint(root_key.public_key())
    assert (await refused(made, token(root_key, claims(), x5c=tokens.x5c(leaf), kid=known))).reason == no_root
    for malformed in ([], ["!"], "text", ["AAAA"], tokens.x5c(*[leaf] * 20)):
        assert "x5c" in (await refused(made, token(leaf_key, claims(), x5c=malformed))).reason


async def test_leeway_is_a_minute(tmp_path: Path) -> None:
    made, now = authorizer(tmp_path, jwk(KEY, "k")), time.time()
    assert (await ask(made, token(KEY, claims(exp=now - 50), kid="k"))).user
    assert (await ask(made, token(KEY, claims(nbf=now + 50), kid="k"))).user
    assert "expired" in (await refused(made, token(KEY, claims(exp=now - 70), kid="k"))).reason
    assert "not valid yet" in (await refused(made, token(KEY, claims(nbf=now + 70), kid="k"))).reason
    assert (await ask(made, token(KEY, claims(nbf=None), kid="k"))).user
    assert "expired" in (await refused(made, token(KEY, claims(exp=None), kid="k"))).reason


async def test_audiences(tmp_path: Path) -> None:
    made = authorizer(tmp_path, jwk(KEY, "k"))
    assert (await ask(made, token(KEY, claims(aud=["other", SERVICE]), kid="k"))).user
    for audience in ("other", [], ["other"], SERVICE + "x", None, {"a": SERVICE}, 7):
        assert "another service" in (await refused(made, token(KEY, claims(aud=audience), kid="k"))).reason


async def test_grants(tmp_path: Path) -> None:
    made = authorizer(tmp_path, jwk(KEY, "k"))
    text = token(KEY, claims(entry("a/b", "pull"), entry("a/b", "push"), entry("c/d", "*")), kid="k")
    both = Needs(repository("a/b", "pull", "push"))
    identity = await ask(made, text, both)
    assert not identity.may_pull("c/e")
    await ask(made, text, Needs(repository("c/d", "delete")))
    lacking = await refused(made, text, Needs(repository("a/b", "delete")))
    assert lacking.header.endswith(',scope="repository:a/b:delete",error="insufficient_scope"')
    # A source that may not be pulled is no reason to refuse: the mount becomes an upload.
    identity = await ask(made, text, Needs(both.required, repository("x/y", "pull")))
    assert not identity.may_pull("x/y")
    for broken in ("text", [1], [{"type": "repository", "name": "a/b", "actions": "pull"}]):
        assert (await refused(made, token(KEY, claims(access=broken), kid="k"))).header.endswith('"')


async def test_classes(tmp_path: Path) -> None:
    made = authorizer(tmp_path, jwk(KEY, "k"))
    plugin = {**entry("a/b", "pull"), "class": "plugin"}
    identity = await ask(made, token(KEY, claims(plugin, entry("c/d", "pull")), kid="k"))
    assert identity.grants.classes("a/b") == {"plugin"}
    assert identity.grants.classes("c/d") == {"image"}
    assert identity.grants.classes("e/f") == set()


# what is not ------------------------------------------------------------------------------------------------


def confused() -> str:
    """Signed with the public key as if it were a shared secret."""
    head = tokens.b64(json.dumps({"alg": "HS256", "kid": "k"}).encode())
    text = f"{head}.{tokens.b64(json.dumps(claims()).encode())}"
    secret = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{text}.{tokens.b64(hmac.digest(secret, text.encode(), 'sha256'))}"


def unsigned(name: str) -> str:
    head = tokens.b64(json.dumps({"alg": name, "kid": "k"}).encode())
    return f"{head}.{tokens.b64(json.dumps(claims()).encode())}."


def tampered() -> str:
    head, _, signed = token(KEY, claims(entry("a/b", "pull")), kid="k").split(".")
    return f"{head}.{tokens.b64(json.dumps(claims(entry('a/b', '*'))).encode())}.{signed}"


GOOD = token(KEY, claims(), kid="k")
OTHER = tokens.ec_key()
BAD = {
    "expired": token(KEY, claims(exp=time.time() - 3600), kid="k"),
    "foreign issuer": token(KEY, claims(iss="other"), kid="k"),
    "no issuer": token(KEY, claims(iss=None), kid="k"),
    "another service": token(KEY, claims(aud="other"), kid="k"),
    "foreign key": token(OTHER, claims(), kid="other"),
    "foreign key under a trusted name": token(OTHER, claims(), kid="k"),
    "a key it brings along": token(OTHER, claims(), jwk=jwk(OTHER, "other")),
    "a key it brings along under a trusted name": token(OTHER, claims(), jwk=jwk(OTHER, "k")),
    "no key named": token(KEY, claims()),
    "a key by URL": token(OTHER, claims(), jku="https://evil.test/keys", kid="k"),
    "alg none": unsigned("none"),
    "alg nOnE": unsigned("nOnE"),
    "alg none with a signature": unsigned("none") + "AAAA",
    "key confusion": confused(),
    "another algorithm of the kind": GOOD.replace(
        GOOD.partition(".")[0], tokens.b64(b'{"alg":"ES384","kid":"k"}')
    ),
    "another kind": GOOD.replace(GOOD.partition(".")[0], tokens.b64(b'{"alg":"RS256","kid":"k"}')),
    "tampered": tampered(),
    "critical extensions": token(KEY, claims(), kid="k", crit=["b64"], b64=False),
    "truncated": GOOD[:-10],
    "without its signature": GOOD.rpartition(".")[0],
    "with an empty signature": GOOD.rpartition(".")[0] + ".",
    "header alone": GOOD.partition(".")[0],
    "four parts": GOOD + ".x",
    "padded": GOOD + "=",
    "not base64": "!.!.!",
    "header not JSON": tokens.b64(b"x") + ".e30.AAAA",
    "header a list": tokens.b64(b"[]") + ".e30.AAAA",
    "claims a list": token(KEY, [], kid="k"),  # type: ignore[arg-type]
    "text for a time": token(KEY, claims(exp="2099"), kid="k"),
    "true for a time": token(KEY, claims(exp=True), kid="k"),
    "an endless time": token(KEY, claims(nbf=10**400), kid="k"),
    "huge": "a" * 70000 + ".b.c",
    "deep": tokens.b64(b"[" * 30000) + ".e30.AAAA",
}


@pytest.mark.parametrize("why", BAD)
async def test_bad_tokens_are_refused_as_invalid(why: str, tmp_path: Path) -> None:
    made = authorizer(tmp_path, jwk(KEY, "k"), {"kty": "oct", "kid": "s", "k": "c2VjcmV0"})
    refusal = await refused(made, BAD[why])
    assert refusal.header == f'{PLAIN},error="invalid_token"'
    assert refusal.reason
    assert BAD[why] not in refusal.reason


async def test_symmetric_keys_are_of_no_use(tmp_path: Path) -> None:
    made = authorizer(tmp_path, jwk(KEY, "k"), {"kty": "oct", "kid": "s", "k": tokens.b64(b"s" * 32)})
    text = jwt.encode(claims(), b"s" * 32, "HS256", {"kid": "s"})
    assert (await refused(made, text)).header.endswith('error="invalid_token"')


@pytest.mark.parametrize(
    ("authorization", "error"),
    [
        ("", False),
        ("Bearer", False),
        ("Bearer ", False),
        ("Basic dTpw", False),
        ("Bearer a b", True),
        ("Bearer x", True),
    ],
)
async def test_challenges(authorization: str, error: bool, tmp_path: Path) -> None:
    made = authorizer(tmp_path, jwk(KEY, "k"))
    for needs, scope in [
        (Needs(), ""),
        (PULL, ',scope="repository:a/b:pull"'),
        (
            Needs(repository("a/b", "pull", "push"), repository("c/d", "pull")),
            ',scope="repository:a/b:pull,push repository:c/d:pull"',
        ),
    ]:
        with pytest.raises(ChallengeError) as raised:
            await made.authorize(Attempt(authorization), needs)
        told = ',error="invalid_token"' if error else ""
        assert raised.value.header == f'Bearer realm="{REALM}",service="{SERVICE}"{scope}{told}'


async def test_autoredirect(tmp_path: Path) -> None:
    made = authorizer(
        tmp_path, jwk(KEY, "k"), expected=Expectations(REALM, SERVICE, ISSUER, redirect_path="/auth/token")
    )

    async def realm(host: str, proto: str = "") -> str:
        with pytest.raises(ChallengeError) as raised:
            await made.authorize(Attempt(host=host, forwarded_proto=proto), Needs())
        return raised.value.header.partition(",service=")[0]

    assert await realm("here:5000") == 'Bearer realm="https://here:5000/auth/token"'
    assert await realm("here", "http") == 'Bearer realm="http://here/auth/token"'
    assert await realm('x",error="\r\n') == 'Bearer realm="https://x\\",error=\\"\\r\\n/auth/token"'


# what is remembered -----------------------------------------------------------------------------------------


async def test_verified_tokens_are_remembered_until_they_expire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = [time.time()]
    made = authorizer(tmp_path, jwk(KEY, "k"), now=lambda: moment[0])
    text = token(KEY, claims(exp=moment[0] + 100), kid="k")
    decoded, decode = [], jwt.PyJWS.decode
    monkeypatch.setattr(jwt.PyJWS, "decode", lambda *a, **k: decoded.append(1) or decode(*a, **k))
    for _ in range(5):
        await ask(made, text)
    assert len(decoded) == 1
    moment[0] += 161
    assert "expired" in (await refused(made, text)).reason


async def test_a_token_outlives_none_of_its_certificates(tmp_path: Path) -> None:
    moment = [time.time()]
    root_key, leaf_key = tokens.ec_key(), tokens.ec_key()
    root = tokens.certificate("root", root_key, authority=True, days=90)
    leaf = tokens.certificate("leaf", leaf_key, root, root_key, days=1)
    made = authorizer(tmp_path, bundle=tokens.pem(root), now=lambda: moment[0])
    text = token(leaf_key, claims(exp=moment[0] + 30 * 86400), x5c=tokens.x5c(leaf))
    await ask(made, text)
    moment[0] += 86400 + REMEMBER_SECONDS
    assert "lead to no root" in (await refused(made, text)).reason


async def test_times_that_are_none(tmp_path: Path) -> None:
    """Python reads them, and NaN compares with nothing."""
    made = authorizer(tmp_path, jwk(KEY, "k"))
    for name, value in (("exp", math.nan), ("exp", math.inf), ("nbf", math.nan), ("exp", 10**400), ("exp", "1")):
        assert (
            f"{name} is not a time" in (await refused(made, token(KEY, claims(**{name: value}), kid="k"))).reason
        )


async def test_a_key_that_is_taken_away_ends_its_tokens(tmp_path: Path) -> None:
    file, clock = tmp_path / "jwks.json", [0.0]
    made = authorizer(tmp_path, jwk(KEY, "k"))
    text = token(KEY, claims(), kid="k")
    await ask(made, text)
    file.write_text(jwks(jwk(OTHER, "other")))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        await asyncio.sleep(0.05)
        try:
            await ask(made, text)
        except ChallengeError:
            break
    else:
        pytest.fail(f"still believed: {clock}")
    assert (await ask(made, token(OTHER, claims(), kid="other"))).user


async def test_a_new_key_of_a_file_is_known_at_once(tmp_path: Path) -> None:
    made = authorizer(tmp_path, jwk(KEY, "k"))
    await ask(made, token(KEY, claims(), kid="k"))
    (tmp_path / "jwks.json").write_text(jwks(jwk(KEY, "k"), jwk(OTHER, "new")))
    assert (await ask(made, token(OTHER, claims(), kid="new"))).user


# files that are wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"keys":{}}', b"\xff", b"[" * 10, b"[" * 10**6])
def test_a_set_of_keys_that_is_none(text: bytes) -> None:
    with pytest.raises(FileError, match="f: failed to parse jwks"):
        parse_jwks(text, "f")


def test_entries_of_no_use_are_left_out() -> None:
    entries = [
        {"kty": "EC", "kid": "x"},
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        7,
        {"kty": "X"},
        {"kty": ["EC"]},
        {**jwk(KEY, "k"), "x": "AA"},
    ]
    assert not parse_jwks(json.dumps({"keys": entries}).encode(), "f")
    private = jwk(KEY, "private", d=tokens.b64(b"\1" * 32))
    assert parse_jwks(jwks(private).encode(), "f").by_id["private"] == KEY.public_key()


def test_a_bundle_that_is_none() -> None:
    with pytest.raises(FileError, match="unable to parse token auth root certificate"):
        parse_bundle(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "f")
    assert not parse_bundle(b"nothing", "f")


# rules, too -------------------------------------------------------------------------------------------------


async def test_rules_restrict_what_tokens_grant(tmp_path: Path) -> None:
    rules = (
        Rule(("a/*",), frozenset({"pull"}), ("@team",)),
        Rule(("open/*",), frozenset({"pull"}), ("anonymous",)),
    )
    made = authorizer(tmp_path, jwk(KEY, "k"), policy=Policy(rules))
    text = token(KEY, claims(groups=["team"]), kid="k")
    assert (await ask(made, text)).groups == {"team"}
    with pytest.raises(ForbiddenError):
        await ask(made, text, Needs(repository("a/b", "pull", "push")))
    with pytest.raises(ForbiddenError):
        await ask(made, token(KEY, claims(), kid="k"))
    assert (await made.authorize(Attempt(), Needs(repository("open/x", "pull")))).user == ""
    with pytest.raises(ChallengeError):
        await made.authorize(Attempt("Basic x"), Needs(repository("open/x", "pull")))
    with pytest.raises(ChallengeError):
        await made.authorize(Attempt(), Needs())


async def test_the_catalog_of_a_token(tmp_path: Path) -> None:
    made = authorizer(tmp_path, jwk(KEY, "k"))
    client = serve(made)
    (await client.get("/v2/_catalog", {"Authorization": f"Bearer {GOOD}"})).expect(401)
    catalog = {"type": "registry", "name": "catalog", "actions": ["*"]}
    everything = token(KEY, claims(catalog, entry("a/b", "pull", "push")), kid="k")
    headers = {"Authorization": f"Bearer {everything}"}
    from tests.wire.content import OCI, as_json, descriptor, digest

    (await client.post(f"/v2/a/b/blobs/uploads/?digest={digest(b'{}')}", headers, b"{}")).expect(201)
    manifest = as_json({"schemaVersion": 2, "mediaType": OCI, "config": descriptor("x", b"{}"), "layers": []})
    (await client.put("/v2/a/b/manifests/x", {**headers, "Content-Type": OCI}, manifest)).expect(201)
    only = {"Authorization": f"Bearer {token(KEY, claims(catalog), kid='k')}"}
    assert (await client.get("/v2/_catalog", only)).expect(200).json() == {"repositories": ["a/b"]}
