"""What notifications cost pushes, and how many of them go out: `python -m bench.notifications`."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import mmap
import multiprocessing
import os
import selectors
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import loader
from bench.bodies import IMAGE_TYPE
from bench.loader import Wire
from bench.measure import Load, Sample, measure
from bench.servers import HOST, Running, directory, lading, serving

REPOSITORY = "bench/notified"
CONFIG = b"{}"
PATIENCE_SECONDS = 60.0

_ENDPOINT = "notifications: {{endpoints: [{{name: bench, url: 'http://{host}:{port}/', {more}}}]}}\n"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Sink:
    """A receiver that counts events, in a process of its own."""

    def __init__(self) -> None:
        self._counted = mmap.mmap(-1, 8)
        self._listening = socket.create_server((HOST, 0), backlog=64)
        self.port: int = self._listening.getsockname()[1]

    @property
    def events(self) -> int:
        return int.from_bytes(self._counted[:8], "little")

    def serve(self) -> None:
        ready = selectors.DefaultSelector()
        ready.register(self._listening, selectors.EVENT_READ)
        held: dict[socket.socket, bytes] = {}
        while True:
            for key, _ in ready.select():
                wire = key.fileobj
                assert isinstance(wire, socket.socket)
                if wire is self._listening:
                    made, _ = wire.accept()
                    ready.register(made, selectors.EVENT_READ)
                    held[made] = b""
                    continue
                data = wire.recv(1 << 20)
                if not data:
                    ready.unregister(wire)
                    wire.close()
                    continue
                held[wire] = self._take(wire, held[wire] + data)

    def _take(self, wire: socket.socket, data: bytes) -> bytes:
        head, found, body = data.partition(b"\r\n\r\n")
        if not found:
            return data
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return data
        self._counted[:8] = (self.events + body.count(b'"action"')).to_bytes(8, "little")
        wire.sendall(_ANSWER)
        return body[length:]


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    made = Sink()
    process = multiprocessing.get_context("fork").Process(target=made.serve, daemon=True)
    process.start()
    try:
        yield made
    finally:
        process.terminate()
        process.join()


@contextlib.contextmanager
def registry(folder: Path, section: str) -> Iterator[Running]:
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        with serving(lading(), directory(place / "data"), place, section) as running:
            wire = Wire(running.port)
            location = wire.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/", size=0, expect=202).location()
            digest = f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"
            wire.ask("PUT", f"{location}&digest={digest}", body=[CONFIG], size=len(CONFIG), expect=201)
            put(wire, "seed")
            wire.close()
            yield running
    finally:
        shutil.rmtree(place)


_numbers = itertools.count()


def put(wire: Wire, tag: str) -> None:
    """A manifest that has not been before."""
    config = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": f"sha256:{hashlib.sha256(CONFIG).hexdigest()}",
        "size": len(CONFIG),
    }
    own = {"annotations": {"n": f"{os.getpid()}-{next(_numbers)}"}}
    document = {"schemaVersion": 2, "mediaType": IMAGE_TYPE, "config": config, "layers": []}
    data = json.dumps(document | own).encode()
    kind = f"Content-Type: {IMAGE_TYPE}\r\n"
    wire.ask("PUT", f"/v2/{REPOSITORY}/manifests/{tag}", kind, [data], len(data), expect=201)


def pushes(running: Running, connections: int, seconds: float) -> Sample:
    def load() -> Load:
        return loader.run(
            running.port,
            lambda wire, number: put(wire, f"t{number}"),
            connections=connections,
            seconds=seconds,
        )

    return measure(running, load)


def pulls(running: Running, rate: float, seconds: float) -> Sample:
    """HEADs of a manifest, so many a second."""
    connections = 4
    begun = time.perf_counter() + 0.2
    turns = [itertools.count() for _ in range(connections)]

    def operation(wire: Wire, number: int) -> None:
        due = begun + next(turns[number]) * connections / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        wire.ask("HEAD", f"/v2/{REPOSITORY}/manifests/seed", f"Accept: {IMAGE_TYPE}\r\n")

    return measure(running, lambda: loader.run(running.port, operation, connections=connections, seconds=seconds))


def _compare_pushes(folder: Path, rounds: int, seconds: float) -> None:
    with sink() as there:
        ways = {
            "without": "",
            "with a receiver": _ENDPOINT.format(host=HOST, port=there.port, more=""),
            "with one that is down": _ENDPOINT.format(host=HOST, port=1, more=""),
        }
        for connections in (1, 8):
            found: dict[str, list[Sample]] = {way: [] for way in ways}
            for _ in range(rounds):
                for way, section in ways.items():
                    with registry(folder, section) as running:
                        found[way].append(pushes(running, connections, seconds))
            print(f"PUT of a manifest, {connections} at once, medians of {rounds} rounds:")
            base = statistics.median(sample.p50 for sample in found["without"])
            for way, samples in found.items():
                p50, p99, rate, cpu = (
                    statistics.median(values)
                    for values in (
                        [sample.p50 * 1000 for sample in samples],
                        [sample.p99 * 1000 for sample in samples],
                        [sample.rate for sample in samples],
                        [sample.cpu / sample.operations * 1e6 for sample in samples],
                    )
                )
                print(
                    f"  {way:22} p50 {p50:6.2f} ms ({p50 / base / 1000:.2f} x)  p99 {p99:6.2f} ms  "
                    f"{rate:6.0f}/s  {cpu:5.0f} us CPU"
                )


def _sustain(folder: Path, rate: float, seconds: float, more: str) -> None:
    with sink() as there, registry(folder, _ENDPOINT.format(host=HOST, port=there.port, more=more)) as running:
        done = pulls(running, rate, seconds)
        behind = done.operations + 2 - there.events
        begun = time.perf_counter()
        while there.events < done.operations + 2 and time.perf_counter() - begun < PATIENCE_SECONDS:
            time.sleep(0.01)
        late = time.perf_counter() - begun
        print(
            f"HEADs, {rate:.0f}/s for {seconds:.0f} s{', ' + more if more else ''}: {done.rate:.0f}/s made, "
            f"{behind} behind at the end, all there {late:.2f} s later ({there.events} of {done.operations + 2}); "
            f"memory {(done.peak - done.idle) / 2**20:+.1f} MiB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.notifications", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rates", type=float, nargs="*", default=[1000.0, 2000.0])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lading-bench-", dir=os.environ.get("TMPDIR")) as folder:
        for rate in options.rates:
            for more in ("", "batch: {events: 50}"):
                _sustain(Path(folder), rate, options.seconds * 4, more)
        _compare_pushes(Path(folder), options.rounds, options.seconds)


if __name__ == "__main__":
    main()
