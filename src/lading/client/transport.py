"""Requests to one registry: signed in, redirected, tried again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict, Unpack

import aiohttp
from yarl import URL

from lading.client.authentication import Authenticator
from lading.client.challenges import parse
from lading.client.credentials import Credentials
from lading.client.errors import KINDS, AnswerError, ClientError, InvalidAnswerError, UnreachableError
from lading.client.tls import TLS, context
from lading.oci.retries import retry_after

MAX_REDIRECTS = 10
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""Of a list; manifests have their own limit."""

MAX_ERROR_BYTES = 64 * 1024
"""Of an error's body: what comes behind them is not read."""

READ_BUFFER_BYTES = 512 * 1024

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEPING = frozenset({307, 308})
"""Redirects after which a request that writes is still the same request."""

PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which another attempt may do better."""


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds. `patience` is the longest Retry-After that is waited for before it becomes an error."""

    connect: float = 10.0
    idle: float = 60.0
    attempts: int = 3
    pause: float = 0.25
    patience: float = 5.0


Body = bytes | Callable[[], AsyncIterator[bytes]]
"""Of a request; what is called begins at the beginning, each time."""

Observe = Callable[[int, Mapping[str, str]], None]
"""Hears of every answer of the registry itself: its status, 0 for none, and its headers."""


class Options(TypedDict, total=False):
    """What all clients take as keywords.

    `token_servers` are hosts that may see the credentials, beside the registry's and its domain's; with their
    ports unless these are the scheme's.
    """

    user_agent: str
    timing: Timing | None
    observe: Observe | None
    tls: TLS | None
    token_servers: frozenset[str]


class Transport:
    """`url` is an origin; of a path only the slash counts. Close it in the event loop it was used in."""

    def __init__(self, url: str, credentials: Credentials | None = None, **options: Unpack[Options]) -> None:
        """Raises `ValueError` if `url` is not one of http or https with a host."""
        parsed = URL(url)
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ValueError("must be a URL that begins with http:// or https://")
        self.origin = parsed.origin()
        self.host = self.origin.raw_authority
        self.timing = options.get("timing") or Timing()
        self._authenticator = Authenticator(
            self.origin, credentials, self._fetch_token, options.get("token_servers", frozenset())
        )
        self._tls = options.get("tls") or TLS()
        self._user_agent = options.get("user_agent", "lading")
        self._observe = options.get("observe")
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        scope: str,
        accepted: tuple[int, ...] = (200,),
        body: Body | None = None,
        repeat: bool = True,
    ) -> aiohttp.ClientResponse:
        """An answer with one of the accepted statuses, whose body is yet to be read. Raises `ClientError`.

        `path` may be a URL, too; only the registry's own host sees who asks. Without `repeat` a failure is not
        followed by another attempt. What is gone when it is to be deleted again was deleted: its answer was lost.
        """
        url = self.origin.join(URL(path, encoded=True))
        done: tuple[int, ...] = ()
        for attempt in range(1, self.timing.attempts + 1):
            try:
                answer = await self._signed_in(method, url, headers, scope, body)
                if answer.status in accepted + done:
                    return answer
                failure: ClientError = await refusal(answer, self.host)
            except UnreachableError as error:
                failure = error
                if self._observe is not None:
                    self._observe(0, {})
            if method == "DELETE" and _may_be_done(failure):
                done = (404,)
            await self._pause_after(failure, attempt if repeat else self.timing.attempts)
        raise AssertionError("unreachable")

    async def document(
        self, path: str, headers: Mapping[str, str], *, scope: str, limit: int = MAX_DOCUMENT_BYTES
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """An answer to GET with its whole body, asked for again if that breaks off. Raises `ClientError`."""
        for attempt in range(1, self.timing.attempts + 1):
            answer = await self.request("GET", path, headers, scope=scope)
            try:
                return answer, await self.read(answer, limit)
            except UnreachableError as error:
                await self._pause_after(error, attempt)
        raise AssertionError("unreachable")

    async def read(self, answer: aiohttp.ClientResponse, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
        """The whole body. Raises `ClientError`, also for more than `limit` bytes."""
        body = bytearray()
        try:
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > limit:
                    raise InvalidAnswerError(f"{self.host}: the answer has more than {limit} bytes")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"{self.host}: the answer broke off: {describe(error)}") from error
        finally:
            answer.release()
        return bytes(body)

    async def _pause_after(self, failure: ClientError, attempt: int) -> None:
        """Raises the failure if there is to be no other attempt."""
        pause = self.pause(failure, attempt)
        if pause is None:
            raise failure
        await asyncio.sleep(pause)

    def pause(self, failure: ClientError, attempt: int) -> float | None:
        """How long to wait before the next attempt; None if there is to be none."""
        if attempt == self.timing.attempts:
            return None
        if isinstance(failure, AnswerError):
            if failure.status not in PASSING or failure.retry_after > self.timing.patience:
                return None
            if failure.retry_after:
                return failure.retry_after
            if failure.status == 429:
                return None
        return float(self.timing.pause * 2 ** (attempt - 1)) * random.uniform(0.75, 1.25)  # noqa: S311

    async def _signed_in(
        self, method: str, url: URL, headers: Mapping[str, str], scope: str, body: Body | None
    ) -> aiohttp.ClientResponse:
        for last in (False, True):
            authorization = await self._authenticator.header(scope)
            answer = await self._redirected(method, url, headers, authorization, body)
            if answer.status != 401 or last or answer.url.origin() != self.origin:
                return answer
            wanted = parse(answer.headers.getall("WWW-Authenticate", []))
            if not await self._authenticator.learn(wanted, scope):
                return answer
            answer.release()
        raise AssertionError("unreachable")

    async def _redirected(
        self, method: str, url: URL, headers: Mapping[str, str], authorization: str, body: Body | None
    ) -> aiohttp.ClientResponse:
        for _ in range(MAX_REDIRECTS + 1):
            own = url.origin() == self.origin
            sent = {**headers, "Authorization": authorization} if own and authorization else dict(headers)
            answer = await self._send(method, url, sent, body() if callable(body) else body)
            if own and self._observe is not None:
                self._observe(answer.status, answer.headers)
            location = answer.headers.get("Location", "")
            followed = _REDIRECTS if method in {"GET", "HEAD"} else _KEEPING
            if answer.status not in followed or not location:
                return answer
            answer.release()
            try:
                url = url.join(URL(location, encoded=True))
                url.origin()
            except ValueError:
                raise InvalidAnswerError(f"{self.host}: redirects to what is no URL") from None
            if url.scheme not in {"http", "https"}:
                raise InvalidAnswerError(f"{self.host}: redirects to a URL of {url.scheme}")
        raise InvalidAnswerError(f"{self.host}: more than {MAX_REDIRECTS} redirects")

    async def _fetch_token(
        self, method: str, url: URL, headers: dict[str, str], form: dict[str, str] | None
    ) -> bytes:
        answer = await self._send(method, url, headers, form)
        if answer.status != 200:
            raise await refusal(answer, f"the token server {url.host}")
        return await self.read(answer)

    async def _send(
        self,
        method: str,
        url: URL,
        headers: dict[str, str],
        data: bytes | AsyncIterator[bytes] | dict[str, str] | None,
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,  # a digest is of the bytes as they come
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=READ_BUFFER_BYTES,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self.timing.connect, sock_read=self.timing.idle
                ),
                headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
            )
        try:
            return await self._session.request(
                method,
                url,
                headers=headers,
                data=data,
                allow_redirects=False,
                proxy=_proxy(url),
                ssl=context(self._tls, own=url.origin() == self.origin) if url.scheme == "https" else True,
                middlewares=() if method in {"GET", "HEAD"} else (_once,),
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnreachableError(f"{url.raw_authority}: {describe(error)}") from error


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """By itself aiohttp sends PUT and DELETE again, and tells nobody: then a 404 is no answer to the first."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise UnreachableError(f"{request.url.raw_authority}: {describe(error)}") from error


def _proxy(url: URL) -> str | None:
    """What the environment says, as for all programs."""
    if urllib.request.proxy_bypass(url.host or ""):
        return None
    return urllib.request.getproxies().get(url.scheme)


async def refusal(answer: aiohttp.ClientResponse, host: str) -> AnswerError:
    """The error that an answer stands for; its body is read."""
    body = b""
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with asyncio.timeout(10):
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > MAX_ERROR_BYTES:
                    break
    answer.release()
    code = said = ""
    detail = None
    try:
        first = json.loads(body)["errors"][0]
        code, said, detail = str(first.get("code", "")), str(first.get("message", "")), first.get("detail")
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        said = ""
    what = f"{host}: {answer.status} {said or answer.reason or ''}".rstrip()
    kind = KINDS.get(answer.status, AnswerError)
    seconds = retry_after(answer.headers.get("Retry-After", ""), time.time())
    return kind(what[:300], answer.status, code, seconds, message=said, detail=detail)


def _may_be_done(failure: ClientError) -> bool:
    """Whether a request that failed may have been carried out all the same."""
    return isinstance(failure, UnreachableError) or (isinstance(failure, AnswerError) and failure.status >= 500)


def _reason(error: OSError) -> str:
    """The system's own words, as asyncio's are a line of Python; other numbers are not the system's."""
    if error.errno and not isinstance(error, ssl.SSLError | socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)


def describe(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorSSLError) and "WRONG_VERSION_NUMBER" in str(error):
        return "does not speak TLS"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {_reason(error.os_error)}"
    return str(error) or type(error).__name__
