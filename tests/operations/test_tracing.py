from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.operations.watched import STOCK
from tests.wire.asgi import HOST, Client
from tests.wire.compositions import MEMORY

from lading.config import variables
from lading.config.problems import ConfigurationError
from lading.operations.tracing import Tracing
from lading.registry.ports import Storage, StorageError
from lading.storage.memory import MemoryStorage

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STORAGE = "io.cncf.distribution.storage."


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)


class Traced:
    """A registry whose spans are kept."""

    def __init__(self, storage: Storage | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        tracing = Tracing(SimpleSpanProcessor(self.exporter))
        watched = tracing.storage(storage or MemoryStorage())
        self.client = Client(tracing.application(MEMORY.open(watched)))

    def spans(self) -> tuple[ReadableSpan, list[ReadableSpan]]:
        """Of the request, and those below it."""
        *inner, request = self.exporter.get_finished_spans()
        return request, inner


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


async def test_a_request_and_its_storage_actions():
    traced = Traced()
    await traced.client.get("/v2/a/manifests/x", {"User-Agent": "test"})
    request, [action] = traced.spans()
    assert (request.name, request.kind, request.parent) == ("GET /v2/a/manifests/x", SpanKind.SERVER, None)
    assert attributes(request) == {
        "http.request.method": "GET",
        "url.path": "/v2/a/manifests/x",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "user_agent.original": "test",
        "server.address": HOST,
        "client.address": "192.0.2.7",
        "http.response.status_code": 404,
    }
    assert request.status.status_code is StatusCode.UNSET
    assert action.name == "GetContent"
    assert action.parent == request.context
    assert attributes(action) == {
        f"{STORAGE}driver.name": "inmemory",
        f"{STORAGE}path": "/docker/registry/v2/repositories/a/_manifests/tags/x/current/link",
    }
    assert action.status.status_code is StatusCode.UNSET


async def test_what_the_client_began_is_continued():
    traced = Traced()
    await traced.client.get("/v2/", {"traceparent": PARENT})
    request, _ = traced.spans()
    assert request.parent is not None
    assert f"{request.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{request.parent.span_id:016x}" == PARENT.split("-")[2]


async def test_failures():
    class Broken(MemoryStorage):
        async def get(self, key: str) -> bytes:
            raise StorageError("inmemory", "input/output error")

    traced = Traced(Broken())
    await traced.client.get("/v2/a/manifests/x")
    request, [action] = traced.spans()
    assert action.status.status_code is StatusCode.ERROR
    assert action.status.description == "inmemory: input/output error"
    assert request.status.status_code is StatusCode.ERROR
    assert attributes(request)["http.response.status_code"] == 500


async def test_details_of_actions():
    exporter = InMemorySpanExporter()
    storage = Tracing(SimpleSpanProcessor(exporter)).storage(MemoryStorage())
    await storage.put("/a", b"xyz")
    await (await storage.open("/a", 1)).close()
    await (await storage.writer("/b", append=True)).close()
    await storage.move("/a", "/c")
    assert await storage.list("/") == ["b", "c"]
    found = {
        span.name: {
            key.removeprefix(STORAGE): value for key, value in attributes(span).items() if "driver" not in key
        }
        for span in exporter.get_finished_spans()
    }
    assert found == {
        "PutContent": {"path": "/a", "content.length": 3},
        "Reader": {"path": "/a", "offset": 1},
        "Writer": {"path": "/b", "append": True},
        "Move": {"source.path": "/a", "dest.path": "/c"},
        "List": {"path": "/"},
    }


@pytest.mark.parametrize(("name", "service"), [(None, "distribution"), ("mine", "mine")])
async def test_names_of_the_service(monkeypatch, name, service):
    if name:
        monkeypatch.setenv("OTEL_SERVICE_NAME", name)
    traced = Traced()
    await traced.client.get("/v2/")
    assert traced.spans()[0].resource.attributes["service.name"] == service


@pytest.mark.parametrize(
    ("environ", "exporter"),
    [
        ({}, ""),
        ({"OTEL_TRACES_EXPORTER": "none"}, ""),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ""),
    ],
)
def test_traces_are_off_unless_asked_for(environ, exporter):
    assert variables.traces_exporter(environ) == exporter


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: unknown exporter 'zipkin'"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' is not supported",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused(environ, text):
    with pytest.raises(ConfigurationError, match=f"error during open telemetry initialization: {text}"):
        variables.traces_exporter(environ)


def test_without_the_extra_the_start_says_so(tmp_path):
    """A folder in front hides the SDK, as if it were not installed."""
    hidden = tmp_path / "hidden" / "opentelemetry"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").touch()
    config = tmp_path / "config.yml"
    config.write_text("version: 0.1\nstorage: inmemory\nhttp: {addr: '127.0.0.1:0'}\n")
    run = subprocess.run(
        [str(Path(sys.executable).with_name("lading")), "serve", str(config)],
        env={"PYTHONPATH": str(hidden.parent), "OTEL_TRACES_EXPORTER": "otlp", "REGISTRY_HTTP_SECRET": "s"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    [line] = run.stderr.splitlines()
    assert "OTEL_TRACES_EXPORTER: traces need pip install 'lading[otel]'" in line


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """The tests look at what was received."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
        serving.join()


def test_a_registry_sends_its_spans_also_the_last_ones(start, receiver):
    endpoint, received = receiver
    watched = start(
        STOCK,
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test",
        OTEL_BSP_SCHEDULE_DELAY="3600000",
    )
    watched.client.request("GET", "/v2/a/manifests/x").expect(404)
    watched.process.terminate()
    assert watched.process.wait(30) == 0
    groups = [group for sent in received for group in sent.resource_spans]
    spans = [span for group in groups for scope in group.scope_spans for span in scope.spans]
    assert {"GET /v2/a/manifests/x", "GetContent"} <= {span.name for span in spans}
    named = {attribute.key: attribute.value.string_value for attribute in groups[0].resource.attributes}
    assert named["service.name"] == "distribution"
    assert named["deployment.environment"] == "test"
