"""Events as requests to a URL, over one connection that is kept: an endpoint gets them one after the other.

What a request costs is what bounds their number. The standard library makes the connections, in a thread, and
httptools reads what comes back; aiohttp's client needs five times as long for a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import http.client
import os
import socket
import ssl
import time
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import httptools

from lading.notify.envelope import Message, message
from lading.notify.transport import Answer
from lading.oci.retries import retry_after
from lading.oci.urls import split_login

SIGNATURE = "X-Lading-Signature"
REDIRECTS = 10
MAX_ANSWER_BYTES = 64 * 1024
"""Of an answer with a longer body the connection is closed: nobody reads it."""

_BLAMES_THE_EVENT = frozenset({400, 413, 414, 415, 422})
"""Answers after which the same event would not do better."""

_BLAMES_NOBODY = frozenset({408, 425, 429, 502, 503, 504})
_BECOMES_GET = frozenset({301, 302, 303})
_AS_THEY_ARE = "/%:=&?~+!$,;'@()*[]-._"
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Headers that the request itself decides."""


@dataclass(frozen=True, slots=True)
class Target:
    """`timeout` is in seconds, for all of a request, redirects included."""

    url: str
    headers: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    timeout: float = 1.0
    secret: str = field(default="", repr=False)
    cloudevents: bool = False
    batch: bool = False


class Webhook:
    """The `Transport` to a URL."""

    def __init__(self, target: Target, agent: str) -> None:
        self._target = target
        self._url, login = split_login(target.url)
        given = [(name, value) for name, values in target.headers.items() for value in values]
        self._secret_headers = [(name, value) for name, value in given if name.lower() not in _OURS]
        if login and "authorization" not in {name.lower() for name, _ in given}:
            self._secret_headers.append(("Authorization", login))
        self._agent = agent
        self._tls: ssl.SSLContext | None = None
        self._thread = ThreadPoolExecutor(1, "webhook")
        self._kept: _Kept | None = None
        self._closed = False

    async def send(self, events: Sequence[bytes]) -> Answer:
        loop = asyncio.get_running_loop()
        made = message(events, cloudevents=self._target.cloudevents, batch=self._target.batch)
        deadline = time.monotonic() + self._target.timeout
        sending = loop.run_in_executor(self._thread, self._send, made, deadline)
        # The limits of the socket are for each read: a receiver that trickles would never reach them.
        alarm = loop.call_later(self._target.timeout, self._abort)
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            await self.close()
            raise
        finally:
            alarm.cancel()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._abort()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._forget)
        self._thread.shutdown()

    def _abort(self) -> None:
        """In the event loop; the thread that waits for the socket finds it closed."""
        kept = self._kept
        if kept is not None and (raw := kept.connection.sock) is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(raw, socket.SHUT_RDWR)

    def _send(self, made: Message, deadline: float) -> Answer:
        try:
            return self._follow(made, deadline)
        except (OSError, http.client.HTTPException, httptools.HttpParserError, ValueError) as error:
            self._forget()
            late = time.monotonic() >= deadline
            return Answer("no answer in time" if late else _described(error), answered=False)

    def _follow(self, made: Message, deadline: float) -> Answer:
        """The answer to it, and to the requests that it is redirected to."""
        method, url, body, origin = "POST", self._url, made.body, urlsplit(self._url)
        for _ in range(REDIRECTS + 1):
            parts = urlsplit(url)
            headers = [("User-Agent", self._agent)]
            if method == "POST":
                headers += [("Content-Type", made.media_type), ("Content-Length", str(len(body)))]
                headers += self._signature(body)
            if _same_or_safer(origin, parts):
                headers += self._secret_headers
            status, location, pause = self._ask(method, parts, headers, body, deadline)
            if status not in {*_BECOMES_GET, 307, 308} or not location:
                return _answer(status, pause)
            if status in _BECOMES_GET:
                method, body = "GET", b""
            url, _ = split_login(urljoin(url, location))
        raise http.client.HTTPException("too many redirects")

    def _signature(self, body: bytes) -> list[tuple[str, str]]:
        if not self._target.secret:
            return []
        mark = hmac.new(self._target.secret.encode(), body, hashlib.sha256).hexdigest()
        return [(SIGNATURE, f"sha256={mark}")]

    def _ask(
        self, method: str, url: SplitResult, headers: list[tuple[str, str]], body: bytes, deadline: float
    ) -> tuple[int, str, float]:
        """The status, where it redirects to, and how many seconds it asks to be left alone."""
        kept = self._kept
        if kept is not None and kept.origin == _origin(url):
            with contextlib.suppress(ConnectionError, http.client.RemoteDisconnected):
                # It may have been closed since. What was half sent is sent again, as after any failure.
                return self._once(kept, method, url, headers, body, deadline)
        self._forget()
        self._kept = self._connect(url)
        return self._once(self._kept, method, url, headers, body, deadline)

    def _once(
        self,
        kept: _Kept,
        method: str,
        url: SplitResult,
        headers: list[tuple[str, str]],
        body: bytes,
        deadline: float,
    ) -> tuple[int, str, float]:
        connection = kept.connection
        left = deadline - time.monotonic()
        if left <= 0 or self._closed:
            raise TimeoutError
        if connection.sock is None:
            connection.timeout = left
            connection.connect()
        connection.sock.settimeout(left)
        path = quote(url._replace(scheme="", netloc="", fragment="").geturl() or "/", safe=_AS_THEY_ARE)
        lines = [f"{method} {kept.prefix}{path} HTTP/1.1", f"Host: {url.netloc}"]
        lines += [f"{name}: {value}" for name, value in (*kept.headers, *headers)]
        connection.sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        reply = _Reply()
        if not reply.read(connection.sock):
            self._forget()
        pause = retry_after(reply.header(b"retry-after"), time.time())
        return reply.status, reply.header(b"location"), pause

    def _connect(self, url: SplitResult) -> _Kept:
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise http.client.HTTPException("redirected to something else than HTTP")
        tls, host = url.scheme == "https", url.hostname
        port = url.port or (443 if tls else 80)
        proxy = urlsplit(_proxy(url))
        if tls and self._tls is None:
            self._tls = ssl.create_default_context()
        where, at = (proxy.hostname, proxy.port or 80) if proxy.hostname else (host, port)
        if tls:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(where, at, context=self._tls)
        else:
            connection = http.client.HTTPConnection(where, at)
        if not proxy.hostname:
            return _Kept(_origin(url), connection)
        _, login = split_login(proxy.geturl())
        signed = [("Proxy-Authorization", login)] if login else []
        if tls:
            connection.set_tunnel(host, port, dict(signed))
            return _Kept(_origin(url), connection)
        return _Kept(_origin(url), connection, f"http://{url.netloc}", signed)

    def _forget(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.connection.close()


@dataclass(frozen=True, slots=True)
class _Kept:
    """A connection to an origin. Through a proxy without TLS requests have a `prefix`, and `headers` for it."""

    origin: tuple[str, str]
    connection: http.client.HTTPConnection
    prefix: str = ""
    headers: Sequence[tuple[str, str]] = ()


def _origin(url: SplitResult) -> tuple[str, str]:
    return url.scheme, url.netloc.lower()


def _same_or_safer(origin: SplitResult, url: SplitResult) -> bool:
    """What was configured for the one may be told to the other: nobody else, and not in clear if it was not."""
    return _origin(url) == _origin(origin) or (url.scheme == "https" and url.hostname == origin.hostname)


def _proxy(url: SplitResult) -> str:
    """The one that the environment names for it, "" for none."""
    host = url.hostname or ""
    proxies = urllib.request.getproxies()
    if urllib.request.proxy_bypass(f"{host}:{url.port}" if url.port else host):
        return ""
    return proxies.get(url.scheme) or proxies.get("all") or ""


def _answer(status: int, pause: float) -> Answer:
    try:
        line = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        line = str(status)
    return Answer(
        line,
        taken=200 <= status < 400,
        refused=status in _BLAMES_THE_EVENT,
        busy=status in _BLAMES_NOBODY,
        pause=pause,
    )


class _Reply:
    """What the parser has found. With its head the answer is known, even if the rest never comes."""

    def __init__(self) -> None:
        self.status = 0
        self._headers: dict[bytes, bytes] = {}
        self._parser = httptools.HttpResponseParser(self)
        self._known = self._whole = self._stays = False

    def read(self, connection: socket.socket) -> bool:
        """Returns whether the connection can be used again.

        Raises `OSError`, `HTTPException`, `HttpParserError` where there is no answer.
        """
        size = 0
        try:
            while not self._whole and size <= MAX_ANSWER_BYTES and (data := connection.recv(MAX_ANSWER_BYTES)):
                size += len(data)
                self._parser.feed_data(data)
        except (OSError, httptools.HttpParserError):
            if not self._known:
                raise
            return False
        if not self._known:
            raise http.client.RemoteDisconnected if not size else http.client.HTTPException
        return self._whole and self._stays

    def header(self, name: bytes) -> str:
        return self._headers.get(name, b"").decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._known = self.status >= HTTPStatus.OK

    def on_message_complete(self) -> None:
        self._whole = self._known
        self._stays = bool(self._parser.should_keep_alive())
        if not self._known:  # it was a word in advance, of 100 to 199
            self._headers.clear()


def _described(error: Exception) -> str:
    """Without its text, which may show secrets of the URL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return "its host cannot be resolved"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__
