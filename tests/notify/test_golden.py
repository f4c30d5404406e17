"""What Lading posts is what Distribution posts for the same requests, byte for byte but for what varies."""

from __future__ import annotations

import json
import re

import pytest
from tests.notify.receiver import Receiver, receiver, settings
from tests.servers.content import DOCKER_IMAGE, OCI_CONFIG, OCI_IMAGE, OCI_INDEX, OCI_LAYER, Content
from tests.servers.process import Registry, StartRegistry
from tests.servers.serving import ONE_WORKER

VARYING = ("id", "timestamp", "addr", "host", "instanceID")


@pytest.fixture
def serving():
    return ONE_WORKER


def image(media_type: str = OCI_IMAGE) -> tuple[Content, Content, Content]:
    config, layer = Content(OCI_CONFIG, b"{}"), Content(OCI_LAYER, b"a <layer> & more")
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.descriptor(),
        "layers": [layer.descriptor(annotations={"b": "<&>", "a": "1"})],
    }
    return config, layer, Content(media_type, json.dumps(document).encode())


def index(child: Content) -> Content:
    platform = {"architecture": "arm", "os": "linux", "variant": "v7", "os.version": "1"}
    return Content(
        OCI_INDEX,
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [child.descriptor(platform=platform, artifactType="a/b")],
            }
        ).encode(),
    )


def work(registry: Registry) -> int:
    """Returns how many events it makes."""
    client = registry.client
    config, layer, manifest = image()
    both = index(manifest)
    client.push_blob("a/b", config.digest, config.data)  # 1
    client.push_blob("a/b", layer.digest, layer.data)  # 2
    client.request("POST", f"/v2/c/d/blobs/uploads/?mount={layer.digest}&from=a/b").expect(201)  # 3
    client.put_manifest("a/b", "latest", manifest).expect(201)  # 4
    client.put_manifest("a/b", both.digest, both).expect(201)  # 5
    client.get("/v2/a/b/manifests/latest", Authorization="Basic am9lOnNlY3JldA==").expect(200)  # 6
    client.request("HEAD", f"/v2/a/b/manifests/{manifest.digest}", {"Accept": OCI_IMAGE}).expect(200)  # 7
    client.get(f"/v2/a/b/manifests/{both.digest}", **{"User-Agent": "a <client>"}).expect(200)  # 8
    client.get(f"/v2/a/b/manifests/{both.digest}", **{"If-None-Match": f'"{both.digest}"'}).expect(304)
    blob = f"/v2/a/b/blobs/{layer.digest}"
    client.get(blob).expect(200)  # 9
    client.request("HEAD", blob).expect(200)  # 10
    client.get(blob, Range="bytes=1-2").expect(206)  # 11
    client.get(blob, **{"If-None-Match": f'"{layer.digest}"'}).expect(304)  # 12
    client.get(blob, Range="bytes=100-").expect(416)  # 13
    client.get("/v2/a/b/tags/list").expect(200)
    client.get("/v2/a/b/manifests/none").expect(404)
    client.put_manifest("a/b", "other", manifest).expect(201)  # 14
    client.request("DELETE", "/v2/a/b/manifests/other").expect(202)  # 15
    client.request("DELETE", f"/v2/a/b/manifests/{manifest.digest}").expect(202)  # 16, 17
    client.request("DELETE", blob).expect(202)  # 18
    return 18


def posted(start: StartRegistry, receiver: Receiver, *, references: bool) -> list[str]:
    extra = settings(receiver.url, headers={"X-Token": ["t"]})
    extra["notifications"]["events"] = {"includereferences": references}
    registry = start(extra=extra)
    expected = work(registry)
    receiver.wait(lambda: len(receiver.posts) >= expected)
    registry.stop()
    assert {post.headers["Content-Type"] for post in receiver.posts} == {
        "application/vnd.docker.distribution.events.v2+json"
    }
    assert {post.headers["X-Token"] for post in receiver.posts} == {"t"}
    return [_masked(post.body.decode(), registry.host) for post in receiver.posts]


def _masked(text: str, host: str) -> str:
    for name in VARYING:
        text = re.sub(rf'("{name}": )"[^"]+"', r'\1"…"', text)
    return text.replace(host, "…")


@pytest.mark.peer
@pytest.mark.parametrize("references", [False, True])
def test_same_requests_same_events(start_distribution, start_lading, references):
    with receiver() as theirs, receiver() as ours:
        expected = posted(start_distribution, theirs, references=references)
        assert posted(start_lading, ours, references=references) == expected


def test_a_list_that_is_downgraded_is_two_pulls(start_lading):
    config, layer, manifest = image(DOCKER_IMAGE)
    children = [manifest.descriptor(platform={"architecture": "amd64", "os": "linux"})]
    media_type = "application/vnd.docker.distribution.manifest.list.v2+json"
    body = {"schemaVersion": 2, "mediaType": media_type, "manifests": children}
    whole = Content(media_type, json.dumps(body).encode())
    with receiver() as there:
        client = start_lading(extra=settings(there.url, ignore={"actions": ["push"]})).client
        for blob in (config, layer):
            client.push_blob("a", blob.digest, blob.data)
        client.put_manifest("a", manifest.digest, manifest).expect(201)
        client.put_manifest("a", "multi", whole).expect(201)
        client.request("GET", "/v2/a/manifests/multi", {"Accept": DOCKER_IMAGE}).expect(200)
        targets = [event["target"] for event in there.events(2)]
    assert [(target["digest"], target.get("tag")) for target in targets] == [
        (whole.digest, "multi"),
        (manifest.digest, None),
    ]
