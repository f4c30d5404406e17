"""Images copied between Lading and the original, both of which ask who copies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.sites import Site, site
from tests.pullthrough.upstream import Fault, between
from tests.servers import content, layouts
from tests.servers.process import Registry

from lading.client import (
    ClientError,
    Digest,
    InvalidAnswerError,
    Layout,
    Outcome,
    Platform,
    RefusedError,
    Registries,
    RegistryClient,
    Repository,
    StaticCredentials,
    Step,
    copy,
    of_bytes,
)
from lading.client.files import FilesError, pull_files, push_files
from lading.oci import building
from lading.oci.building import Content

pytestmark = [pytest.mark.slow, pytest.mark.peer]

MANY = content.multi_arch("many")
MANY_DESCRIPTOR = Content(Digest(MANY.manifest.digest), MANY.manifest.media_type, MANY.manifest.data).descriptor()


@pytest.fixture(scope="module", params=[("lading", "distribution"), ("distribution", "lading")], ids="→".join)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """One with passwords, the other with tokens."""
    folder = tmp_path_factory.mktemp("pair")
    with (
        site(request.param[0], "token", folder / "a") as first,
        site(request.param[1], "htpasswd", folder / "b") as second,
    ):
        yield first, second


async def push(repository: Repository, folder: Path) -> Digest:
    layout = Layout(str(layouts.write(folder, {"1.0": MANY})))
    layout.check()
    return (await copy(layout, repository, "1.0", "1.0")).content.digest


async def test_an_image_goes_from_one_to_the_other(pair: tuple[Site, Site], tmp_path: Path) -> None:
    first, second = pair
    steps: list[Step] = []
    async with first.registries() as here, second.registries() as there:
        source = here.repository(f"{first.registry.host}/team/app")
        target = there.repository(f"{second.registry.host}/other/app")
        digest = await push(source, tmp_path / "in")
        assert digest == MANY.manifest.digest
        made = building.artifact("example/note", subject=MANY_DESCRIPTOR)
        await source.put_blob(building.empty().descriptor(), of_bytes(building.EMPTY), mount=None, progress=None)
        await source.put_manifest(made, "note")
        copied = await copy(source, target, "1.0", "2.0", referrers=True, report=steps.append)
        assert (copied.manifests, copied.referrers, copied.blobs[Outcome.PRESENT]) == (4, 1, 0)
        assert {step.digest for step in steps if step.outcome} >= {blob.digest for blob in MANY.children[0].blobs}
        assert [found.digest for found in await target.referrers(digest)] == [made.digest]
        again = await copy(source, target, "1.0", "2.0", referrers=True)
        assert (again.moved, sum(again.blobs.values())) == (0, 0)
        near = await copy(target, there.repository(f"{second.registry.host}/near"), "2.0", "x")
        assert near.blobs[Outcome.MOUNTED] == len({blob.digest for each in MANY.children for blob in each.blobs})
        out = Layout(str(tmp_path / "out"))
        out.create()
        await copy(target, out, "2.0", "2.0", referrers=True)
        assert layouts.read(tmp_path / "out").keys() >= {*MANY.everything(), made.digest}
        assert [found.digest for found in await out.referrers(digest)] == [made.digest]
        await target.client.delete_manifest(target.name, made.digest)
        assert await target.referrers(digest) == []
    async with first.registries(password="wrong") as nobody:
        with pytest.raises(RefusedError):
            await nobody.repository(f"{first.registry.host}/team/app").manifest("1.0")


async def test_one_platform(pair: tuple[Site, Site], tmp_path: Path) -> None:
    first, second = pair
    async with first.registries() as here, second.registries() as there:
        source = here.repository(f"{first.registry.host}/p")
        target = there.repository(f"{second.registry.host}/p")
        await push(source, tmp_path / "in")
        arm = await copy(source, target, "1.0", "arm", platform=Platform("linux", "arm64"))
        assert arm.content.digest in {child.manifest.digest for child in MANY.children}
        assert await target.client.tags("p") == ["arm"]
        assert (await copy(target, target, "arm", "b", platform=Platform("linux", "arm64"))).moved == 0
        for wrong in (Platform("linux", "s390x"), Platform("linux", "amd64")):
            with pytest.raises(ClientError, match="linux"):
                await copy(target, target, "arm", "c", platform=wrong)


async def test_lists_and_deletions(pair: tuple[Site, Site]) -> None:
    for each in pair:
        async with each.registries() as here:
            client = here.client(each.registry.host)
            manifest = content.image("one")
            for blob in manifest.blobs:
                await client.put_blob("lists/a", Digest(blob.digest), len(blob.data), blob.data)
            made = Content(Digest(manifest.manifest.digest), manifest.manifest.media_type, manifest.manifest.data)
            names = [f"t{number}" for number in range(5)]
            for name in names:
                await client.put_manifest("lists/a", made, name)
            assert [tag async for tag in client.iterate_tags("lists/a", page=2)] == names
            assert [tag async for tag in client.iterate_tags("lists/a", after="t2", page=1)] == names[3:]
            assert "lists/a" in [name async for name in client.iterate_repositories(page=1)]
            await client.delete_manifest("lists/a", "t0")
            assert await client.tags("lists/a") == names[1:]
            await client.delete_manifest("lists/a", made.digest)
            assert not await client.has_manifest("lists/a", made.digest)


async def test_corrupt_bytes_get_nowhere(distribution: Registry, lading: Registry, tmp_path: Path) -> None:
    image = content.image("large", layer_sizes=(700, 3_000_000))
    distribution.client.push("a/b", "1.0", image)
    with between(distribution.host) as bad:
        bad.fault("/blobs/", Fault(flip=True))
        async with Registries(credentials=lambda _: None, plain_http=True) as all_:
            source = all_.repository(f"{bad.host}/a/b")
            target = all_.repository(f"{lading.host}/a/b")
            with pytest.raises(ClientError):
                await copy(source, target, "1.0", "1.0")
            assert not await target.client.has_manifest("a/b", image.manifest.digest)
            out = Layout(str(tmp_path / "out"))
            out.create()
            with pytest.raises(InvalidAnswerError, match="digest"):
                await copy(source, out, "1.0", "1.0")
            assert out.entries() == []
            bad.well()
            assert (await copy(source, target, "1.0", "1.0")).content.digest == image.manifest.digest
            assert (await copy(source, out, "1.0", "1.0")).blobs[Outcome.UPLOADED]
    assert layouts.read(tmp_path / "out") == image.everything()
    layer = tmp_path / "out/blobs" / image.blobs[-1].digest.replace(":", "/")
    layer.write_bytes(bytes(len(image.blobs[-1].data)))
    async with RegistryClient(f"http://{lading.host}") as client:
        with pytest.raises(ClientError, match="does not match"):
            await copy(out, Repository(client, "c/d"), "1.0")


async def test_a_redirect_takes_no_login_along(distribution: Registry) -> None:
    image = content.image("r")
    distribution.client.push("a/b", "1.0", image)
    with between(distribution.host) as registry, between(distribution.host) as store:
        asked = {"WWW-Authenticate": 'Basic realm="x"'}

        def choose(method: str, path: str) -> Fault | None:
            if not registry.requests[-1][2]:
                return Fault(401, asked)
            return Fault(307, {"Location": f"http://{store.host}{path}"}) if "/blobs/" in path else None

        registry.choose = choose
        async with RegistryClient(f"http://{registry.host}", StaticCredentials("a", "b")) as client:
            blob = image.blobs[-1]
            async with await client.blob("a/b", Digest(blob.digest)) as download:
                assert b"".join([piece async for piece in download]) == blob.data
        assert [seen for _, _, seen in store.requests] == [""]
        assert registry.requests[-1][2].startswith("Basic ")


async def test_files(lading: Registry, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.bin").write_bytes(b"b" * 2_000_000)
    async with RegistryClient(f"http://{lading.host}") as client:
        repository = Repository(client, "files")
        files = {str(tmp_path / "a.txt"): "text/plain", str(tmp_path / "b.bin"): ""}
        pushed = await push_files(repository, files, "example/files", "1", annotations={"k": "v"})
        found = await repository.manifest("1")
        assert (found.digest, found.view().artifact_type) == (pushed.content.digest, "example/files")
        await pull_files(repository, found, str(tmp_path / "out"))
        assert (tmp_path / "out/b.bin").read_bytes() == b"b" * 2_000_000
        with pytest.raises(FilesError, match="there already"):
            await pull_files(repository, found, str(tmp_path / "out"))
        await pull_files(repository, found, str(tmp_path / "out"), overwrite=True)
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "out/link").symlink_to(tmp_path / "elsewhere")
        for title in ("../a", "/etc/a", "a/../../b", "", "link/a", "a//b"):
            layers = [
                {**layer, "annotations": {"org.opencontainers.image.title": title}}
                for layer in json.loads(found.data)["layers"][:1]
            ]
            evil = Content.of(json.dumps({**json.loads(found.data), "layers": layers}).encode(), found.media_type)
            with pytest.raises(FilesError):
                await pull_files(repository, evil, str(tmp_path / "out"))
        assert list((tmp_path / "elsewhere").iterdir()) == []
