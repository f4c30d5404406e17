"""Redirects by middleware: the URLs, the signatures, the addresses, and what is refused."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from lading.compose.error import BuildError
from lading.compose.storage import storage
from lading.config.load import parse
from lading.registry.ports import Storage
from lading.storage.memory import MemoryStorage
from lading.storage.wrappers.addresses import PublishedRanges
from lading.storage.wrappers.addresses import parse as parse_ranges
from lading.storage.wrappers.passing import PassingStorage
from lading.storage.wrappers.redirect import RedirectStorage, RewriteStorage

KEY = rsa.generate_private_key(65537, 2048)
S3 = {
    "s3": {
        "bucket": "b",
        "region": "eu-central-1",
        "accesskey": "a",
        "secretkey": "s",
        "rootdirectory": "/in/side",
    }
}


class Signing(PassingStorage):
    async def redirect(self, key: str, method: str, client: str = "") -> str | None:
        return f"https://account.blob.example/container{key}?sig=a%2Fb&for={method}"


def made(*elements: dict[str, Any], driver: dict[str, Any] | None = None, **sections: Any) -> Storage:
    document = {"version": "0.1", "storage": {**(driver or {"inmemory": {}}), **sections}}
    document["middleware"] = {"storage": list(elements)}
    return storage(parse(json.dumps(document), "test", {}).configuration)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    kind = serialization.PrivateFormat.TraditionalOpenSSL
    path.write_bytes(KEY.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))
    return path


def cloudfront(key_file: Path, **options: Any) -> dict[str, Any]:
    given = {"baseurl": "d.cloudfront.example", "privatekey": str(key_file), "keypairid": "PAIR"}
    return {"name": "cloudfront", "options": given | options}


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://example.com", "https://example.com/a/b"),
        ("https://user:word@example.com:8443/", "https://example.com:8443/a/b"),
        ("http://example.com/path//x/../?q=1#f", "http://example.com/path/a/b"),
        ("https://example.com/a%20b+c/", "https://example.com/a%20b+c/a/b"),
    ],
)
async def test_redirect(base: str, expected: str) -> None:
    wrapped = RedirectStorage(MemoryStorage(), base)
    assert wrapped.traits.redirects
    assert await wrapped.redirect("/a/b", "GET") == expected


async def test_rewrite() -> None:
    inner = Signing(MemoryStorage())
    assert await RewriteStorage(inner, "http", "cdn.example:81", "/container").redirect("/a/b", "GET") == (
        "http://cdn.example:81/a/b?sig=a%2Fb&for=GET"
    )
    assert await RewriteStorage(inner, prefix="/other").redirect("/a", "HEAD") == await inner.redirect(
        "/a", "HEAD"
    )
    assert await RewriteStorage(MemoryStorage(), "https", "cdn.example").redirect("/a/b", "GET") is None


async def test_the_last_is_outermost_and_disabled_ones_are_not_there() -> None:
    redirect = {"name": "redirect", "options": {"baseurl": "https://one.example/x"}}
    rewrite = {"name": "rewrite", "options": {"host": "two.example", "trimpathprefix": "/x"}}
    off = {"name": "nobody-has-this", "disabled": True}
    assert await made(redirect, off, rewrite).redirect("/a", "GET") == "https://two.example/a"
    assert await made(rewrite, redirect).redirect("/a", "GET") == "https://one.example/x/a"


@pytest.mark.parametrize("outside", [[], [{"name": "rewrite", "options": {}}]], ids=["alone", "below-rewrite"])
async def test_cloudfront_signs_with_the_canned_policy(key_file: Path, outside: list[dict[str, Any]]) -> None:
    before = int(time.time())
    url = await made(cloudfront(key_file, duration="30m"), *outside, driver=S3).redirect("/a/b", "GET")
    assert url is not None
    resource, query = url.split("?")
    assert resource == "https://d.cloudfront.example/in/side/a/b"
    values = {name: value for name, [value] in parse_qs(query).items()}
    assert list(values) == ["Expires", "Signature", "Key-Pair-Id"]
    assert values["Key-Pair-Id"] == "PAIR"
    assert before + 1800 <= int(values["Expires"]) <= time.time() + 1800
    signature = base64.b64decode(values["Signature"].translate(str.maketrans("-_~", "+=/")), validate=True)
    policy = '{"Statement":[{"Resource":"%s","Condition":{"DateLessThan":{"AWS:EpochTime":%s}}}]}'
    text = (policy % (resource, values["Expires"])).encode()
    KEY.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA1())
    with pytest.raises(InvalidSignature):
        KEY.public_key().verify(signature, text.replace(b"/a/b", b"/a/c"), padding.PKCS1v15(), hashes.SHA1())


RANGES = {
    "prefixes": [
        {"ip_prefix": "203.0.113.0/25", "region": "eu-central-1"},
        {"ip_prefix": "198.51.100.0/24", "region": "US-east-1"},
        {"ip_prefix": "broken", "region": "eu-central-1"},
    ],
    "ipv6_prefixes": [{"ipv6_prefix": "2001:db8::/64", "region": "eu-central-1"}],
}


@pytest.mark.parametrize(
    ("address", "everywhere", "in_region"),
    [
        ("203.0.113.127", True, True),
        ("203.0.113.128", False, False),
        ("198.51.100.1", True, False),
        ("::ffff:203.0.113.1", True, True),
        ("2001:db8::1", True, True),
        ("2001:db8:0:1::1", False, False),
        ("", False, False),
        ("not-an-address", False, False),
    ],
)
def test_ranges(address: str, everywhere: bool, in_region: bool) -> None:
    document = json.dumps(RANGES).encode()
    assert (address in parse_ranges(document, None)) == everywhere
    assert (address in parse_ranges(document, {"eu-central-1"})) == in_region


class Lists(http.server.BaseHTTPRequestHandler):
    answers: list[bytes]

    def do_GET(self) -> None:
        body = self.answers.pop(0) if self.answers else b""
        self.send_response(200 if body else 500)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def published() -> Iterator[tuple[str, list[bytes]]]:
    answers: list[bytes] = []
    handler = type("Handler", (Lists,), {"answers": answers})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/ranges.json", answers
        server.shutdown()
        thread.join()


async def test_clients_within_the_cloud_go_to_the_bucket(
    key_file: Path, published: tuple[str, list[bytes]]
) -> None:
    url, answers = published
    answers.append(json.dumps(RANGES).encode())
    options = {"ipfilteredby": " AWSRegion", "awsregion": "EU-central-1, x", "iprangesurl": url}
    wrapped = made(cloudfront(key_file, **options), driver=S3)
    directly = await wrapped.redirect("/a/b", "GET", "203.0.113.1")
    assert directly is not None
    assert "X-Amz-Signature=" in directly
    for address in ("198.51.100.1", ""):
        assert urlsplit(await wrapped.redirect("/a/b", "GET", address)).netloc == "d.cloudfront.example"


async def test_a_failing_refresh_keeps_the_list(
    published: tuple[str, list[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    url, answers = published
    ranges = PublishedRanges(url, None, interval=0.0)  # due at every question
    assert not await ranges.contain("203.0.113.1")
    assert "failed to update AWS IP: HTTP Error 500" in caplog.text
    answers += [json.dumps(RANGES).encode(), b"[]"]
    assert await ranges.contain("203.0.113.1")
    for _ in range(2):
        assert await ranges.contain("203.0.113.1")
        assert ranges._fetching is not None
        await ranges._fetching
    assert caplog.text.count("failed to update") >= 2


@pytest.mark.parametrize(
    ("element", "line"),
    [
        (
            {"name": "no"},
            "[0].name: unable to configure storage middleware (no): no storage middleware registered",
        ),
        ({"name": "redirect"}, "[0].options.baseurl: no baseurl provided"),
        ({"name": "redirect", "options": {"baseurl": 1}}, "[0].options.baseurl: baseurl must be a string"),
        ({"name": "redirect", "options": {"baseurl": "//x"}}, "[0].options.baseurl: no scheme specified"),
        ({"name": "redirect", "options": {"baseurl": "x:1"}}, "[0].options.baseurl: no host specified"),
        (
            {"name": "redirect", "options": {"baseurl": "http://["}},
            "[0].options.baseurl: unable to parse redirect",
        ),
        ({"name": "rewrite", "options": {"host": 1}}, "[0].options.host: host must be a string"),
        ({"name": "rewrite", "options": {"host": "a b"}}, "[0].options.host: is no part of a URL: has a space"),
        ({"name": "cloudfront"}, "[0].options.baseurl: no baseurl provided"),
        ({"baseurl": "https://"}, "[0].options.baseurl: invalid baseurl"),
        ({"privatekey": "/not/there"}, "[0].options.privatekey: failed to read privatekey file: '/not/there': No"),
        ({"keypairid": None}, "[0].options.keypairid: no keypairid provided"),
        ({"duration": "x"}, "[0].options.duration: invalid duration"),
        ({"ipfilteredby": "gcp"}, "[0].options.ipfilteredby: ipfilteredby only allows a string the following"),
        ({"ipfilteredby": "awsregion"}, "[0].options.awsregion: awsRegion is not defined"),
        ({"updatefrenquency": 5}, "[0].options.updatefrenquency: invalid updatefrequency"),
        ({"iprangesurl": "file:///x"}, "[0].options.iprangesurl: must be an URL of http"),
        ({"name": "diskcache", "options": {"size": 1}}, "[0].options.directory: is not set"),
        (
            {"name": "diskcache", "options": {"directory": "x", "size": 1}},
            "[0].options.directory: 'x' is not an abs",
        ),
        (
            {"name": "diskcache", "options": {"directory": "/x", "size": "1 mile"}},
            "[0].options.size: must be a num",
        ),
    ],
)
def test_what_is_refused(element: dict[str, Any], line: str, key_file: Path) -> None:
    with pytest.raises(BuildError) as refused:
        made(element if "name" in element else cloudfront(key_file, **element), driver=S3)
    assert str(refused.value).startswith(f"middleware.storage{line}")


def test_what_does_not_go_together(key_file: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"^middleware.storage\[0\]: the CloudFront middleware does not support"):
        made(cloudfront(key_file))
    cache = {"name": "diskcache", "options": {"directory": str(tmp_path / "cache"), "size": "1GiB"}}
    redirect = {"name": "redirect", "options": {"baseurl": "https://one.example"}}
    with pytest.raises(
        BuildError, match=r"^middleware.storage\[1\]: redirect sends clients past the diskcache of"
    ):
        made(cache, redirect)
    made(redirect, cache)
    made(cache, redirect, redirect={"disable": True})
    assert not (tmp_path / "cache").exists()


def test_keys_that_are_not_of_rsa(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    none = serialization.NoEncryption()
    for key in (ec.generate_private_key(ec.SECP256R1()), None):
        data = b"nothing"
        if key is not None:
            data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none)
        path.write_bytes(data)
        with pytest.raises(BuildError, match="failed to decode private key as an rsa private key"):
            made(cloudfront(path), driver=S3)
    path.write_bytes(KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none))
    made(cloudfront(path), driver=S3)


def test_options_nobody_reads_are_told() -> None:
    document = """
version: 0.1
storage: inmemory
middleware:
  storage:
    - name: cloudfront
      options: {baseurl: x, privatekey: k, keypairid: p, duration: 1200, updatefrenquency: 1h, colour: red}
"""
    warnings = parse(document, "config.yml", {}).warnings
    assert [line.partition("options.")[2] for line in warnings] == [
        "duration: is no duration such as 20m, which is used",
        "updatefrenquency: is an old spelling of updatefrequency",
        "colour: unknown key, ignored",
    ]
