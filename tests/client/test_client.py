"""The client library by itself: what it makes of headers, and whom it trusts."""

from __future__ import annotations

import pytest
from tests.pullthrough.upstream import Between, Fault
from tests.servers.content import Package
from yarl import URL

from lading.client import (
    AnswerError,
    HelperCredentials,
    InvalidAnswerError,
    Login,
    NotFoundError,
    RateLimitedError,
    RegistryClient,
    UnreachableError,
)
from lading.client.authentication import trusted
from lading.client.challenges import Challenge, parse
from lading.client.transport import Timing
from lading.oci.digest import Digest

QUICK = Timing(attempts=2, pause=0.01, idle=5)


@pytest.mark.parametrize(
    ("lines", "challenges"),
    [
        ([], []),
        (["Basic realm=simple"], [Challenge("basic", {"realm": "simple"})]),
        (
            ['Bearer realm="https://a/t",service="a \\"b\\"", scope="x:y:pull,push"'],
            [Challenge("bearer", {"realm": "https://a/t", "service": 'a "b"', "scope": "x:y:pull,push"})],
        ),
        (["Negotiate, Basic realm=a"], [Challenge("negotiate"), Challenge("basic", {"realm": "a"})]),
        (
            ["BASIC Realm=a", "Bearer realm=b"],
            [Challenge("basic", {"realm": "a"}), Challenge("bearer", {"realm": "b"})],
        ),
        (['Bearer realm="unended'], [Challenge("bearer")]),
        (["", " ", "=", "\x00"], []),
    ],
)
def test_challenges(lines: list[str], challenges: list[Challenge]) -> None:
    assert parse(lines) == challenges


@pytest.mark.parametrize(
    ("registry", "realm", "expected"),
    [
        ("https://upstream.example.com", "https://auth.example.com/token", True),
        ("https://r.example.com", "https://r.example.com/token", True),
        ("https://r.example.com", "https://r.example.com:8443/token", True),
        ("https://r.example.com", "http://r.example.com/token", False),
        ("http://r.example.com", "https://auth.example.com/token", True),
        ("https://r.example.com", "https://example.com.evil.org/token", False),
        ("https://a.co.uk", "https://b.co.uk/token", False),
        ("https://a.github.io", "https://b.github.io/token", False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/token", True),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", False),
        ("http://localhost:5000", "http://auth.localhost:5000/token", False),
        ("https://r.example.com", "ftp://r.example.com/token", False),
        ("https://r.example.com", "", False),
    ],
)
def test_which_token_servers_are_trusted(registry: str, realm: str, expected: bool) -> None:
    assert trusted(URL(registry), URL(realm)) is expected


@pytest.mark.parametrize("url", ["", "registry.example", "ftp://x", "https://", "file:///x"])
def test_urls_that_are_none_of_a_registry(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        RegistryClient(url)


async def test_a_helper_that_fails_is_nobody() -> None:
    assert await HelperCredentials("/nowhere/helper").login("x") is None
    assert await HelperCredentials("/bin/false").login("x") is None
    assert await HelperCredentials("/bin/true").login("x") is None
    assert "hunter2" not in repr(Login("a", "hunter2"))


@pytest.mark.peer
class TestAgainstTheOriginal:
    async def test_everything_there_is(self, upstream: Between, package: Package) -> None:
        async with RegistryClient(f"http://{upstream.host}", timing=QUICK) as client:
            await client.ping()
            manifest = await client.manifest("library/app", "1.0")
            assert (manifest.digest, manifest.data) == (package.manifest.digest, package.manifest.data)
            assert await client.digest("library/app", "1.0") == manifest.digest
            assert await client.tags("library/app") == ["1.0"]
            assert await client.referrers("library/app", manifest.digest) == []
            blob = package.blobs[-1]
            assert await client.blob_size("library/app", Digest(blob.digest)) == len(blob.data)
            for offset in (0, 1000, len(blob.data) - 1):
                async with await client.blob("library/app", Digest(blob.digest), offset) as download:
                    assert b"".join([piece async for piece in download]) == blob.data[offset:]
            with pytest.raises(NotFoundError):
                await client.manifest("library/app", "2.0")

    async def test_what_goes_wrong_has_a_name(self, upstream: Between, package: Package) -> None:
        digest = Digest(package.blobs[-1].digest)
        async with RegistryClient(f"http://{upstream.host}", timing=QUICK) as client:
            upstream.fault("/manifests/", Fault(503), times=1)
            await client.manifest("library/app", "1.0")  # tried again
            upstream.fault("/manifests/", Fault(429, {"Retry-After": "77"}))
            with pytest.raises(RateLimitedError) as limited:
                await client.manifest("library/app", "1.0")
            assert limited.value.retry_after == 77
            upstream.fault("/manifests/", Fault(500))
            with pytest.raises(AnswerError):
                await client.manifest("library/app", "1.0")
            upstream.fault("/blobs/", Fault(flip=True))
            with pytest.raises(InvalidAnswerError, match="digest"):
                async with await client.blob("library/app", digest) as download:
                    assert [len(piece) async for piece in download]
            upstream.fault("/blobs/", Fault(after=1000))
            with pytest.raises(UnreachableError, match="broke off"):
                async with await client.blob("library/app", digest) as download:
                    assert [len(piece) async for piece in download]
        async with RegistryClient("http://127.0.0.1:1", timing=QUICK) as nobody:
            with pytest.raises(UnreachableError, match="cannot connect"):
                await nobody.ping()

    @pytest.mark.parametrize("body", [b"[" * 60_000, b"[1]", b"<html>", b'{"errors":[[]]}'])
    async def test_what_is_no_document_is_an_error_of_the_registry(self, upstream: Between, body: bytes) -> None:
        digest = Digest("sha256:" + "0" * 64)
        async with RegistryClient(f"http://{upstream.host}", timing=QUICK) as client:
            index = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
            upstream.choose = lambda _, path: Fault(404) if "/referrers/" in path else Fault(200, index, body)
            for call in (client.tags("a"), client.referrers("a", digest)):
                if body != b'{"errors":[[]]}':
                    with pytest.raises(InvalidAnswerError):
                        await call
                else:
                    assert await call == []
            upstream.fault("/", Fault(400, body=body))
            with pytest.raises(AnswerError):
                await client.tags("a")

    async def test_pages_come_to_an_end(self, upstream: Between) -> None:
        upstream.fault("/tags/", Fault(200, body=b'{"tags": ["a", "b", "c"]}'))
        async with RegistryClient(f"http://{upstream.host}", timing=QUICK) as client:
            assert await client.tags("x", limit=2) == ["a", "b"]
            assert await client.tags("x", after="b", limit=2) == ["c"]
            assert await client.tags("x", after="c", limit=2) == []


@pytest.mark.parametrize(
    ("registry", "named", "realm", "expected"),
    [
        ("https://r.example", "auth.other", "https://auth.other/token", True),
        ("https://r.example", "auth.other:443", "https://auth.other/token", True),
        ("https://r.example", "auth.other", "https://auth.other:8443/token", False),
        ("https://r.example", "auth.other:8443", "https://auth.other:8443/token", True),
        ("https://r.example", "auth.other", "http://auth.other/token", False),
        ("https://r.example", "auth.other:80", "http://auth.other/token", False),
        ("http://r.example", "auth.other", "http://auth.other/token", True),
        ("https://r.example", "auth.other", "ftp://auth.other/token", False),
        ("https://r.example", "[::1]:8443", "https://[::1]:8443/token", True),
    ],
)
def test_a_token_server_that_was_named(registry: str, named: str, realm: str, expected: bool) -> None:
    """Without a port it is that of the scheme; what was encrypted so far is not said in the clear."""
    assert trusted(URL(registry), URL(realm), frozenset({named})) is expected
