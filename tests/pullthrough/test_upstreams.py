"""Several upstreams beside repositories of one's own: whose name is whose, and who may ask."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest
from tests.pullthrough.conftest import NAME
from tests.pullthrough.upstream import Between, Fault
from tests.servers import content
from tests.servers.client import Client
from tests.servers.content import Package
from tests.servers.peers import Peer
from tests.servers.process import Config, Registry, StartRegistry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(90)]

HUB = "hub.test"


def upstreams(upstream: Between, **more: object) -> Config:
    return {"upstreams": [{"name": HUB, "remoteurl": f"http://{upstream.host}", **more}]}


def test_by_prefix_by_namespace_and_by_host(
    start_lading: StartRegistry, upstream: Between, package: Package
) -> None:
    registry = start_lading(extra=upstreams(upstream, hosts=["mirror.test:5000"]))
    client, digest = registry.client, package.manifest.digest
    assert client.pull(f"{HUB}/{NAME}", "1.0") == package.everything()
    for target, headers in [
        (f"/v2/{NAME}/manifests/1.0?ns={HUB}", {}),
        (f"/v2/{NAME}/manifests/1.0?ns={upstream.host}", {}),
        (f"/v2/{NAME}/manifests/1.0", {"Host": "mirror.test:5000"}),
    ]:
        assert client.get(target, **headers).expect(200).header("Docker-Content-Digest") == digest
    link = client.get(f"/v2/{NAME}/tags/list?n=1&ns={HUB}").expect(200).header("Link")
    assert f"ns={HUB}" in link
    assert client.catalog() == [f"{HUB}/{NAME}"]


def test_private_names_are_private(
    start_lading: StartRegistry, upstream: Between, origin: Registry, package: Package
) -> None:
    """What an upstream has under the name of a private repository is never served, nor asked for."""
    origin.client.push("team/app", "1.0", content.image("evil"))
    origin.client.push("tools/own", "1.0", content.image("evil"))
    registry = start_lading(extra=upstreams(upstream, private=[f"{HUB}/tools/**"]))
    client, mine = registry.client, content.image("mine")
    for name in ("team/app", f"{HUB}/tools/own"):
        client.get(f"/v2/{name}/manifests/1.0").expect(404)
        client.push(name, "1.0", mine)
        assert client.pull(name, "1.0") == mine.everything()
    elsewhere = client.get("/v2/team/app/manifests/1.0?ns=elsewhere.test").expect(404)
    assert elsewhere.header("Docker-Distribution-Api-Version") == "registry/2.0"
    client.get(f"/v2/team/app/manifests/1.0?ns={registry.host}").expect(200)
    assert upstream.requests == []
    client.request("POST", f"/v2/{HUB}/{NAME}/blobs/uploads/").expect(405)
    client.put_manifest(f"{HUB}/{NAME}", "1.0", mine.manifest).expect(405)
    # The upstream's own, under its own name.
    assert client.pull(f"{HUB}/team/app", "1.0") == content.image("evil").everything()
    assert client.pull("team/app", "1.0") == mine.everything()


def test_an_upstreams_word_shows_nobody_a_private_blob(
    start_lading: StartRegistry, upstream: Between, package: Package
) -> None:
    """It says that it has what only a private repository here has."""
    registry, secret = start_lading(extra=upstreams(upstream)), content.image("secret").blobs[-1]
    client = registry.client
    client.push_blob("team/app", secret.digest, secret.data)
    for length in (len(secret.data), len(secret.data) - 1):
        upstream.fault("/blobs/", Fault(200, {"Content-Type": "application/octet-stream"}, bytes(length)))
        answer = client.get(f"/v2/{HUB}/{NAME}/blobs/{secret.digest}")
        assert (answer.status, secret.data[:100] in answer.body) == (502, False)
    assert client.pull_blob("team/app", secret.digest) == secret.data
    assert not list(registry.root.glob(f"**/{HUB}/{NAME}/_layers/*/*/link"))


def test_a_namespace_of_nobody_is_not_the_proxys(
    start_lading: StartRegistry, upstream: Between, origin: Registry, package: Package
) -> None:
    extra = upstreams(upstream) | {"proxy": {"remoteurl": f"http://{origin.host}"}}
    client = start_lading(extra=extra).client
    for namespace, status in ((HUB, 200), (origin.host, 200), ("elsewhere.test", 404)):
        client.get(f"/v2/{NAME}/manifests/1.0?ns={namespace}").expect(status)
    client.get(f"/v2/{NAME}/manifests/1.0").expect(200)


def test_what_is_not_allowed_is_not_asked_for(start_lading: StartRegistry, upstream: Between) -> None:
    client = start_lading(extra=upstreams(upstream, allow=["library/*"], deny=["library/a*"])).client
    for name in (NAME, "other/thing"):
        for target in ("manifests/1.0", f"blobs/{content.digest_of(b'x')}", "tags/list"):
            client.get(f"/v2/{HUB}/{name}/{target}").expect(403)
    assert upstream.requests == []
    client.get(f"/v2/{HUB}/library/b/manifests/1.0").expect(404)
    assert len(upstream.requests) > 0


def test_rules_of_this_registry_apply_to_the_whole_name(
    start_lading: StartRegistry, upstream: Between, package: Package, tmp_path: Path
) -> None:
    lines = [f"{user}:{bcrypt.hashpw(b'x', bcrypt.gensalt(4)).decode()}\n" for user in ("anna", "bob")]
    (tmp_path / "htpasswd").write_text("".join(lines))
    rules = [
        {"repositories": [f"{HUB}/**"], "actions": ["pull"], "who": ["anna"]},
        {"repositories": [NAME], "actions": ["pull"], "who": ["bob"]},
    ]
    auth = {"htpasswd": {"realm": "here", "path": str(tmp_path / "htpasswd")}}
    extra = {**upstreams(upstream, hosts=["mirror.test"]), "auth": auth, "access": {"rules": rules}}
    client: Client = start_lading(extra=extra).client

    def status(user: str, target: str, **headers: str) -> int:
        shown = "Basic " + base64.b64encode(f"{user}:x".encode()).decode()
        return client.get(target, Authorization=shown, **headers).status

    target = f"/v2/{NAME}/manifests/1.0"
    asked = [
        (f"/v2/{HUB}/{NAME}/manifests/1.0", {}),
        (f"{target}?ns={HUB}", {}),
        (target, {"Host": "mirror.test"}),
    ]
    for path, headers in asked:
        assert (status("anna", path, **headers), status("bob", path, **headers)) == (200, 403)
    # The same path at another host is another repository, in the next request as in this one.
    assert (status("anna", target), status("bob", target)) == (403, 404)


def test_the_longest_name_counts_and_no_name_twice(start_lading: StartRegistry, origin: Registry) -> None:
    near = content.image("near")
    origin.client.push("deep/app", "1.0", near)
    url = f"http://{origin.host}"
    both = [{"name": "a", "remoteurl": "http://127.0.0.1:1"}, {"name": "a/b", "remoteurl": url}]
    client = start_lading(extra={"upstreams": both}).client
    assert client.pull("a/b/deep/app", "1.0") == near.everything()
    client.get("/v2/a/c/deep/app/manifests/1.0").expect(503)


def test_skopeo_crane_and_podman(
    start_lading: StartRegistry,
    upstream: Between,
    package: Package,
    peer: Callable[[str], Peer],
    tmp_path: Path,
) -> None:
    """By the name, and as the mirror of a registry that the client could not reach."""
    registry = start_lading(extra=upstreams(upstream))
    digest = package.manifest.digest
    assert peer("crane")("digest", "--insecure", f"{registry.host}/{HUB}/{NAME}:1.0").strip() == digest
    peer("crane")("pull", "--insecure", f"{registry.host}/{HUB}/{NAME}:1.0", tmp_path / "image.tar")
    for program in ("skopeo", "podman"):
        mirrors = tmp_path / f"{program}-home/.config/containers/registries.conf"
        mirrors.parent.mkdir(parents=True)
        mirrors.write_text(
            f'[[registry]]\nprefix = "{HUB}"\nlocation = "{HUB}"\n'
            f'[[registry.mirror]]\nlocation = "{registry.host}/{HUB}"\ninsecure = true\n'
        )
    told = peer("skopeo")("inspect", "--no-tags", f"docker://{HUB}/{NAME}:1.0")
    assert json.loads(told)["Digest"] == digest
    target = f"dir:{tmp_path / 'copied'}"
    peer("skopeo")("--insecure-policy", "copy", f"docker://{HUB}/{NAME}:1.0", target)
    for blob in package.blobs:
        assert (tmp_path / "copied" / blob.digest.partition(":")[2]).read_bytes() == blob.data
    with tempfile.TemporaryDirectory(prefix="lading-") as short:  # podman wants a path shorter than pytest's
        store = [f"--root={short}/root", f"--runroot={short}/run", "--storage-driver=vfs"]
        peer("podman")(*store, "pull", f"{HUB}/{NAME}:1.0")
    assert upstream.asked("/blobs/") == len(package.blobs)
