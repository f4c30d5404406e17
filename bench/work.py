"""What the rows do, each as a function that makes a load."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bench import bodies, loader, seed, tools
from bench.bodies import GIB, IMAGE_TYPE, KIB, Blob
from bench.loader import Wire
from bench.measure import Load, percentile
from bench.seed import REPOSITORY, Seed

if TYPE_CHECKING:
    from bench.rows import Scene

ACCEPT = f"Accept: {IMAGE_TYPE}"
WARM_UP = 20
IMAGE_RUNS = 2
"""How often an image is pulled or pushed for one figure."""

TARGET = "bench/pushed"
_OCTETS = "Content-Type: application/octet-stream\r\n"

Target = Callable[[Seed], str]
Work = Callable[["Scene"], Load]


def blob_target(data: Seed, name: str) -> str:
    return f"/v2/{REPOSITORY}/blobs/{data.blobs[name]}"


def get(target: Target, connections: int) -> Work:
    def load(scene: Scene) -> Load:
        path = target(scene.seed)
        _warm_up(scene, "GET", path)
        url = f"http://{scene.running.address}{path}"
        return tools.wrk(url, connections=connections, seconds=scene.seconds, headers=(ACCEPT, *scene.headers))

    return load


def head(target: Target, connections: int) -> Work:
    def load(scene: Scene) -> Load:
        path = target(scene.seed)
        _warm_up(scene, "HEAD", path)

        def operation(wire: Wire, _: int) -> None:
            wire.ask("HEAD", path, f"{ACCEPT}\r\n")

        url = f"http://{scene.running.address}{path}"
        if not tools.has_oha():
            return loader.run(
                scene.running.port,
                operation,
                connections=connections,
                seconds=scene.seconds,
            )
        return tools.oha("HEAD", url, connections=connections, seconds=scene.seconds, headers=(ACCEPT,))

    return load


def ask(path: str, connections: int) -> Work:
    """GET by the loader of our own: for what takes long enough."""

    def load(scene: Scene) -> Load:
        _warm_up(scene, "GET", path)

        def operation(wire: Wire, _: int) -> None:
            wire.ask("GET", path, f"{ACCEPT}\r\n")

        return loader.run(scene.running.port, operation, connections=connections, seconds=scene.seconds)

    return load


def page(what: str, count: int, last: str) -> Work:
    """A page of a list by a few clients, who wait as long as it takes."""
    owner = REPOSITORY if count == seed.FEW else seed.repository(0)
    path = f"/v2/{owner}/tags/list" if what == "tags" else "/v2/_catalog"
    query = f"?n={seed.PAGE}" + (f"&last={last}" if last else "")

    def load(scene: Scene) -> Load:
        _warm_up(scene, "GET", path + query, each=1)

        def operation(wire: Wire, _: int) -> None:
            wire.ask("GET", path + query)

        return loader.run(scene.running.port, operation, connections=2, seconds=scene.seconds)

    return load


def download(name: str, connections: int, part: int = 0) -> Work:
    """A whole blob, or `part` bytes from its middle."""

    def load(scene: Scene) -> Load:
        path = blob_target(scene.seed, name)
        start = GIB // 2
        headers = f"Range: bytes={start}-{start + part - 1}\r\n" if part else ""
        status = 206 if part else 200
        # A byte is enough to open what the answers come from.
        _warm_up(scene, "GET", path, headers or "Range: bytes=0-0\r\n", expect=206)

        def operation(wire: Wire, _: int) -> None:
            wire.ask("GET", path, headers, expect=status)

        return loader.run(scene.running.port, operation, connections=connections, seconds=scene.seconds)

    return load


def follow(name: str, connections: int) -> Work:
    """A whole blob, from where the registry sends its clients."""

    def load(scene: Scene) -> Load:
        path = blob_target(scene.seed, name)
        _warm_up(scene, "GET", path, expect=307)
        elsewhere: list[Wire] = []  # of each process its own: they are forked

        def operation(wire: Wire, _: int) -> None:
            target = wire.ask("GET", path, expect=307).location()
            if not elsewhere:
                elsewhere.append(Wire(scene.store_port))
            elsewhere[0].ask("GET", target)

        return loader.run(scene.running.port, operation, connections=connections, seconds=scene.seconds)

    return load


def push(size: int, connections: int, *, whole: bool) -> Work:
    def load(scene: Scene) -> Load:
        bodies.common(size)

        def operation(wire: Wire, _: int) -> None:
            _push_blob(wire, bodies.blob(size), whole=whole)

        return loader.run(scene.running.port, operation, connections=connections, seconds=scene.seconds)

    return load


def put_manifests(connections: int) -> Work:
    """Distinct manifests under distinct tags, of blobs that are there."""

    def load(scene: Scene) -> Load:
        config, layer = bodies.blob(KIB), bodies.blob(64 * KIB)
        wire = Wire(scene.running.port)
        _push_blob(wire, config)
        _push_blob(wire, layer)
        wire.close()

        def operation(wire: Wire, _: int) -> None:
            tag = os.urandom(8).hex()
            _put_manifest(wire, tag, bodies.manifest(config, [layer], tag))

        return loader.run(scene.running.port, operation, connections=connections, seconds=scene.seconds)

    return load


def mix(connections: int) -> Work:
    """A pull: HEAD and GET a manifest, GET config and layer. A push: a new layer of 64 KiB and its manifest."""

    def load(scene: Scene) -> Load:
        config, layer = bodies.blob(KIB), bodies.blob(64 * KIB)
        document = bodies.manifest(config, [layer])
        wire = Wire(scene.running.port)
        _push_blob(wire, config)
        _push_blob(wire, layer)
        _put_manifest(wire, "mix", document)
        wire.close()
        accept = f"{ACCEPT}\r\n"

        def pull(wire: Wire) -> None:
            wire.ask("HEAD", f"/v2/{TARGET}/manifests/mix", accept)
            wire.ask("GET", f"/v2/{TARGET}/manifests/{bodies.digest_of(document)}", accept)
            for blob in (config, layer):
                wire.ask("GET", f"/v2/{TARGET}/blobs/{blob.digest}")

        def operation(wire: Wire, _: int) -> None:
            if random.random() < 0.75:  # noqa: S311
                pull(wire)
                return
            fresh = bodies.blob(64 * KIB)
            _push_blob(wire, fresh)
            _put_manifest(wire, fresh.tail.hex(), bodies.manifest(config, [fresh]))

        return loader.run(scene.running.port, operation, connections=connections, seconds=scene.seconds)

    return load


def pull_image(scene: Scene) -> Load:
    reference = f"{scene.running.address}/{REPOSITORY}:image"
    archive = scene.folder / "pulled.tar"

    def once(_: int) -> None:
        tools.finish([tools.crane(), "pull", reference, str(archive)], scene.folder)
        archive.unlink()

    return _timed(once, range(IMAGE_RUNS))


def push_image(scene: Scene) -> Load:
    """Images that share nothing, from OCI layouts."""
    layouts = [scene.folder / f"layout-{number}" for number in range(IMAGE_RUNS)]
    for layout in layouts:
        _write_layout(layout)

    def once(number: int) -> None:
        reference = f"{scene.running.address}/{TARGET}:image-{number}"
        tools.finish([tools.crane(), "push", str(layouts[number]), reference], scene.folder)

    try:
        return _timed(once, range(IMAGE_RUNS))
    finally:
        for layout in layouts:
            shutil.rmtree(layout)


def _timed(once: Callable[[int], None], numbers: Iterable[int]) -> Load:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    times = []
    for number in numbers:
        began = time.perf_counter()
        once(number)
        times.append(time.perf_counter() - began)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    ordered = sorted(times)
    return Load(len(times), sum(times), percentile(ordered, 0.5), percentile(ordered, 0.99), cpu)


def _write_layout(folder: Path) -> None:
    config, layers, manifest = seed.image_of([bodies.blob(size) for size in seed.IMAGE_SIZES])
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    for layer in layers:
        (blobs / layer.digest.partition(":")[2]).write_bytes(layer.whole())
    for data in (config, manifest):
        (blobs / bodies.digest_of(data).partition(":")[2]).write_bytes(data)
    entry = {"mediaType": IMAGE_TYPE, "digest": bodies.digest_of(manifest), "size": len(manifest)}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def _push_blob(wire: Wire, blob: Blob, *, whole: bool = False) -> None:
    location = wire.ask("POST", f"/v2/{TARGET}/blobs/uploads/", size=0, expect=202).location()
    if not whole:
        location = wire.ask("PATCH", location, _OCTETS, blob.pieces(), blob.size, expect=202).location()
    target = f"{location}{'&' if '?' in location else '?'}digest={blob.digest}"
    if whole:
        wire.ask("PUT", target, _OCTETS, blob.pieces(), blob.size, expect=201)
    else:
        wire.ask("PUT", target, size=0, expect=201)


def _put_manifest(wire: Wire, reference: str, data: bytes) -> None:
    kind = f"Content-Type: {IMAGE_TYPE}\r\n"
    wire.ask("PUT", f"/v2/{TARGET}/manifests/{reference}", kind, [data], len(data), expect=201)


def _warm_up(
    scene: Scene, method: str, target: str, headers: str = "", *, expect: int = 200, each: int = WARM_UP // 4
) -> None:
    """And see that it is answered as it should be, so often on each connection."""
    lines = "".join(f"{line}\r\n" for line in (ACCEPT, *scene.headers))
    for _ in range(4):  # connections, so that every worker has one
        wire = Wire(scene.running.port)
        for _ in range(each):
            wire.ask(method, target, lines + headers, expect=expect)
        wire.close()
