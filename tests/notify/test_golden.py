"""What Lading posts is what Distribution posts for the same requests, byte for byte but for what varies."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.notify.receiver import Receiver, receiver, settings
from tests.notify.test_delivery import eventually
from tests.servers.client import Client
from tests.servers.content import (
    DOCKER_IMAGE,
    DOCKER_LIST,
    OCI_CONFIG,
    OCI_IMAGE,
    OCI_INDEX,
    OCI_LAYER,
    Content,
    artifact,
    multi_arch,
)
from tests.servers.content import image as image_of
from tests.servers.ports import free_port
from tests.servers.process import Registry, StartRegistry
from tests.servers.serving import ONE_WORKER

LAST = Content(OCI_CONFIG, b"the last")
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


def more_work(registry: Registry) -> int:
    """What the first leaves out: many architectures, lists, artifacts, odd clients, and what is no event."""
    client = registry.client
    arches, docker = multi_arch("arches"), multi_arch("docker", docker=True)
    client.push("m/oci", "all", arches)  # 9: 2 * (3 blobs + 1) + 1
    client.push("m/docker", "all", docker)  # 18
    client.request("GET", "/v2/m/docker/manifests/all", {"Accept": DOCKER_IMAGE}).expect(200)  # 19, 20
    client.request("GET", "/v2/m/docker/manifests/all", {"Accept": DOCKER_LIST}).expect(200)  # 21
    client.request("HEAD", "/v2/m/oci/manifests/all", {"Accept": OCI_INDEX}).expect(200)  # 22
    signed = artifact("signature", "application/vnd.example+json", subject=arches.manifest)
    client.push("m/oci", signed.manifest.digest, signed)  # 25
    client.push("m/oci", "one", image_of("tagged"))  # 29
    for tag in ("two", "three", "two"):
        client.put_manifest("m/oci", tag, image_of("tagged").manifest).expect(201)  # 32
    client.request("DELETE", f"/v2/m/oci/manifests/{image_of('tagged').manifest.digest}").expect(202)  # 33 to 36
    client.request("DELETE", f"/v2/m/oci/manifests/{signed.manifest.digest}").expect(202)  # 37
    blob = image_of("tagged").blobs[0]
    moved = f"mount={blob.digest}&from=m/oci"
    client.request("POST", f"/v2/else/where/blobs/uploads/?{moved}").expect(201)  # 38
    client.request("POST", f"/v2/else/where/blobs/uploads/?{moved.replace('oci', 'none')}").expect(202)
    client.request("DELETE", client.start_upload("m/oci").location).expect(204)
    client.get("/v2/_catalog").expect(200)
    client.get("/v2/m/oci/manifests/none").expect(404)
    client.request("DELETE", "/v2/m/oci/manifests/none").expect(404)
    odd = {"User-Agent": 'é "quoted" \t\\'.encode().decode("latin-1"), "X-Forwarded-Proto": "https"}
    client.get(f"/v2/m/oci/blobs/{blob.digest}", **odd).expect(200)
    client.get(f"/v2/m/oci/blobs/{blob.digest}", Authorization="Basic !", **{"User-Agent": ""}).expect(200)
    config = Content(OCI_CONFIG, b"{}")
    client.push_blob("m/oci", config.digest, config.data)
    described = config.descriptor(data="e30=", artifactType="a/b", annotations={"z": "\u2028", "a": "\U0001f680"})
    body = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": described, "layers": []}
    strange = Content(OCI_IMAGE, json.dumps(body | {"annotations": {"n": "v"}}).encode())
    client.put_manifest("m/oci", "strange", strange).expect(201)
    return 38


def posted(
    start: StartRegistry,
    receiver: Receiver,
    work: Callable[[Registry], int],
    *,
    references: bool,
    more: dict[str, Any] | None = None,
) -> list[str]:
    extra = settings(receiver.url, headers={"X-Token": ["t"]}) | (more or {})
    extra["notifications"]["events"] = {"includereferences": references}
    registry = start(extra=extra)
    work(registry)
    # The last one that there is: nobody tells how many come before it.
    registry.client.push_blob("z", LAST.digest, LAST.data)
    receiver.wait(lambda: any(LAST.digest in post.body.decode() for post in receiver.posts))
    registry.stop()
    assert {post.headers["Content-Type"] for post in receiver.posts} == {
        "application/vnd.docker.distribution.events.v2+json"
    }
    assert {post.headers["X-Token"] for post in receiver.posts} == {"t"}
    return _settled([_masked(post.body.decode(), registry.host) for post in receiver.posts])


def _settled(bodies: list[str]) -> list[str]:
    """The tags that went with a manifest come in any order: Distribution looks for them side by side."""
    whose = itertools.groupby(bodies, lambda body: '"action": "delete"' in body and '"tag": ' in body)
    return [body for is_tag, run in whose for body in (sorted(run) if is_tag else run)]


def _masked(text: str, host: str) -> str:
    for name in VARYING:
        text = re.sub(rf'("{name}": )"[^"]+"', r'\1"…"', text)
    return text.replace(host, "…")


@pytest.mark.peer
@pytest.mark.parametrize("references", [False, True])
@pytest.mark.parametrize(("what", "least"), [(work, 18), (more_work, 38)])
def test_same_requests_same_events(start_distribution, start_lading, what, least, references):
    with receiver() as theirs, receiver() as ours:
        expected = posted(start_distribution, theirs, what, references=references)
        assert len(expected) > least
        assert posted(start_lading, ours, what, references=references) == expected


@pytest.mark.peer
@pytest.mark.parametrize(
    "http", [{"host": "https://r.example:444/at/"}, {"relativeurls": True}, {"prefix": "/p/"}]
)
def test_urls_are_built_as_in_answers(start_distribution, start_lading, http):
    def put(registry: Registry) -> int:
        config, layer, manifest = image()
        start = f"{http.get('prefix', '/')}v2/a/blobs/uploads/"
        for blob in (config, layer):
            answer = registry.client.request("POST", start).expect(202)
            registry.client.finish_upload(answer.location.removeprefix("/at"), blob.digest, blob.data).expect(201)
        target = f"{http.get('prefix', '/')}v2/a/manifests/latest"
        registry.client.request("PUT", target, {"Content-Type": OCI_IMAGE}, manifest.data).expect(201)
        return 3

    with receiver() as theirs, receiver() as ours:
        found = []
        for start, there in ((start_distribution, theirs), (start_lading, ours)):
            registry = start(extra=settings(there.url) | {"http": http})
            put(registry)
            found.append([event["target"]["url"].replace(registry.host, "") for event in there.events(3)])
    assert found[1] == found[0]


@pytest.mark.peer
def test_the_same_is_shown_of_endpoints(start_distribution, start_lading):
    shown = []
    for start in (start_distribution, start_lading):
        with receiver() as there:
            answers = iter([500, 404])
            there.decide = lambda _, answers=answers: next(answers, 200)
            port = free_port()
            extra = settings(there.url, timeout="2s", ignore={"actions": ["pull"]}, ignoredmediatypes=["a/b"])
            plain = {"name": "plain", "url": there.url, "headers": {"Authorization": ["Bearer x"]}}
            extra["notifications"]["endpoints"].append(plain)
            registry = start(extra=extra | {"http": {"debug": {"addr": f"127.0.0.1:{port}"}}})
            registry.client.push_blob("z", LAST.digest, LAST.data)
            there.wait(lambda there=there: len(there.posts) == 2)

            def page(port: int = port) -> list[dict[str, Any]]:
                document = Client(f"127.0.0.1:{port}").get("/debug/vars").expect(200).json()
                return list(document["registry"]["notifications"]["endpoints"])

            eventually(lambda page=page: [each["Metrics"]["Pending"] for each in page()] == [0, 0])
            endpoints = page()
            for each in endpoints:
                each["url"] = each["url"].replace(there.url, "…")
                # Who has met the failures is up to chance.
                counted = each["Metrics"]
                assert counted["Successes"] == counted["Events"] == counted["Statuses"]["200 OK"] == 1
                each["Metrics"] = sorted(counted)
            shown.append(endpoints)
            registry.stop()
    theirs, ours = shown
    assert ours[1].pop("Headers") == {"Authorization": ["***"]}
    assert theirs[1].pop("Headers") == {"Authorization": ["Bearer x"]}
    assert ours[0].pop("Headers") == {}
    assert not theirs[0].pop("Headers")
    assert ours == theirs
    assert [list(each) for each in ours] == [list(each) for each in theirs]


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
