"""An ASGI application of a few pages, without a registry."""

from __future__ import annotations

import time
from collections.abc import Mapping

from lading.api import response
from lading.api.app import AccessLog
from lading.api.request import Receive, Request, Scope, Send, current
from lading.api.response import Response, send_response
from lading.api.service import Page
from lading.oci import errors


class Pages:
    """Each path has its page; `/` answers 200, for health checks."""

    def __init__(self, pages: Mapping[str, Page], access_log: AccessLog | None = None) -> None:
        self._pages = pages
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"cannot serve {scope['type']}")
        started = time.time()
        request = Request(scope, receive)
        current.set(request)
        status, sent = errors.CLIENT_CLOSED.status, 0
        try:
            answer = await self.answer(request)
            status = answer.status
            sent = await send_response(request, answer, send)
        finally:
            if self._access_log is not None:
                self._access_log.write(request, status, sent, started)

    async def answer(self, request: Request) -> Response:
        if request.path == "/":
            return Response(200, [(b"cache-control", b"no-cache")])
        page = self._pages.get(request.path)
        return response.plain(404, "404 page not found") if page is None else await page(request)
