"""Traces by OpenTelemetry: a span for each request, and in it one for each storage action.

The SDK reads its own `OTEL_*` variables: where to send to, how much to sample, what this service is called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from opentelemetry import propagate
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from lading import __version__
from lading.api.request import Message, Receive, Scope, Send
from lading.operations.watched import WatchedStorage
from lading.registry.ports import PathNotFoundError, Storage

SERVICE = "distribution"
"""The name of the service unless a variable gives another: the original's, for whoever looks for it."""

_PREFIX = "io.cncf.distribution.storage."

EXPORTERS: Mapping[str, Callable[[], SpanExporter]] = {"otlp": OTLPSpanExporter, "console": ConsoleSpanExporter}

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Tracing:
    """Spans of one process, which is not to be forked after this."""

    def __init__(self, processor: SpanProcessor) -> None:
        resource = Resource.create({"service.version": __version__})
        if str(resource.attributes["service.name"]).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": SERVICE}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self.tracer = self._provider.get_tracer("lading", __version__)

    @classmethod
    def to(cls, exporter: str) -> Tracing:
        return cls(BatchSpanProcessor(EXPORTERS[exporter]()))

    def storage(self, storage: Storage) -> Storage:
        return WatchedStorage(storage, StorageTracer(self))

    def application(self, application: Application) -> Application:
        return TracedApplication(application, self)

    def close(self) -> None:
        """Send what is not sent yet."""
        self._provider.shutdown()


class TracedApplication:
    """An ASGI application with a span around each request, which continues the client's trace if it names one."""

    def __init__(self, application: Application, tracing: Tracing) -> None:
        self._application = application
        self._tracer = tracing.tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        attributes = {
            "http.request.method": scope["method"],
            "url.path": scope["path"],
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
            "user_agent.original": headers.get("user-agent", ""),
            "server.address": headers.get("host", ""),
            "client.address": (scope.get("client") or [""])[0],
        }
        name = f"{scope['method']} {scope['path']}"
        parent = propagate.extract(headers)
        with self._tracer.start_as_current_span(name, parent, SpanKind.SERVER, attributes) as span:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.set_attribute("http.response.status_code", status)
                    if status >= 500:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            await self._application(scope, receive, watched)


class StorageTracer:
    """Watches a storage: a span for each action, below that of the request."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracer = tracing.tracer

    def begin(self, action: str, driver: str, detail: Mapping[str, Any]) -> Span:
        attributes = {f"{_PREFIX}{key}": value for key, value in detail.items()}
        return self._tracer.start_span(action, attributes={f"{_PREFIX}driver.name": driver, **attributes})

    def end(self, action: str, driver: str, begun: Span, failure: BaseException | None) -> None:  # noqa: ARG002
        if isinstance(failure, Exception) and not isinstance(failure, PathNotFoundError):
            begun.record_exception(failure)
            begun.set_status(Status(StatusCode.ERROR, str(failure)))
        begun.end()
