"""The `gcs` driver: objects in a bucket of Google Cloud Storage, as Distribution keeps them.

What is uploaded goes to a resumable session, in chunks. Between requests an object under the final name stands for
it: its content is what the session has not got yet, its metadata are the session and how much that has. An upload
that is smaller than a chunk has no session: all of it is in that object. What a session has cannot be read.

The JSON API is spoken directly: the official client has neither asynchronous calls nor sessions that another
process continues. Tokens and signatures come from google-auth.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import email.utils
import hashlib
import io
import random
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import aiohttp
import google.auth
import google.auth.iam
import google.auth.transport.requests
import orjson
from google.auth.exceptions import GoogleAuthError
from google.oauth2 import service_account
from yarl import URL

from lading.registry.ports import BusyError, PathNotFoundError, StorageError, UnavailableError
from lading.storage.objects import ChangedError, Found, ObjectStorage, Pending

DRIVER = "gcs"

SERVICE = "https://storage.googleapis.com"
SCOPES = ["https://www.googleapis.com/auth/devstorage.full_control"]
SIGNING_SCOPES = [*SCOPES, "https://www.googleapis.com/auth/iam"]

QUANTUM = 256 * 1024
"""What chunks of a session are multiples of."""

PENDING_TYPE = "application/x-docker-upload-session"
CONTENT_TYPE = "application/octet-stream"

TRIES = 5
"""Of each request, however it fails."""
SILENCES = 2
"""Of one request: who was silent so often is not asked again, for a client waits."""
SILENCE_SECONDS = 60.0
"""How long the service may say nothing before a request is tried again."""
FIRST_PAUSE = 0.25
"""Seconds before the second try; each further pause is twice as long."""

REDIRECT_SECONDS = 20 * 60

_AGAIN = {408, 429, 500, 502, 503, 504}
_SESSION_GONE = {404, 410}


class GcsStorage(ObjectStorage):
    """See `lading.registry.ports.Storage`.

    `account` is a service account's key as Google hands it out; without one, what the surroundings offer is used.
    `emulator` is the address of a server that asks for no tokens. `chunk` is in bytes, a multiple of `QUANTUM`,
    `silence` in seconds.
    Raises `ValueError` for what is no key.
    """

    def __init__(
        self,
        bucket: str,
        *,
        root: str = "",
        account: Mapping[str, str] | None = None,
        chunk: int = 16 * 1024 * 1024,
        calls: int = 50,
        agent: str = "",
        emulator: str = "",
        silence: float = SILENCE_SECONDS,
    ) -> None:
        objects = _Objects(bucket, account, chunk, calls, agent, emulator, silence)
        super().__init__(objects, f"{root.strip('/')}/".lstrip("/"))


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class _Objects:
    """See `lading.storage.objects.Bucket`."""

    driver = DRIVER

    def __init__(
        self,
        bucket: str,
        account: Mapping[str, str] | None,
        chunk: int,
        calls: int,
        agent: str,
        emulator: str,
        silence: float,
    ) -> None:
        self.chunk = chunk
        self._bucket = bucket
        self._anonymous = bool(emulator)
        self._service = (emulator if "://" in emulator else f"http://{emulator}") if emulator else SERVICE
        self._service = self._service.rstrip("/")
        self._path = f"/storage/v1/b/{quote(bucket, safe='')}/o"
        self._calls = calls
        self._agent = agent or "lading"
        self._silence = silence
        self._credentials: Any = None
        if account is not None:
            self._credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
                dict(account), scopes=SIGNING_SCOPES
            )
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    async def head(self, name: str) -> Found | None:
        answer = await self.metadata(name)
        return None if answer is None else _found(answer)

    async def metadata(self, name: str) -> _Answer | None:
        answer = await self.request("GET", self._object(name), name)
        return None if answer.status == 404 else answer

    async def fetch(self, name: str, start: int, length: int, tag: str = "") -> tuple[bytes, Found] | None:
        query = {"alt": "media", **({"generation": tag} if tag else {})}
        span = {"Range": f"bytes={start}-{start + length - 1}"}
        answer = await self.request("GET", self._object(name), name, query, headers=span)
        if answer.status == 404:
            if tag and await self.head(name) is not None:
                raise ChangedError(DRIVER, f"has changed: {name}")
            return None
        if answer.status == 416:
            found = await self.head(name)
            return None if found is None else (b"", found)
        headers = answer.headers
        if headers.get("Content-Type") == PENDING_TYPE:
            found = await self.head(name)
            if found is not None and found.size != int(_total(answer)):
                raise StorageError(DRIVER, f"is still being uploaded: {name}")
        modified = _date(headers.get("Last-Modified", ""))
        found = Found(
            int(_total(answer)), modified, headers["X-Goog-Generation"], _date(headers.get("Date", "")) - modified
        )
        return answer.body, found

    async def put(self, name: str, data: bytes, only: str | None = None) -> str | None:
        return await self.place(name, data, only, {"contentType": CONTENT_TYPE})

    async def place(self, name: str, data: bytes, only: str | None, resource: dict[str, Any]) -> str | None:
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")
        described = orjson.dumps({**resource, "name": name, "md5Hash": digest})
        boundary = uuid.uuid4().hex.encode("ascii")
        kind = resource["contentType"].encode("ascii")
        body = b"--%b\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n%b\r\n" % (boundary, described)
        body += b"--%b\r\nContent-Type: %b\r\n\r\n%b\r\n--%b--\r\n" % (boundary, kind, data, boundary)
        query = {"uploadType": "multipart", "name": name}
        if only is not None:
            query["ifGenerationMatch"] = only or "0"
        headers = {"Content-Type": f"multipart/related; boundary={boundary.decode('ascii')}"}
        answer = await self.request("POST", f"/upload{self._path}", name, query, headers=headers, body=body)
        if answer.status == 404:
            raise StorageError(DRIVER, f"there is no bucket {self._bucket}")
        return None if answer.status == 412 else str(answer.json["generation"])

    async def remove(self, name: str, tag: str = "") -> bool:
        query = {"ifGenerationMatch": tag} if tag else {}
        return (await self.request("DELETE", self._object(name), name, query)).status not in {404, 412}

    async def copy(self, source: str, target: str, tag: str = "", *, anew: bool = False) -> bool:
        path = f"{self._object(source)}/rewriteTo/b/{quote(self._bucket, safe='')}/o/{quote(target, safe='')}"
        query = {"ifSourceGenerationMatch": tag} if tag else {}
        query |= {"ifGenerationMatch": "0"} if anew else {}
        while True:
            answer = await self.request("POST", path, source, query)
            if answer.status == 404:
                return False
            if answer.status == 412 and anew and await self.metadata(target) is not None:
                return True
            if answer.status == 412:
                raise ChangedError(DRIVER, f"has changed: {source}")
            if answer.json.get("done", True):
                return True
            query["rewriteToken"] = answer.json["rewriteToken"]

    async def pages(
        self, prefix: str, *, start: str = "", flat: bool = False, size: int = 1000
    ) -> AsyncGenerator[Sequence[str], None]:
        query = {"prefix": prefix, "maxResults": str(size), "fields": "items(name),prefixes,nextPageToken"}
        query |= {} if flat else {"delimiter": "/"}
        query |= {"startOffset": start} if start else {}
        while True:
            answer = await self.request("GET", self._path, prefix, query)
            if answer.status == 404:
                raise StorageError(DRIVER, f"there is no bucket {self._bucket}")
            page = answer.json
            names = [item["name"] for item in page.get("items") or ()] + (page.get("prefixes") or [])
            if names:
                yield sorted(names)
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    async def begin(self, name: str, *, append: bool) -> tuple[Pending, bytes]:
        answer = await self.metadata(name) if append else None
        if answer is not None:
            session, offset = _pending(answer.json)
            tag, size = str(answer.json["generation"]), int(answer.json["size"])
            if offset == 0 and size > self.chunk:
                raise StorageError(DRIVER, f"cannot append to what is complete: {name}")
            there = await self.request("GET", self._object(name), name, {"alt": "media", "generation": tag})
            if there.status == 200:
                return _Session(self, name, tag, session, offset), there.body
        made = await self.place(name, b"", None, _resource("", 0))
        assert made is not None
        return _Session(self, name, made, "", 0), b""

    async def start(self, name: str) -> str:
        query = {"uploadType": "resumable", "name": name}
        headers = {"X-Upload-Content-Type": CONTENT_TYPE, "Content-Type": "application/json"}
        answer = await self.request("POST", f"/upload{self._path}", name, query, headers=headers, body=b"{}")
        if "Location" not in answer.headers:
            raise StorageError(DRIVER, f"no session ({answer.status}): {name}")
        return answer.headers["Location"]

    async def request(
        self,
        method: str,
        path: str,
        name: str,
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> _Answer:
        """Any answer below 500 that a caller knows what to do with. `path` may be a whole address."""
        address = path if "://" in path else self._service + path
        url = address + (
            "?" + "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items()) if query else ""
        )
        failure, silences = "", 0
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(FIRST_PAUSE * 2**attempt * (0.5 + random.random()))  # noqa: S311
            try:
                answer = await self._once(method, url, {**(headers or {}), **await self._token()}, body)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                failure = type(error).__name__
                silences += isinstance(error, TimeoutError)
                if silences == SILENCES:
                    break
                continue
            if answer.status not in _AGAIN:
                if answer.status >= 400 and answer.status not in {404, 410, 412, 416}:
                    raise StorageError(DRIVER, f"{_reason(answer)} ({answer.status}): {name}")
                return answer
            failure = f"{_reason(answer)} ({answer.status})"
        raise UnavailableError(DRIVER, f"{failure}: {name}")

    async def signed(self, name: str, method: str) -> str | None:
        """A V4 address, good for a while; None where there is nothing to sign with."""
        if self._credentials is None and self._anonymous:
            return None
        await self._token()
        who = self._credentials.service_account_email
        parts = urlsplit(self._service)
        now = datetime.datetime.now(datetime.UTC)
        stamp, scope = now.strftime("%Y%m%dT%H%M%SZ"), f"{now:%Y%m%d}/auto/storage/goog4_request"
        query = {
            "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
            "X-Goog-Credential": f"{who}/{scope}",
            "X-Goog-Date": stamp,
            "X-Goog-Expires": str(REDIRECT_SECONDS),
            "X-Goog-SignedHeaders": "host",
        }
        asked = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
        path = f"/{self._bucket}/{quote(name, safe='/~')}"
        canonical = f"{method}\n{path}\n{asked}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"GOOG4-RSA-SHA256\n{stamp}\n{scope}\n{digest}".encode()
        try:
            signature = await asyncio.to_thread(self._sign, text, who)
        except GoogleAuthError as error:
            raise StorageError(DRIVER, f"cannot sign an address: {type(error).__name__}") from error
        return f"{self._service}{path}?{asked}&X-Goog-Signature={signature.hex()}"

    async def close(self) -> None:
        async with self._opening:
            if self._session is not None:
                self._session = None
                await self._sessions.aclose()

    def _sign(self, text: bytes, who: str) -> bytes:
        signer = getattr(self._credentials, "signer", None)
        if signer is None:
            # No key here: the service that gave the credentials signs.
            request = google.auth.transport.requests.Request()
            signer = google.auth.iam.Signer(request, self._credentials, who)  # type: ignore[no-untyped-call]
        signature: bytes = signer.sign(text)
        return signature

    async def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> _Answer:
        session = await self._open()
        async with session.request(
            method, URL(url, encoded=True), headers=headers, data=io.BytesIO(body), allow_redirects=False
        ) as response:
            return _Answer(response.status, response.headers, await response.read())

    async def _open(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                # The session is closed with the event loop: a loop closes the generators that it began.
                self._sessions = _session(self._calls, self._agent, self._silence)
                self._session = await anext(self._sessions)
        return self._session

    async def _token(self) -> dict[str, str]:
        if self._anonymous:
            return {}
        if self._credentials is None or not self._credentials.valid:
            async with self._opening:
                try:
                    await asyncio.to_thread(self._refresh)
                except GoogleAuthError as error:
                    raise StorageError(DRIVER, f"no credentials: {type(error).__name__}") from error
        return {"Authorization": f"Bearer {self._credentials.token}"}

    def _refresh(self) -> None:
        if self._credentials is None:
            self._credentials, _ = google.auth.default(scopes=SIGNING_SCOPES)
        if not self._credentials.valid:
            self._credentials.refresh(google.auth.transport.requests.Request())

    def _object(self, name: str) -> str:
        return f"{self._path}/{quote(name, safe='')}"


class _Session:
    """See `lading.storage.objects.Pending`."""

    def __init__(self, objects: _Objects, name: str, tag: str, session: str, size: int) -> None:
        self.unit = objects.chunk
        self.size = size
        self.tag = tag
        self._objects = objects
        self._name = name
        self._session = session
        self._resumed = bool(session)

    async def extend(self, data: bytes) -> None:
        if not self._session:
            self._session = await self._objects.start(self._name)
        if self._resumed and data:
            # If this process dies, the session has more than is written down, and nobody knows what: then the
            # upload begins anew.
            self._resumed = False
            await self._stand_for_it(b"", _resource("", 0))
        while data:
            end = self.size + len(data)
            answer = await self._send(data, f"bytes {self.size}-{end - 1}/*")
            received = _received(answer) - self.size if answer.status == 308 else -1
            if not 0 < received <= len(data):
                raise StorageError(DRIVER, f"a session went wrong ({answer.status}): {self._name}")
            data = data[received:]
            self.size += received

    async def suspend(self, rest: bytes) -> None:
        if self._session:
            whole = len(rest) - len(rest) % QUANTUM
            await self.extend(rest[:whole])
            rest = rest[whole:]
        await self._stand_for_it(rest, _resource(self._session, self.size))

    async def complete(self, rest: bytes) -> None:
        if not self._session:
            await self._stand_for_it(rest, {"contentType": CONTENT_TYPE})
            return
        there = await self._objects.head(self._name)
        if there is None:
            raise PathNotFoundError(DRIVER, f"/{self._name}")
        if there.tag != self.tag:
            raise BusyError(DRIVER, f"another writer has taken over: {self._name}")
        total = self.size + len(rest)
        answer = await self._send(rest, f"bytes {f'{self.size}-{total - 1}' if rest else '*'}/{total}")
        if answer.status not in {200, 201}:
            raise StorageError(DRIVER, f"a session went wrong ({answer.status}): {self._name}")
        self.tag = str(answer.json["generation"])

    async def _stand_for_it(self, rest: bytes, resource: dict[str, Any]) -> None:
        tag = await self._objects.place(self._name, rest, self.tag, resource)
        if tag is None:
            raise PathNotFoundError(DRIVER, f"/{self._name}")
        self.tag = tag

    async def _send(self, data: bytes, span: str) -> _Answer:
        # Sent again in full after a failure: the service leaves out what it has.
        answer = await self._objects.request(
            "PUT", self._session, self._name, headers={"Content-Range": span}, body=data
        )
        if answer.status in _SESSION_GONE:
            raise StorageError(DRIVER, f"the session has expired: {self._name}")
        return answer


async def _session(calls: int, agent: str, silence: float) -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=calls),
        headers={"User-Agent": agent},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,
    ) as session:
        yield session


def _resource(session: str, offset: int) -> dict[str, Any]:
    return {"contentType": PENDING_TYPE, "metadata": {"Session-URI": session, "Offset": str(offset)}}


def _pending(resource: Mapping[str, Any]) -> tuple[str, int]:
    """The session of an object that stands for an upload, and how much that has."""
    if resource.get("contentType") != PENDING_TYPE:
        return "", 0
    metadata = {key.lower(): value for key, value in (resource.get("metadata") or {}).items()}
    return metadata.get("session-uri", ""), int(metadata.get("offset") or 0)


def _found(answer: _Answer) -> Found:
    resource = answer.json
    modified = datetime.datetime.fromisoformat(resource["updated"]).timestamp()
    size = int(resource.get("size", 0)) + _pending(resource)[1]
    age = _date(answer.headers.get("Date", "")) - modified
    return Found(size, modified, str(resource["generation"]), age)


def _received(answer: _Answer) -> int:
    _, _, last = answer.headers.get("Range", "").rpartition("-")
    return int(last) + 1 if last else 0


def _total(answer: _Answer) -> str:
    return answer.headers.get("Content-Range", "").rpartition("/")[2] or str(len(answer.body))


def _date(text: str) -> float:
    with contextlib.suppress(ValueError):
        return email.utils.parsedate_to_datetime(text).timestamp()
    return 0.0


def _reason(answer: _Answer) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(answer.json["error"]["message"])[:200]
    return "refused"
