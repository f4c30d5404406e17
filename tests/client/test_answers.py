"""What the client makes of answers: lists that lead elsewhere, answers that were lost, and bodies in parts."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from tests.client.scripted import answer, scripted

from lading.client import (
    AuthFile,
    Descriptor,
    Digest,
    InvalidAnswerError,
    NotFoundError,
    Platform,
    RefusedError,
    RegistryClient,
    Repository,
    Timing,
    UnreachableError,
    copy,
)
from lading.oci import building, media

QUICK = Timing(attempts=3, pause=0.001, idle=5)

pytestmark = pytest.mark.timeout(30)


def client(host: str) -> RegistryClient:
    return RegistryClient(f"http://{host}", timing=QUICK)


@pytest.mark.parametrize(
    "link",
    [
        "</v2/a/tags/list?last=x>",
        "<?last=x>",
        "<list?last=x>",
        "<http://elsewhere.invalid/v2/a/tags/list?last=x>",
        "<//elsewhere.invalid/v2/a/tags/list?last=x>",
        "<HTTPS://elsewhere.invalid:1/v2/a/tags/list?last=x>",
    ],
)
async def test_the_next_page_is_asked_of_the_registry_itself(link: str) -> None:
    def script(_: str, path: str) -> bytes:
        if "last=" in path:
            return answer(200, {"tags": ["y"]})
        return answer(200, {"tags": ["x"]}, Link=f'{link}; rel="next"')

    async with scripted(script) as registry, client(registry.host) as there:
        assert await there.tags("a") == ["x", "y"]
        assert registry.asked == ["GET /v2/a/tags/list", "GET /v2/a/tags/list?last=x"]


async def test_a_path_that_looks_like_a_host_is_a_path() -> None:
    def script(_: str, path: str) -> bytes:
        link = {} if path.startswith("//") else {"Link": '<http://x//elsewhere.invalid/y>; rel="next"'}
        return answer(200, {"tags": ["x"]}, **link)

    async with scripted(script) as registry, client(registry.host) as there:
        assert await there.tags("a") == ["x", "x"]
        assert registry.asked[1] == "GET //elsewhere.invalid/y"


@pytest.mark.parametrize("link", ["<http://[>", "<http://[::1/x>", "<mailto:x>"])
async def test_a_next_page_that_is_no_url(link: str) -> None:
    page = answer(200, {"tags": ["x"]}, Link=f'{link}; rel="next"')
    async with scripted(lambda *_: page) as registry, client(registry.host) as there:
        with pytest.raises(InvalidAnswerError, match="no URL"):
            await there.tags("a")


async def test_pages_that_go_in_a_circle() -> None:
    page = answer(200, {"tags": ["x"]}, Link='</v2/a/tags/list?last=x>; rel="next"')
    async with scripted(lambda *_: page) as registry, client(registry.host) as there:
        with pytest.raises(InvalidAnswerError, match="circle"):
            await there.tags("a")
        assert len(registry.asked) == 2


@pytest.mark.parametrize("first", [None, answer(502), answer(500)])
async def test_what_is_gone_when_it_is_deleted_again_was_deleted(first: bytes | None) -> None:
    script = iter([first, answer(404)])
    async with scripted(lambda *_: next(script)) as registry, client(registry.host) as there:
        await there.delete_blob("a", Digest.of(b"x"))
        assert len(registry.asked) == 2


@pytest.mark.parametrize("answers", [[answer(404)], [answer(429, Retry_After="0.01"), answer(404)]])
async def test_what_was_not_there_at_first_was_not_deleted(answers: list[bytes]) -> None:
    script = iter(answers)
    async with scripted(lambda *_: next(script)) as registry, client(registry.host) as there:
        with pytest.raises(NotFoundError):
            await there.delete_blob("a", Digest.of(b"x"))


async def test_a_document_that_breaks_off_is_asked_for_again() -> None:
    index = building.index([])
    whole = answer(200, index.data, Content_Type=media.OCI_INDEX)
    script = iter([whole[:-3], whole])
    async with scripted(lambda *_: next(script)) as registry, client(registry.host) as there:
        assert (await there.manifest("a", "b")).data == index.data
        registry.script = lambda *_: whole[:-3]
        with pytest.raises(UnreachableError, match="broke off"):
            await there.manifest("a", "b")
        assert len(registry.asked) == 2 + QUICK.attempts


async def test_an_error_that_comes_in_parts_is_read_to_its_end() -> None:
    whole = answer(404, {"errors": [{"code": "NAME_UNKNOWN", "message": "there is no such name"}]})
    async with scripted(lambda *_: whole[:-20]) as registry:
        registry.rest = whole[-20:]
        said = registry.headers_read
        async with RegistryClient(f"http://{registry.host}", observe=lambda *_: said.set()) as there:
            with pytest.raises(NotFoundError, match="no such name") as missing:
                await there.manifest("a", "b")
    assert missing.value.code == "NAME_UNKNOWN"


async def test_numbers_that_are_too_long() -> None:
    many = "9" * 5000
    begun = answer(202, Location="/u", OCI_Chunk_Min_Length=many, Range=f"0-{many}")
    async with scripted(lambda *_: begun) as registry, client(registry.host) as there:
        assert (await there.begin_upload("a")).minimum == 0
        registry.script = lambda *_: answer(206, Content_Range=f"bytes 0-{many}/9")
        with pytest.raises(InvalidAnswerError, match="Content-Range"):
            await there.blob("a", Digest.of(b""), 1)


async def test_a_digest_that_is_none_is_not_asked_for() -> None:
    async with scripted(lambda *_: answer(404)) as registry, client(registry.host) as there:
        for reference in ("sha256:0", "../../../v2/b/manifests/c", "a b", ""):
            with pytest.raises(ValueError, match="digest"):
                await there.manifest("a", reference)
        assert registry.asked == []


async def test_a_child_whose_digest_is_none() -> None:
    child = Descriptor(media.OCI_MANIFEST, "sha256:0", 1, platform=Platform("linux", "amd64"))
    data = json.dumps({"schemaVersion": 2, "manifests": [building.fields(child)]}).encode()
    index = answer(200, data, Content_Type=media.OCI_INDEX)
    async with scripted(lambda *_: index) as registry, client(registry.host) as there:
        place = Repository(there, "a")
        with pytest.raises(InvalidAnswerError, match="digest"):
            await copy(place, place, "b", platform=child.platform)


@pytest.mark.parametrize("realm", ["https://elsewhere.invalid/token", "https://127.0.0.1/token", ""])
async def test_a_registry_token_is_shown_as_it_is(tmp_path: Path, realm: str) -> None:
    """To the registry alone: nobody is asked for another."""
    file = tmp_path / "config.json"

    def script(*_: str) -> bytes:
        if registry.shown[-1] == "Bearer the-token":
            return answer(200, {"tags": ["x"]})
        return answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s"')

    async with scripted(script) as registry:
        entry = {"auth": base64.b64encode(b"a:b").decode(), "registrytoken": "the-token"}
        file.write_text(json.dumps({"auths": {registry.host: entry}}))
        login = AuthFile(registry.host, [str(file)])
        async with RegistryClient(f"http://{registry.host}", login, timing=QUICK) as there:
            assert await there.tags("a") == ["x"]
            registry.script = lambda *_: answer(401, WWW_Authenticate=f'Bearer realm="{realm}"')
            with pytest.raises(RefusedError):
                await there.tags("a")
        assert set(registry.shown) == {"", "Bearer the-token"}


async def test_a_registry_token_is_no_password(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    script = answer(401, WWW_Authenticate='Basic realm="x"')
    async with scripted(lambda *_: script) as registry:
        file.write_text(json.dumps({"auths": {registry.host: {"registrytoken": "the-token"}}}))
        login = AuthFile(registry.host, [str(file)])
        async with RegistryClient(f"http://{registry.host}", login, timing=QUICK) as there:
            with pytest.raises(RefusedError):
                await there.tags("a")
        assert set(registry.shown) == {""}
