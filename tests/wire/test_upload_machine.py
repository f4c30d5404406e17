"""Upload sessions against a model: whatever clients and processes do, and in whatever order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.wire.asgi import Answer, Client
from tests.wire.compositions import MEMORY, World, dump, world
from tests.wire.content import blob_key, digest, layer_key
from tests.wire.fuzzing import FACTOR, NOWHERE, thorough

pytestmark = pytest.mark.timeout(120 * FACTOR)

START = "/v2/app/blobs/uploads/"
processes = st.integers(0, 2)
chunks = st.binary(max_size=40)
algorithms = st.sampled_from(["sha256", "sha384", "sha512"])


class Uploading(RuleBasedStateMachine):
    """The model: the bytes of the one session, and every URL its client was ever given, with its offset."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.place: World = self.runner.run(world(MEMORY, {}, NOWHERE))
        self.stored = b""
        self.urls: list[tuple[int, str]] = []
        self.blobs: dict[str, bytes] = {}

    def teardown(self) -> None:
        self.runner.close()

    @initialize()
    def processes_start(self) -> None:
        self.clients = [Client(MEMORY.open(self.place.storage)) for _ in range(3)]

    @property
    def open(self) -> bool:
        return bool(self.urls)

    def ask(
        self, process: int, method: str, target: str, headers: Any = (), body: Any = b"", **how: Any
    ) -> Answer:
        return self.runner.run(self.clients[process].send(method, target, headers, body, **how))

    def url(self) -> str:
        """One that says where the session is."""
        return next(url for offset, url in reversed(self.urls) if offset == len(self.stored))

    def goes_on(self, answer: Answer) -> None:
        assert answer.header("range") == f"0-{max(len(self.stored) - 1, 0)}"
        self.urls.append((len(self.stored), answer.location))

    @rule(process=processes)
    def restart(self, process: int) -> None:
        self.clients[process] = Client(MEMORY.open(self.place.storage))

    @precondition(lambda self: not self.open)
    @rule(process=processes, algorithm=algorithms)
    def start(self, process: int, algorithm: str) -> None:
        self.stored = b""
        self.goes_on(self.ask(process, "POST", f"{START}?digest-algorithm={algorithm}").expect(202))

    @precondition(lambda self: self.open)
    @rule(process=processes, chunk=chunks, cut=st.integers(0, 40), ranged=st.booleans())
    def append(self, process: int, chunk: bytes, cut: int, ranged: bool) -> None:
        first = len(self.stored)
        headers = {"Content-Range": f"{first}-{first + len(chunk) - 1}"} if ranged and chunk else {}
        body: Any = chunk if cut % 2 else [chunk[:cut], chunk[cut:]]
        answer = self.ask(process, "PATCH", self.url(), headers, body).expect(202)
        self.stored += chunk
        self.goes_on(answer)

    @precondition(lambda self: self.open)
    @rule(process=processes, chunk=chunks)
    def vanish(self, process: int, chunk: bytes) -> None:
        self.ask(process, "PATCH", self.url(), {}, [chunk], vanish=True).expect(499)
        self.stored += chunk
        self.status(process)

    @precondition(lambda self: self.open)
    @rule(process=processes)
    def status(self, process: int) -> None:
        self.goes_on(self.ask(process, "GET", self.urls[0][1].partition("?")[0]).expect(204))

    @precondition(lambda self: self.open)
    @rule(process=processes, method=st.sampled_from(["PATCH", "PUT"]), start=st.integers(0, 90), chunk=chunks)
    def out_of_order(self, process: int, method: str, start: int, chunk: bytes) -> None:
        if start == len(self.stored) or not chunk:
            return
        headers = {"Content-Range": f"{start}-{start + len(chunk) - 1}"}
        target = f"{self.url()}&digest={digest(self.stored + chunk)}"
        assert self.ask(process, method, target, headers, chunk).expect(416).codes() == ["RANGE_INVALID"]

    @precondition(lambda self: self.open)
    @rule(
        process=processes, method=st.sampled_from(["PATCH", "PUT"]), chunk=chunks, off=st.sampled_from([-1, 1, 7])
    )
    def another_length(self, process: int, method: str, chunk: bytes, off: int) -> None:
        first = len(self.stored)
        if len(chunk) + off < 1:
            return
        headers = {"Content-Range": f"{first}-{first + len(chunk) + off - 1}"}
        target = f"{self.url()}&digest={digest(self.stored + chunk)}"
        assert self.ask(process, method, target, headers, chunk).expect(400).codes() == ["SIZE_INVALID"]

    @precondition(lambda self: any(offset != len(self.stored) for offset, _ in self.urls))
    @rule(process=processes, method=st.sampled_from(["PATCH", "PUT", "DELETE"]), data=st.data())
    def stale(self, process: int, method: str, data: st.DataObject) -> None:
        old = [url for offset, url in self.urls if offset != len(self.stored)]
        target = f"{data.draw(st.sampled_from(old))}&digest={digest(self.stored)}"
        assert self.ask(process, method, target, {}, b"x").expect(416).codes() == ["RANGE_INVALID"]

    @precondition(lambda self: self.open)
    @rule(process=processes, bad=st.sampled_from(["", "nonsense", "sha256:00", "md5:" + "0" * 32]), chunk=chunks)
    def finish_without_a_digest(self, process: int, bad: str, chunk: bytes) -> None:
        target = f"{self.url()}&digest={bad}"
        assert self.ask(process, "PUT", target, {}, chunk).expect(400).codes() == ["DIGEST_INVALID"]

    @precondition(lambda self: self.open)
    @rule(process=processes, chunk=chunks, algorithm=algorithms, known=st.booleans())
    def finish(self, process: int, chunk: bytes, algorithm: str, known: bool) -> None:
        whole = self.stored + chunk
        name = digest(whole, algorithm)
        first = len(self.stored)
        headers = {"Content-Range": f"{first}-{first + len(chunk) - 1}"} if known and chunk else {}
        answer = self.ask(process, "PUT", f"{self.url()}&digest={name}", headers, chunk).expect(201)
        assert answer.header("docker-content-digest") == name
        self.blobs[name] = whole
        self.gone(process)

    @precondition(lambda self: self.open)
    @rule(process=processes, chunk=chunks, algorithm=algorithms)
    def finish_with_another_digest(self, process: int, chunk: bytes, algorithm: str) -> None:
        target = f"{self.url()}&digest={digest(self.stored + chunk + b'!', algorithm)}"
        assert self.ask(process, "PUT", target, {}, chunk).expect(400).codes() == ["DIGEST_INVALID"]
        self.gone(process)

    @precondition(lambda self: self.open)
    @rule(process=processes)
    def cancel(self, process: int) -> None:
        self.ask(process, "DELETE", self.url()).expect(204)
        self.gone(process)

    def gone(self, process: int) -> None:
        for method in ("GET", "PATCH", "PUT", "DELETE"):
            target = f"{self.url()}&digest={digest(self.stored)}"
            answer = self.ask((process + 1) % 3, method, target, {}, b"")
            assert answer.expect(404).codes() == ["BLOB_UPLOAD_UNKNOWN"]
        self.urls, self.stored = [], b""

    @invariant()
    def storage_holds_the_model_and_nothing_else(self) -> None:
        files = self.runner.run(dump(self.place.storage))
        kept = {key: data for key, data in files.items() if "/_uploads/" not in key}
        expected = {blob_key(name): data for name, data in self.blobs.items()}
        expected |= {layer_key("app", name): name.encode() for name in self.blobs}
        assert kept == expected
        session = {key.rpartition("/")[2]: data for key, data in files.items() if "/_uploads/" in key}
        assert session.get("data", b"") == self.stored
        assert ("startedat" in session) == self.open
        if not self.open:
            assert session == {}


Uploading.TestCase.settings = settings(thorough(60), stateful_step_count=25 if FACTOR == 1 else 50)
TestUploading = Uploading.TestCase
