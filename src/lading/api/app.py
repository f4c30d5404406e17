"""The ASGI application: parse, find the handler, answer. The one place where errors become answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from lading.api import (
    blobs,
    catalog,
    manifests,
    naming,
    referrers,
    repositories,
    response,
    routes,
    tags,
    uploads,
)
from lading.api.authorize import Authorization
from lading.api.request import Receive, Request, Scope, Send, current
from lading.api.response import API_VERSION, Response, load, send_response
from lading.api.routes import Endpoint, Moved, Route
from lading.api.service import Service
from lading.api.urls import quote_path
from lading.oci import errors
from lading.oci.errors import RegistryError
from lading.registry.ports import StorageError, StorageFullError, UnavailableError

log = logging.getLogger(__name__)

Handler = Callable[[Service, Request, Route], Awaitable[Response]]

_UPLOADS: dict[str, Handler] = {
    "DELETE": uploads.delete,
    "GET": uploads.get,
    "HEAD": uploads.get,
    "PATCH": uploads.patch,
    "POST": uploads.post,
    "PUT": uploads.put,
}

HANDLERS: dict[Endpoint, dict[str, Handler]] = {
    Endpoint.CATALOG: {"GET": catalog.get, "HEAD": catalog.get},
    Endpoint.TAGS: {"GET": tags.get, "HEAD": tags.get},
    Endpoint.REFERRERS: {"GET": referrers.get, "HEAD": referrers.get},
    Endpoint.MANIFEST: {
        "DELETE": manifests.delete,
        "GET": manifests.get,
        "HEAD": manifests.get,
        "PUT": manifests.put,
    },
    Endpoint.BLOB: {"DELETE": blobs.delete, "GET": blobs.get, "HEAD": blobs.get},
    Endpoint.REPOSITORY: {"DELETE": repositories.delete},
    Endpoint.UPLOADS: _UPLOADS,
    Endpoint.UPLOAD: _UPLOADS,
}

_READS = frozenset({"GET", "HEAD"})


class AccessLog(Protocol):
    def write(self, request: Request, status: int, sent: int, started: float) -> None:
        """One line for one answered request; `started` is in seconds since the epoch."""
        ...


class Meter(Protocol):
    def begun(self, request: Request, handler: str) -> None:
        """The request is for an endpoint; `answered` follows."""
        ...

    def answered(self, request: Request, status: int, sent: int) -> None:
        """It is over, with so many bytes sent; also called for requests that were for no endpoint."""
        ...


class Application:
    def __init__(
        self,
        service: Service,
        access_log: AccessLog | None = None,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service = service
        self._access_log = access_log
        self._meter = meter
        self._clock = clock
        self._authorization = None if service.authorizer is None else Authorization(service.authorizer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"cannot serve {scope['type']}")
        started = self._clock()
        request = Request(scope, receive)
        current.set(request)
        status, sent = errors.CLIENT_CLOSED.status, 0
        try:
            answer = await self.answer(request, started)
            status = answer.status
            sent = await send_response(request, answer, send)
        finally:
            if self._access_log is not None:
                self._access_log.write(request, status, sent, started)
            if self._meter is not None:
                self._meter.answered(request, status, sent)
        if log.isEnabledFor(logging.DEBUG) and request.route is not None:
            _log_end(answer, sent, self._clock() - started)

    async def answer(self, request: Request, started: float) -> Response:
        if self._service.gate.closed:
            return _own(response.error(errors.UNAVAILABLE(detail="health check failed: please see /debug/health")))
        if request.path == "/":
            return Response(200, [(b"cache-control", b"no-cache")])
        service = self._service
        if (page := service.pages.get(request.path)) is not None:
            return await page(request)
        route = routes.match(request.path, service.prefix)
        if isinstance(route, Moved):
            query = f"?{request.query}" if request.query else ""
            location = f"{quote_path(route.path)}{query}"
            return _own(Response(301, [(b"location", location.encode("latin-1", "replace"))]))
        if route is None:
            return _own(response.plain(404, "404 page not found"))
        if service.registry.sources is not None:
            try:
                route = naming.meant(service, request, route)
            except RegistryError as refusal:
                return _own(response.error(refusal))
        request.route = route
        if self._meter is not None:
            self._meter.begun(request, route.endpoint.value)
        refused = None
        if self._authorization is not None:
            refused = await self._authorization.check(request, route, started)
        answer = refused or await self._dispatch(request, route)
        configured = [header for header in service.headers if header not in answer.headers]
        answer.headers += [API_VERSION, *configured]
        return answer

    async def _dispatch(self, request: Request, route: Route) -> Response:
        if route.endpoint is Endpoint.BASE:
            return Response(200, [(b"content-type", b"application/json")], b"{}")
        handlers = HANDLERS[route.endpoint]
        handler = handlers.get(request.method)
        if handler is None or (self._service.read_only and request.method not in _READS):
            allowed = handlers.keys() & _READS if self._service.read_only else handlers.keys()
            allow = (b"allow", ", ".join(sorted(allowed)).encode("ascii"))
            if request.method == "OPTIONS":
                return Response(200, [allow])
            return response.plain(405, "Method not allowed", [allow])
        try:
            return await load(await handler(self._service, request, route))
        except RegistryError as refusal:
            return response.error(refusal)
        except StorageFullError as failure:
            log.error("%s %s: %s", request.method, request.path, failure)
            return response.error(errors.STORAGE_FULL())
        except StorageError as failure:
            log.error("%s %s: %s", request.method, request.path, failure)
            code = errors.UNAVAILABLE if isinstance(failure, UnavailableError) else errors.UNKNOWN
            return response.error(code(detail="the storage failed; the registry's log tells how"))
        except Exception:
            log.critical("%s %s failed", request.method, request.path, exc_info=True)
            return response.error(errors.UNKNOWN())


def _own(answer: Response) -> Response:
    """Marked as a registry's, where no operation is asked."""
    answer.headers.append(API_VERSION)
    return answer


def _log_end(answer: Response, sent: int, seconds: float) -> None:
    kind = dict(answer.headers).get(b"content-type", b"").decode("latin-1")
    fields = {
        "http.response.status": answer.status,
        "http.response.written": sent,
        "http.response.duration": f"{seconds * 1000:.6g}ms",
        **({"http.response.contenttype": kind} if kind else {}),
    }
    if answer.refusal is None:
        log.debug("response completed", extra={"fields": fields})
        return
    for entry in answer.refusal.entries:
        told = {
            "err.code": entry.code.code.lower().replace("_", " "),
            "err.message": entry.message or entry.code.message,
            **({} if entry.detail is None else {"err.detail": entry.detail}),
        }
        log.debug("response completed with error", extra={"fields": fields | told})
